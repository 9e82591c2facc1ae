"""What is opened from a context has an owner and an end, and leaves the process as it was."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore

from matrix_graph import Context, ModulatedState, RunConfig, add_modulator, arun, create_society
from matrix_graph import resources as resources_module
from matrix_graph.errors import CapReached, InputError
from matrix_graph.llm.journal import entries_in
from matrix_graph.llm.provider import fault_of
from matrix_graph.resources import aclose, opened, opening
from matrix_graph.testing import FakeChat, FakeServer, Faults
from tests.helpers import context, groups, slot

ASK = [{"role": "user", "content": "Where is the ferry?"}]


def _folders(root: Path) -> list[Path]:
    return [path.parent for path in root.rglob("*.sqlite")]


def _names(folder: Path) -> set[str]:
    """Of journals, as a file system sees them that ignores case."""
    return {path.name.lower() for path in folder.glob("*.sqlite")}


def _writers() -> int:
    return sum(thread.name == "journal" for thread in threading.enumerate())


async def _settled() -> int:
    """How many journals are open once those that earlier tests left are closed."""
    counts = [_writers()]
    while len(counts) < 10 or counts[-1] != counts[-10]:
        gc.collect()
        await asyncio.sleep(0.02)
        counts.append(_writers())
    return counts[-1]


async def _until_writers(count: int) -> None:
    for _ in range(200):
        gc.collect()
        if _writers() <= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{_writers()} journals are open")


async def test_contexts_that_nobody_holds_are_closed_and_collected(server: FakeServer) -> None:
    before, gone = await _settled(), list[Any]()
    for number in range(20):
        dropped = context(model="openai:fake", base_url=server.url)
        await (await opened(dropped)).model.text(slot(str(number)), ASK)
        gone.append(weakref.ref(dropped))
        del dropped
    await _until_writers(before)
    assert not any(ref() for ref in gone)


@pytest.mark.slow
async def test_a_graphs_context_goes_with_the_invocation(server: FakeServer) -> None:
    before = await _settled()
    for _ in range(3):
        graph = create_society(groups(2)).compile(store=InMemoryStore())
        given = Context(model="openai:fake", embeddings="openai:fake", base_url=server.url)
        await graph.ainvoke({"quota": 1}, context=given)
        del given
    await _until_writers(before)


async def test_what_is_held_stays_open_until_its_last_holder_leaves(tmp_path: Path) -> None:
    held = context(journal=tmp_path / "j.sqlite")
    async with opening(held) as one:
        async with opening(held) as other:
            assert one is other
            await other.model.text(slot("a"), ASK)
        assert (await opened(held)) is one
        assert await one.model.text(slot("b"), ASK)
    async with opening(held) as again:
        assert again is not one
        assert again.account.total.requests == 2
        assert len(again.journal) == 2


async def test_contexts_on_one_journal_are_one_run(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    async with (
        opening(context(journal=path)) as model,
        opening(context(journal=str(path))) as judge,
    ):
        assert model.journal is judge.journal
        await model.model.text(slot("a"), ASK)
        assert judge.account.total.requests == 1


async def test_a_journal_in_no_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        await opened(context(journal=tmp_path / "no" / "such" / "x.sqlite"))
    (tmp_path / "dir.sqlite").mkdir()
    with pytest.raises(InputError, match="cannot be opened"):
        await opened(context(journal=tmp_path / "dir.sqlite"))


async def test_each_thread_has_a_journal_and_a_resume_finds_its_answers(
    server: FakeServer, tmp_path: Path
) -> None:
    graph = create_society(groups(2)).compile(checkpointer=InMemorySaver(), store=InMemoryStore())

    async def request(thread: str) -> None:
        # As a server does: a context of its own for every request.
        given = Context(
            model="openai:fake",
            embeddings="openai:fake",
            base_url=server.url,
            journals=tmp_path / "journals",
        )
        config: Any = {"configurable": {"thread_id": thread}}
        await graph.ainvoke({"quota": 1}, config, context=given)

    await request("one")
    asked = server.requests["ok"]
    await request("two")
    assert server.requests["ok"] == 2 * asked, "another thread is another life"
    await request("../one")
    assert set(_folders(tmp_path)) == {tmp_path / "journals"}


async def test_a_memory_in_use_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["a", "b", "c", "a", "b"])
    monkeypatch.setattr(resources_module, "_MEMORIES", 1)
    monkeypatch.setattr(resources_module, "run_name", lambda _: next(names))
    store, ctx = InMemoryStore(), context()
    async with opening(ctx) as resources:
        first, second = resources.memory(store), resources.memory(store)
        dropped = weakref.ref(second)
        del second
        resources.memory(store)
        gc.collect()
        assert resources.memory(store) is first
        assert dropped() is None
        assert resources.memory(store) is not first


async def test_every_conversation_is_routed() -> None:
    builder: Any = StateGraph(ModulatedState)
    for agent in ("ana", "ben"):
        spoken = AIMessage(f"{agent} speaks", name=agent)
        builder.add_node(agent, lambda state, spoken=spoken: {"messages": [spoken.model_copy()]})
    builder.add_edge(START, "modulator")
    routing = context()
    add_modulator(builder, {"ana": "a cook", "ben": "a guest"}, context=routing, steps=1)
    graph = builder.compile(checkpointer=InMemorySaver())
    calls: set[str] = set()
    for thread in ("one", "two", "two"):
        config: Any = {"configurable": {"thread_id": thread}}
        state = await graph.ainvoke({"messages": [HumanMessage("Begin.")]}, config)
        calls |= {delivery["call"] for delivery in state["deliveries"]}
    assert len(calls) == 3
    assert routing.model.calls == 3  # type: ignore[union-attr]


async def test_a_run_leaves_the_process_as_it_was(server: FakeServer, tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = gc.get_threshold(), [signal.getsignal(number) for number in numbers]
    seen: list[Any] = []

    def look(event: dict[str, Any]) -> None:
        seen.append((gc.get_threshold(), [signal.getsignal(number) for number in numbers]))

    small = {"agents": 2, "group_size": 2, "scenarios": 1, "rows": 1, "base_url": server.url}
    small |= {"model": "openai:fake", "embeddings": "openai:fake"}
    results = await asyncio.gather(
        *(
            arun(RunConfig.model_validate(small | {"out": tmp_path / str(n)}), listen=look)
            for n in range(2)
        )
    )
    assert all(result.complete for result in results)
    assert results[0].scenarios() == results[1].scenarios()
    assert [r.summary["calls"] for r in results] == [server.requests.total() / 2] * 2
    assert {str(state) for state in seen} == {str(before)}
    assert (gc.get_threshold(), [signal.getsignal(number) for number in numbers]) == before


def test_mistakes_in_code_travel_up_and_faults_of_servers_do_not() -> None:
    class ForeignError(Exception):
        __module__ = "somebodys.client"

    class StatusError(Exception):
        status_code = 503

    for defect in (TypeError("x"), KeyError("x"), AttributeError("x"), AssertionError()):
        assert fault_of(defect) is None
    for passing in (ConnectionResetError(), TimeoutError(), ValueError(), ForeignError("busy")):
        fault = fault_of(passing)
        assert fault
        assert fault.kind == "passing"
    fault = fault_of(StatusError())
    assert fault
    assert (fault.kind, fault.status, fault.reached) == ("passing", 503, True)
    refused = fault_of(ConnectionRefusedError())
    assert refused
    assert not refused.reached


async def test_a_defect_in_a_model_is_no_outage() -> None:
    broken = context(model=FakeChat(replies={"ferry": TypeError("not a model's fault")}))
    with pytest.raises(TypeError, match="fault"):
        await (await opened(broken)).model.text(slot("a"), ASK)
    assert broken.model.calls == 1  # type: ignore[union-attr]


def test_a_server_on_a_port_that_is_taken_says_so() -> None:
    with FakeServer() as first, pytest.raises(OSError, match="in use"), FakeServer(port=first.port):
        pass


async def test_cancelled_while_it_closes_it_still_closes(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.5)
    before = await _settled()
    at = context(model="openai:fake", base_url=server.url, journal=tmp_path / "j.sqlite")

    async def work() -> None:
        async with opening(at) as resources:
            await resources.model.text(slot("a"), ASK)

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0.15)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _writers() == before
    assert len(entries_in(tmp_path / "j.sqlite")) == server.requests.total()


async def test_a_look_beside_a_graph_does_not_end_its_calls(server: FakeServer) -> None:
    server.faults = Faults(latency=0.2)
    at = context(model="openai:fake", base_url=server.url)
    call = asyncio.create_task((await opened(at)).model.text(slot("a"), ASK))
    await asyncio.sleep(0.05)
    async with opening(at) as resources:
        assert resources.account.total.requests == 1
    await call
    await aclose(at)


async def test_many_that_open_and_leave_do_not_end_each_others_calls(tmp_path: Path) -> None:
    at = context(journal=tmp_path / "j.sqlite")

    async def visit(name: str) -> None:
        for number in range(15):
            async with opening(at) as resources:
                await resources.model.text(slot(f"{name}{number}"), ASK)

    await asyncio.gather(*(visit(name) for name in "abcdef"))
    assert len(entries_in(tmp_path / "j.sqlite")) == 6 * 15


async def test_a_journal_in_memory_lives_as_long_as_its_context() -> None:
    at = context(max_calls=2)
    for number in range(2):
        async with opening(at) as resources:
            await resources.model.text(slot(str(number)), ASK)
    async with opening(at) as resources:
        assert (await resources.model.text(slot("0"), ASK)).value, "it is on record"
        with pytest.raises(CapReached):
            await resources.model.text(slot("2"), ASK)


def test_two_event_loops_at_once_share_a_context(server: FakeServer, tmp_path: Path) -> None:
    server.faults = Faults(latency=0.02)
    at = context(model="openai:fake", base_url=server.url, journal=tmp_path / "j.sqlite")

    async def work(name: str) -> int:
        async with opening(at) as resources:
            calls = (resources.model.text(slot(f"{name}{n}"), ASK) for n in range(20))
            return len(await asyncio.gather(*calls))

    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(lambda name: asyncio.run(work(name)), "ab"))
    assert ended == [20, 20]
    assert server.requests["ok"] == len(entries_in(tmp_path / "j.sqlite")) == 40


async def test_after_the_end_it_says_so_and_asks_nobody(server: FakeServer) -> None:
    async with opening(context(model="openai:fake", base_url=server.url)) as resources:
        await resources.model.text(slot("a"), ASK)
    for name in ("a", "b", "c"):
        with pytest.raises(InputError, match="closed"):
            async with asyncio.timeout(5):
                await resources.model.text(slot(name), ASK)
    assert server.requests.total() == 1


@pytest.mark.parametrize(
    "ids",
    [("村" * 15 + "一", "村" * 15 + "二"), ("tenant/" * 30 + "ana", "tenant/" * 30 + "bo"), "aA"],
)
async def test_threads_that_are_called_alike_have_journals_each(
    ids: tuple[str, str], tmp_path: Path
) -> None:
    graph = create_society(groups(1)).compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    for name in ids:
        at = context(journals=tmp_path)
        thread: Any = {"configurable": {"thread_id": name}}
        await graph.ainvoke({"quota": 1}, thread, context=at)
        await aclose(at)
    assert len(_names(tmp_path)) == 2
