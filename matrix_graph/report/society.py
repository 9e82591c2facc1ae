"""The society in the report: a map with its messages, a timeline, scenarios, and a page for each
agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.models import NONE, embedding_model
from matrix_graph.llm.tasks import run_sync
from matrix_graph.report.html import Html, anchor, facts, fold, joined, link, tag
from matrix_graph.runs.record import RunRecord
from matrix_graph.schema import Action, Group, Life, Persona, Scenario, provenance_of

MAP, MARGIN = (900, 560), 60
MOST = 300
"""Agents and scenarios that are shown one by one; all of them are in the run's files."""


def society_map(record: RunRecord, *, slider: bool = True) -> Html:
    """Who lives where: the nearer two people, the more alike their profiles; lines are messages, by
    round.
    """
    places = _places(record)
    names = {member.id: member.name for group in record.groups for member in group.members}
    home = {member.id: group.id for group in record.groups for member in group.members}
    lines = []
    for scenario in record.scenarios:
        for message in scenario.get("messages", []):
            if message["sender"] in places and message["recipient"] in places:
                pair = message["sender"], message["recipient"]
                lines.append(
                    _line(places, *pair, scenario["round"], home[pair[0]] == home[pair[1]])
                )
    dots = []
    labels = _labels(places, names) if len(names) <= 60 else {}
    for number, group in enumerate(record.groups):
        hue = int(number * 137.508) % 360
        for member in group.members:
            x, y = places[member.id]
            label = labels.get(member.id)
            dot = tag(
                "circle",
                tag("title", f"{member.name}, {group.id}: {member.profile.description}"),
                cx=f"{x:.1f}",
                cy=f"{y:.1f}",
                r=6,
                fill=f"hsl({hue} 60% 45%)",
            )
            dots.append(tag("a", dot, label, href=f"#{anchor('agent', member.id)}"))
    size = {"refX": 15, "refY": 4, "markerWidth": 7, "markerHeight": 7}
    arrow = tag(
        "marker",
        tag("path", d="M0 0 8 4 0 8z"),
        id="arrow",
        viewBox="0 0 8 8",
        orient="auto",
        **size,
    )
    picture = tag(
        "svg",
        tag("defs", arrow),
        *lines,
        *dots,
        viewBox=f"0 0 {MAP[0]} {MAP[1]}",
        role="img",
        id="map",
    )
    rounds = max((scenario["round"] for scenario in record.scenarios), default=0)
    control = tag(
        "label",
        "Messages of ",
        tag("output", "all rounds", id="round-name"),
        tag("input", type="range", min=-1, max=rounds, value=-1, id="round", aria_label="round"),
        class_="slider",
    )
    legend = (
        "A dot is a person, its colour the group; people near each other wrote alike. A line is a "
        "message that reached "
        "somebody, dashed from another group. Move the slider to see one round after another."
    )
    return joined(
        [
            tag("p", legend, class_="hint"),
            control if slider else None,
            tag("div", picture, class_="wide"),
        ]
    )


