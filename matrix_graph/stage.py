"""LangGraph's `StateGraph` as the stages are built on it: named in traces, and synchronous too."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import All
from langgraph.typing import ContextT, InputT, OutputT, StateT

from matrix_graph.errors import InputError

T = TypeVar("T")


class Stage(
    StateGraph[StateT, ContextT, InputT, OutputT], Generic[StateT, ContextT, InputT, OutputT]
):
    """A graph of asynchronous nodes that `invoke`, `stream` and `batch` run, too: there the nodes
    work in one event loop beside, in a thread of its own.

    Args:
        name: Its name in traces, unless it is compiled under another.
        state, context, given, made: Schemas: of the state, the context, the input and the output.
    """

    def __init__(
        self,
        name: str,
        state: type[StateT],
        context: type[ContextT],
        given: type[InputT],
        made: type[OutputT],
    ) -> None:
        super().__init__(state, context, input_schema=given, output_schema=made)
        self.name = name

    def add_node(self, *args: Any, **options: Any) -> Self:
        """As LangGraph's."""
        before = set(self.nodes)
        super().add_node(*args, **options)
        for name in self.nodes.keys() - before:
            make_synchronous(self, name)
        return self

    def compile(
        self,
        *args: Any,
        name: str | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        **options: Any,
    ) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """As LangGraph's; `interrupt_before` and `interrupt_after` also name nodes of the graphs
        inside, such as agents by name or id.

        Raises:
            InputError: there is no such node, or it checkpoints nothing.
        """
        places = {"interrupt_before": interrupt_before, "interrupt_after": interrupt_after}
        inside: dict[str, set[str]] = {}
        for place, names in places.items():
            if names is not None and names != "*":
                options[place] = [node for node in names if node in self.nodes]
                inside[f"{place}_nodes"] = set(names) - self.nodes.keys()
            else:
                options[place] = names
        compiled = super().compile(*args, name=name or self.name, **options)
        wanted = set().union(*inside.values())
        if not wanted:
            return compiled
        if missing := wanted - _interrupted(compiled, inside):
            raise InputError(
                f"There is no node {', '.join(sorted(missing))} to interrupt in {compiled.name} or "
                "inside it that makes checkpoints."
            )
        return compiled


def _interrupted(graph: Pregel[Any, Any, Any, Any], inside: Mapping[str, set[str]]) -> set[str]:
    """Have the graphs within `graph` interrupt at the nodes named; returns those that are there."""
    met: set[str] = set()
    for name, node in graph.nodes.items():
        if not isinstance(node.bound, Pregel) or node.bound.checkpointer is False:
            continue
        inner = node.bound.copy()
        inner.nodes = dict(inner.nodes)
        met |= _interrupted(inner, inside)
        for place, wanted in inside.items():
            known = {_agent_of(each): key for key, each in inner.nodes.items()}
            known |= {key: key for key in inner.nodes}
            setattr(inner, place, [known[each] for each in sorted(wanted & known.keys())])
            met |= wanted & known.keys()
        graph.nodes[name] = node.copy(update={"bound": inner})
    return met


def _agent_of(node: Any) -> str:
    return str((node.metadata or {}).get("agent", ""))


def make_synchronous(graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
    """Have a node that is an asynchronous function work in `invoke`, too."""
    runnable: Any = graph.nodes[name].runnable
    work = getattr(runnable, "afunc", None)
    if work is not None and runnable.func is None:
        runnable.func = synchronous(work)


def needed(state: Mapping[str, Any], name: str, example: str) -> Any:
    """What a graph was given under a name.

    Raises:
        InputError: it was not.
    """
    if name not in state:
        raise InputError(f"The graph needs {name!r}; invoke it with {example}.")
    return state[name]


def synchronous(work: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """The same for code that is not asynchronous: it waits while `work` runs in the loop beside."""

    def run(*args: Any, **options: Any) -> T:
        loop = _beside()
        if asyncio._get_running_loop() is loop:
            raise InputError(
                "A node that is asynchronous called invoke(); it has to await ainvoke()."
            )
        future = asyncio.run_coroutine_threadsafe(work(*args, **options), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    return run


_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def _beside() -> asyncio.AbstractEventLoop:
    """The event loop of this process in which nodes work that are called without one."""
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="nodes", daemon=True).start()
        return loop
