from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph.errors import InputError
from matrix_graph.llm.prompts import Prompts

PROMPTS = Prompts()


@pytest.mark.parametrize("small", [False, True])
def test_every_shipped_prompt_renders_with_its_variables(small: bool) -> None:
    prompts = Prompts(small=small)
    for name, variables in prompts.receives.items():
        messages = prompts.render(name, **dict.fromkeys(variables, "VALUE"))
        assert messages
        assert all("$" not in m["content"] for m in messages)


def test_grammars_go_with_small_models_and_give_way_to_the_users_prompts(tmp_path: Path) -> None:
    assert PROMPTS.grammar("respond_code") is None
    assert "root ::=" in (Prompts(small=True).grammar("respond_code") or "")
    (tmp_path / "respond_code.md").write_text("# system\nWrite Python.")
    assert Prompts(tmp_path, small=True).grammar("respond_code") is None


@given(text=st.text())
def test_a_value_is_never_read_as_a_template(text: str) -> None:
    hostile = "$goal ${plan} {{x}} {0} %(a)s" + text
    values = dict.fromkeys(PROMPTS.receives["agent"], "x") | {"description": hostile}
    content = PROMPTS.render("agent", **values)[0]["content"]
    assert hostile in content
    assert content.count("$goal") == hostile.count("$goal")


def test_the_part_that_all_steps_of_an_agent_share_comes_first() -> None:
    same = dict.fromkeys(PROMPTS.receives["agent"], "x")
    turns = dict.fromkeys(PROMPTS.receives["act_goal"], "y")
    one = PROMPTS.render("agent", "act_goal", **same, **turns)
    two = PROMPTS.render("agent", "act_reaction", **same, **turns)
    assert one[0] == two[0]
    assert one[1] != two[1]


def test_a_folder_overrides_by_name(tmp_path: Path) -> None:
    (tmp_path / "respond.md").write_text("# system\nBe brief. It costs $$5.")
    assert Prompts(tmp_path).render("respond") == [
        {"role": "system", "content": "Be brief. It costs $5."}
    ]
    assert Prompts(tmp_path).render(
        "persona", name="a", description="b", posts="c"
    ) == PROMPTS.render("persona", name="a", description="b", posts="c")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("respond", "# system\nHello $nobody", r"uses \$nobody; it receives: language"),
        ("respond", "Hello", "needs a line '# system'"),
        ("respond", "# user\nIt costs 5$", "starts no variable"),
        ("answer", "# user\nHello", "No prompt is called answer"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_at_load(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / f"{name}.md").write_text(text)
    with pytest.raises(InputError, match=told):
        Prompts(tmp_path)


def test_an_empty_prompt_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.md file"):
        Prompts(tmp_path)


def test_every_shipped_prompt_declares_what_it_receives() -> None:
    assert all(PROMPTS.receives[name] for name in PROMPTS.receives)
    assert PROMPTS.receives["deliver"] == {"actions", "scene"}


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "deliver.md").write_text("# user\nRoute $actions.", "utf-8-sig")
    messages = Prompts(tmp_path).render("deliver", actions="this")
    assert messages == [{"role": "user", "content": "Route this."}]