def _labels(places: Mapping[str, tuple[float, float]], names: Mapping[str, str]) -> dict[str, Html]:
    """Each name beside its dot, where it lies on no dot and on no other name, if there is such a
    place.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places.values()]
    labels = {}
    for agent, (x, y) in sorted(places.items(), key=lambda place: place[1]):
        width = 7.2 * len(names[agent])
        spots: list[tuple[float, int, str, float, float, _Box]] = []
        for side, down in (
            (9, 4),
            (-9, 4),
            (0, -11),
            (0, 20),
            (9, -9),
            (-9, -9),
            (9, 16),
            (-9, 16),
        ):
            anchor_at, left = (
                ("start", 0.0)
                if side > 0
                else ("end", -width)
                if side < 0
                else ("middle", -width / 2)
            )
            box = (x + side + left, y + down - 10, x + side + left + width, y + down + 3)
            hidden = sum(_overlap(box, other) for other in taken) + 100.0 * (
                box[0] < 0 or box[2] > MAP[0]
            )
            spots.append((hidden, len(spots), anchor_at, x + side, y + down, box))
        _, _, end, left, low, box = min(spots)
        taken.append(box)
        labels[agent] = tag("text", names[agent], x=f"{left:.1f}", y=f"{low:.1f}", text_anchor=end)
    return labels


_Box = tuple[float, float, float, float]


def _overlap(one: _Box, other: _Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def timeline(record: RunRecord) -> Html:
    """Groups down, rounds across; how dark a field is says how many messages were passed."""
    by_place = {(s["group"], s["round"]): s for s in record.scenarios}
    rounds = range(max((s["round"] for s in record.scenarios), default=-1) + 1)
    most = max((len(s.get("messages", [])) for s in record.scenarios), default=1) or 1
    rows = []
    for group in record.groups[:MOST]:
        cells = []
        for round in rounds:
            scenario = by_place.get((group.id, round))
            if scenario is None:
                cells.append(tag("td"))
                continue
            passed = len(scenario.get("messages", []))
            counted = f"{len(scenario['actions'])} actions, {passed} messages"
            inside = link("scenario", scenario["id"], tag("span", passed, title=counted))
            cells.append(
                tag("td", inside, style=f"--heat: {0.12 + 0.75 * passed / most:.2f}", class_="heat")
            )
        members = ", ".join(member.name for member in group.members)
        rows.append(tag("tr", tag("th", group.id, tag("small", members)), *cells))
    head = tag("tr", tag("th", ""), *(tag("th", f"round {n + 1}") for n in rounds))
    hint = tag(
        "p",
        "A field is a scenario of a group; its number is how many messages reached somebody.",
        class_="hint",
    )
    return joined([hint, tag("div", tag("table", head, *rows, class_="timeline"), class_="wide")])


def scenarios(record: RunRecord) -> Html:
    """What happened, action by action, with who became aware of it and who was left out."""
    return joined(
        [scenario(lived) for lived in record.scenarios[:MOST]] + [_more(len(record.scenarios))]
    )


def agents(record: RunRecord) -> Html:
    """A page for each: profile, plan, what they did and remembered, what reached them, which rows
    came of it.
    """
    people = [(group, member) for group in record.groups for member in group.members]
    return joined(
        [_agent(record, group, member) for group, member in people[:MOST]] + [_more(len(people))]
    )


def _more(count: int) -> Html | None:
    return (
        tag("p", f"… and {count - MOST:,} more, in the run's files.", class_="hint")
        if count > MOST
        else None
    )


def scenario(scenario: Scenario, *, open: bool = False) -> Html:
    """One scenario, action by action."""
    names = {agent: person["name"] for agent, person in scenario.get("people", {}).items()}
    deliveries = {d["action"]: d for d in scenario.get("deliveries", []) if d["scope"] == "within"}
    acts = []
    for action in scenario["actions"]:
        delivery = deliveries.get(action["id"])
        reached = None
        if delivery:
            to = ", ".join(names.get(agent, agent) for agent in delivery["recipients"]) or "nobody"
            out = ", ".join(names.get(agent, agent) for agent in delivery["left_out"])
            reached = tag("small", f"→ {to}{f'; not {out}' if out else ''} — {delivery['reason']}")
        who = link("agent", action["agent"], names.get(action["agent"], action["agent"]))
        acts.append(tag("li", who, f" ({_trigger(action)}): {action['text']}", reached))
    title = joined([tag("b", scenario["id"]), " ", scenario["summary"][:160] or "(no summary)"])
    return fold(
        title,
        tag("p", scenario["summary"]),
        tag("ol", *acts),
        id=anchor("scenario", scenario["id"]),
        open=open,
    )


def _trigger(action: Action) -> str:
    return "reacts" if action["trigger"] == "reaction" else "goes on with the plan"


def _agent(record: RunRecord, group: Group, member: Persona) -> Html:
    deeds = [(s, a) for s in record.scenarios for a in s["actions"] if a["agent"] == member.id]
    heard = [
        (s, m)
        for s in record.scenarios
        for m in s.get("messages", [])
        if m["recipient"] == member.id
    ]
    rows = [
        r
        for rows in record.rows.values()
        for r in rows
        if provenance_of(r).get("agent_id") == member.id
    ]
    memories = record.memories(member.id)
    acts = []
    for scenario, action in deeds:
        recalled = [
            tag(
                "li",
                memories[r["memory"]].text if r["memory"] in memories else r["memory"],
                tag("small", _scores(r)),
            )
            for r in action.get("recalled", [])
        ]
        remembered = fold(f"remembered {len(recalled)}", tag("ul", *recalled)) if recalled else None
        acts.append(tag("li", link("scenario", scenario["id"]), f": {action['text']}", remembered))
    came = [
        tag("li", tag("i", m["sender_name"]), f": {m['text']}", tag("small", m["reason"]))
        for _, m in heard
    ]
    about = {
        "is": member.profile.description,
        "temper": member.personality,
        "wants": member.goal,
        "plan": tag("ol", *(tag("li", step) for step in member.plan)),
        "then": joined([_life(life) for life in _lives(record, member)], ""),
        "posted": tag("ul", *(tag("li", post) for post in member.profile.posts)),
        "rows": joined([link("row", str(row["id"])) for row in rows], ", "),
    }
    title = joined(
        [
            tag("b", member.name),
            f" · {group.id} · {len(deeds)} actions, {len(heard)} messages, {len(rows)} rows",
        ]
    )
    did = [tag("h4", "Did"), tag("ol", *acts), tag("h4", "Became aware of"), tag("ul", *came)]
    return fold(title, facts(about), *did, id=anchor("agent", member.id))


def _lives(record: RunRecord, member: Persona) -> list[Life]:
    """What the agent began to live for after its first plan."""
    scenarios = record.scenarios
    return [life for scenario in scenarios for life in scenario.get("lives", {}).get(member.id, [])]


def _life(life: Life) -> Html:
    return tag("div", life["goal"], tag("ol", *(tag("li", step) for step in life["plan"])))


def _scores(recalled: object) -> str:
    assert isinstance(recalled, dict)
    return ", ".join(
        f"{name} {recalled[name]:g}" for name in ("relevance", "recency", "importance")
    )


def _line(
    places: dict[str, tuple[float, float]], sender: str, recipient: str, round: int, near: bool
) -> Html:
    (x1, y1), (x2, y2) = places[sender], places[recipient]
    bend = 0.14
    cx, cy = (x1 + x2) / 2 - (y2 - y1) * bend, (y1 + y2) / 2 + (x2 - x1) * bend
    path = f"M{x1:.1f} {y1:.1f} Q{cx:.1f} {cy:.1f} {x2:.1f} {y2:.1f}"
    return tag("path", d=path, class_="message" if near else "message far", data_round=round)


def _places(record: RunRecord) -> dict[str, tuple[float, float]]:
    people = [member for group in record.groups for member in group.members]
    if not people:
        return {}
    vectors = _vectors(record, people)
    flat = _flattened(vectors) if vectors is not None else _circles(record.groups)
    low, high = flat.min(0), flat.max(0)
    share = (flat - low) / np.where(high > low, high - low, 1.0)
    room = np.array(MAP) - 2 * np.array([MARGIN + 40, MARGIN])
    spots = _apart(share * room + np.array([MARGIN, MARGIN]))
    return {member.id: (float(x), float(y)) for member, (x, y) in zip(people, spots, strict=True)}


def _vectors(record: RunRecord, people: Sequence[Persona]) -> NDArray[np.float32] | None:
    """The profiles' vectors, as the journal has them; None where it has not."""
    path = record.folder / "journal.sqlite"
    if not path.is_file() or len(people) < 3:
        return None
    journal = Journal(path, read_only=True)
    try:
        name = record.summary.get("models", {}).get("embeddings", "")
        embedder = Embedder(embedding_model(f"{NONE}:{name}"), journal=journal)
        return run_sync(_known(embedder, [member.profile.text for member in people]))
    finally:
        journal.close()


