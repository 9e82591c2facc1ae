"""A run in a thread of its own, held at every turn, or where one wants to look, until it is let go
on.

Nothing of the run is done elsewhere or otherwise: its nodes wait. While a turn is held, the others
wait behind it; calls that are in flight come back meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

from matrix_graph.amendments import Amendment
from matrix_graph.errors import InputError
from matrix_graph.llm.journal import Entry, entries_in, last_at
from matrix_graph.llm.tasks import run_sync
from matrix_graph.memory.episodic import EpisodicMemory
from matrix_graph.memory.lane import Memory
from matrix_graph.resources import Resources
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.moments import Moment, moments_of
from matrix_graph.runs.result import RunResult
from matrix_graph.schema import Group, Scenario
from matrix_graph.society.state import time_of
from matrix_graph.society.turn import failure_of
from matrix_graph.society.watch import Taken, Watch

T = TypeVar("T")


class Stop(Protocol):
    """Whether to hold the run at a moment: when the turn was taken, or once it has become `known`
    to whom.
    """

    def __call__(self, moment: Moment, *, known: bool) -> bool: ...


def at_every_turn(moment: Moment, *, known: bool) -> bool:
    """Hold the run at each turn as it is taken."""
    return not known


def nowhere(moment: Moment, *, known: bool) -> bool:
    """Let the run go on to its end."""
    return False


class _Held(NamedTuple):
    moment: Moment
    taken: Taken | None
    stands: asyncio.Future[bool]


class Live:
    """A run under way, which begins when it is first let go on.

    Args:
        work: Runs it under the watch that it is given.
        groups: Who is in it, asked for once there are turns.
        name: What it is called on screens.
        past: Scenarios of an earlier stretch of the run.
    """

    def __init__(
        self,
        work: Callable[[Watch], Coroutine[Any, Any, Any]],
        groups: Callable[[], Sequence[Group]],
        name: str,
        past: Sequence[Scenario] = (),
    ) -> None:
        self.name = name
        self.moments: list[Moment] = moments_of(past)
        self.result: Any = None
        self._work = work
        self._groups = groups
        self._society: tuple[Group, ...] = ()
        self._scenarios: dict[str, Scenario] = {scenario["id"]: scenario for scenario in past}
        self._numbers: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
        for number, moment in enumerate(self.moments):
            self._numbers[moment.scenario["id"]][moment.agent, moment.step] = number
        self._known: set[str] = {moment.id for moment in self.moments}
        self._stop: Stop = nowhere
        self._arrivals: SimpleQueue[_Held | None] = SimpleQueue()
        self._held: _Held | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self.over = False
        self._error: BaseException | None = None
        self._res: Resources | None = None
        self._memory: EpisodicMemory | None = None

    @property
    def groups(self) -> Sequence[Group]:
        """The society; nobody before there is one."""
        self._society = self._society or tuple(self._groups())
        return self._society

    @property
    def scenarios(self) -> list[Scenario]:
        """The scenarios as far as they have come."""
        return list(self._scenarios.values())

    @property
    def ended(self) -> Ended | None:
        """How the run ended; None before."""
        if isinstance(self.result, RunResult):
            return self.result.ended
        if not self.over:
            return None
        waits = isinstance(self.result, dict) and "__interrupt__" in self.result
        return Ended("asked", "a person is asked") if waits else Ended("complete")

    @property
    def held(self) -> Moment | None:
        """Where the run is held, if it is."""
        return self._held.moment if self._held else None

    @property
    def loose(self) -> bool:
        """Whether it goes on while nobody waits for it, as after Ctrl-C."""
        return self._thread is not None and not self.over and self._held is None

    @property
    def amendable(self) -> bool:
        """Whether the turn at which it is held was just taken, so that it can be amended."""
        return self._held is not None and self._held.taken is not None

    def go_on(self, until: Stop) -> Moment | None:
        """Let the run go on until it is held again; None once it has ended.

        Raises:
            Exception: what the run failed with.
        """
        if self.over:
            return None
        self._stop = until
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)
            self._thread.start()
        self._release(stands=True)
        return self._next()

    def amend(self, amendment: Amendment) -> Moment | None:
        """Amend the turn at which the run is held; it is taken again, and held again.

        Raises:
            InputError: the run is not held at a turn that was just taken.
        """
        if self._held is None or self._held.taken is None:
            raise InputError(
                "The run is past this turn; what happened before is changed in a branch."
            )
        taken = self._held.taken
        self._within(taken.res.amendments.add(amendment, taken.res.journal))
        self._release(stands=False)
        return self._next()

    def entries(self, slot: str = "") -> list[Entry]:
        """The calls so far, of the slots that begin so."""
        if self._res is None:
            return []
        path = self._res.journal.path
        return entries_in(Path(path), slot) if path else self._res.journal.entries(slot)

    def call(self, slot: str) -> Entry | None:
        """The call at that place, the last one if it was made again."""
        return last_at(slot, self.entries(slot))

    def memories(self, agent: str) -> dict[str, Memory]:
        """What the agent remembers now, by step and number."""
        if self._memory is None:
            return {}
        return {f"{m.step}-{m.number}": m for m in self._within(self._memory.aall(agent))}

    def close(self) -> None:
        """Stop the run; what was answered is kept."""
        if self._thread and self._thread.is_alive():
            self._ready.wait()
            # It may end by itself at this moment.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
        self._held, self.over = None, True

    async def acted(self, taken: Taken) -> Taken:
        """See `Watch`."""
        self._res, self._memory = taken.res, taken.memory
        async with self._gate:
            moment = self._note(taken)
            if self._stop(moment, known=False):
                while not await self._hold(moment, taken):
                    taken = await taken.again()
                    moment = self._note(taken)
            return taken

    async def told(self, scenario: Scenario) -> None:
        """See `Watch`."""
        async with self._gate:
            self._scenarios[scenario["id"]] = scenario
            actions = {(action["agent"], action["step"]): action for action in scenario["actions"]}
            for turn, number in self._numbers[scenario["id"]].items():
                moment = self.moments[number]._replace(scenario=scenario, action=actions.get(turn))
                self.moments[number] = moment
                if moment.id not in self._known and moment.action:
                    self._known.add(moment.id)
                    if self._stop(moment, known=True):
                        await self._hold(moment, None)

    def _stopped(self) -> Any:
        """What a run that was cancelled left."""
        return None

    def _note(self, taken: Taken) -> Moment:
        outcome, turn = taken.outcome, taken.turn
        name = f"{taken.group.id}-r{turn['round']}"
        begun = Scenario(
            id=name, group=taken.group.id, round=turn["round"], agents=[], actions=[], summary=""
        )
        scenario = self._scenarios.setdefault(name, begun)
        if life := outcome["life"]:
            lives = scenario.get("lives", {})
            mine = [known for known in lives.get(turn["agent"], []) if known != life]
            scenario = {**scenario, "lives": {**lives, turn["agent"]: [*mine, life]}}
            self._scenarios[name] = scenario
        failure = None if taken.action else failure_of(outcome, time_of(turn))
        moment = Moment(
            scenario, turn["agent"], time_of(turn), taken.action, failure, turn["observations"]
        )
        number = self._numbers[name].setdefault((moment.agent, moment.step), len(self.moments))
        if number == len(self.moments):
            self.moments.append(moment)
        else:
            self.moments[number] = moment
        return moment

    async def _hold(self, moment: Moment, taken: Taken | None) -> bool:
        stands = self._loop.create_future()
        self._arrivals.put(_Held(moment, taken, stands))
        return bool(await stands)

    def _release(self, *, stands: bool) -> None:
        if self._held:
            held, self._held = self._held, None
            # A run that has ended meanwhile says so in `_next`.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, held.stands, stands)

    def _next(self) -> Moment | None:
        if self.over:
            return None
        try:
            self._held = self._arrivals.get()
        except KeyboardInterrupt:
            self._stop = at_every_turn
            raise
        if self._held is None:
            self.over = True
            if self._error:
                raise self._error
        return self.held

    def _within(self, work: Awaitable[T]) -> T:
        """Do something in the run's event loop; in one of its own once the run has ended."""

        async def done() -> T:
            return await work

        if self._thread and self._thread.is_alive() and not self._loop.is_closed():
            work_there = done()
            try:
                return asyncio.run_coroutine_threadsafe(work_there, self._loop).result()
            except RuntimeError:
                work_there.close()
        return run_sync(done())

    def _main(self) -> None:
        try:
            self.result = asyncio.run(self._run())
        except asyncio.CancelledError:
            self.result = self._stopped()
        except BaseException as error:  # noqa: BLE001 (who steps through the run gets it)
            self._error = error
        self._arrivals.put(None)

    async def _run(self) -> Any:
        self._loop, self._gate = asyncio.get_running_loop(), asyncio.Lock()
        task = asyncio.current_task()
        assert task
        self._task = task
        self._ready.set()
        return await self._work(self)


def _settle(future: asyncio.Future[bool], stands: bool) -> None:
    if not future.done():
        future.set_result(stands)