async def _known(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32] | None:
    return await embedder.embed(texts) if all(await embedder.known(texts)) else None


def _flattened(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = vectors.astype(np.float64) - vectors.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    return np.asarray(centred @ axes.T)


def _circles(groups: Sequence[Group]) -> NDArray[np.float64]:
    spots = []
    for number, group in enumerate(groups):
        centre = np.array([np.cos(number * 2.4), np.sin(number * 2.4)]) * np.sqrt(number + 0.5)
        for place in range(len(group.members)):
            angle = 2 * np.pi * place / len(group.members)
            spots.append(centre + 0.35 * np.array([np.cos(angle), np.sin(angle)]))
    return np.array(spots)


def _apart(spots: NDArray[np.float64], least: float = 26.0) -> NDArray[np.float64]:
    """Spots moved a little so that dots and names do not lie on each other."""
    for _ in range(60 if len(spots) <= MOST else 0):
        apart = spots[:, None, :] - spots[None, :, :]
        far = np.linalg.norm(apart / np.array([2.2, 1.0]), axis=2) + np.eye(len(spots)) * 1e6
        push = np.clip(least - far, 0, None)[:, :, None] * apart / np.maximum(far, 1.0)[:, :, None]
        spots = np.clip(spots + 0.25 * push.sum(1), [10, 14], [MAP[0] - 110, MAP[1] - 14])
    return spots
