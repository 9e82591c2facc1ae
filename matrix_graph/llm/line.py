"""Requests of a run: one place for budget, limiter, attempts and the end of all of them.

Up to `ATTEMPTS` per call. Throttling, server errors and time-outs are waited out. Where all of a
call's attempts failed and nobody else was answered meanwhile, the provider is down.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from matrix_graph.errors import CallFailed, InputError, MatrixError, ProviderDown, RunPaused
from matrix_graph.llm.budget import Budget
from matrix_graph.llm.journal import Entry, Journal
from matrix_graph.llm.limiter import Limiter
from matrix_graph.llm.offline import NotOnRecord
from matrix_graph.llm.provider import Fault, fault_of
from matrix_graph.llm.slot import Slot

ATTEMPTS = 4
LONGEST_WAIT = 60.0

T = TypeVar("T")


@dataclass
class Request:
    """What a call took: requests that were sent, and the seconds for which they were in flight."""

    slot: Slot
    rank: int = 0
    sent: int = 0
    seconds: float = 0.0


@dataclass
class Line:
    """What all callers of a context share.

    Attributes:
        timeout: Seconds per attempt.
        offline: Nobody is asked.
        halted: Set once a call has stopped the run: no call starts until those that were under way
            have ended.
        ended: Set once the run is being closed: no call starts any more.
    """

    journal: Journal
    limiter: Limiter
    budget: Budget
    timeout: float = 120.0
    offline: bool = False
    halted: MatrixError | None = None
    ended: MatrixError | None = None
    last_success: dict[str, float] = field(default_factory=dict)
    under_way: set[asyncio.Task[Entry]] = field(default_factory=set)

    def forget(self, limiter: Limiter) -> None:
        """Begin anew in another event loop; whoever waited in the last one is gone with it."""
        self.limiter, self.halted, self.ended = limiter, None, None
        self.under_way.clear()

    async def settle(self, grace: float) -> None:
        """Start no more calls, and give those under way `grace` seconds to reach the journal."""
        self.ended = self.ended or RunPaused("the run is being closed")
        if self.under_way:
            _, late = await asyncio.wait(self.under_way, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """Start no more calls, since what was open is closed."""
        self.ended = InputError("What was opened from this context is closed; open it again.")

    def begin(self, call: Coroutine[Any, Any, Entry]) -> asyncio.Task[Entry]:
        """Run a call that outlives whoever asked for it: its answer is paid for."""
        task = asyncio.create_task(call)
        self.under_way.add(task)
        task.add_done_callback(self._left)
        return task

    async def send(
        self,
        model: str,
        request: Request,
        once: Callable[[], Awaitable[T]],
        alive: Callable[[], Awaitable[bool]],
    ) -> T:
        """What `once` returns, in as many attempts as it takes.

        Args:
            model: Who is asked, as the account and the messages call it.
            once: Sends the request one time.
            alive: Whether the provider answers anything, where this call got no answer.

        Raises:
            NotOnRecord: we are offline.
            CallFailed: the provider refuses this request, or every attempt failed.
            ProviderDown: it answers nobody.
            InputError: it refuses us for good.
            CapReached: a cap leaves no room.
        """
        if self.offline:
            raise NotOnRecord(str(request.slot))
        first_fault, reason = 0.0, ""
        for attempt in range(1, ATTEMPTS + 1):
            answer, fault = await self._attempt(model, request, once, attempt)
            if fault is None:
                return answer  # type: ignore[return-value]
            first_fault, reason = first_fault or time.monotonic(), fault.reason
            if fault.kind == "refused":
                raise InputError(f"The provider refuses {model}: {reason}")
            if fault.kind == "final":
                raise CallFailed(request.slot, reason, attempt)
            if attempt < ATTEMPTS:
                backoff = 0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                await asyncio.sleep(min(fault.retry_after or backoff, LONGEST_WAIT))
        if self.last_success.get(model, 0.0) < first_fault and not await alive():
            raise ProviderDown(f"{model} answers nobody: {reason} ({ATTEMPTS} attempts)")
        raise CallFailed(request.slot, reason, ATTEMPTS)

    async def answers(
        self, model: str, request: Request, once: Callable[[], Awaitable[object]], seconds: float
    ) -> bool:
        """Whether one request gets through within so many seconds."""
        async with self.limiter.slot(-1):
            if self.ended or self.halted:
                return False
            self.budget.start(model)
            request.sent += 1
            begun = time.monotonic()
            try:
                async with asyncio.timeout(min(self.timeout, seconds)):
                    await once()
            except Exception as error:  # noqa: BLE001 (whatever it is, this did not get through)
                if (fault := fault_of(error)) and not fault.reached:
                    self._take_back(model, request)
                return False
            self._succeeded(model, begun)
            return True

    def _succeeded(self, model: str, begun: float) -> None:
        # What was asked before an outage may be answered during it.
        self.last_success[model] = max(begun, self.last_success.get(model, 0.0))

    async def _attempt(
        self, model: str, request: Request, once: Callable[[], Awaitable[T]], attempt: int
    ) -> tuple[T | None, Fault | None]:
        async with self.limiter.slot(request.rank if attempt == 1 else -1):
            if stop := self.ended or self.halted:
                raise stop
            self.budget.start(model)
            request.sent += 1
            begun = time.monotonic()
            try:
                async with asyncio.timeout(self.timeout):
                    answer = await once()
            except TimeoutError:
                return None, Fault("passing", f"timed out after {self.timeout:g} s")
            except Exception as error:
                fault = fault_of(error)
                if fault is None:
                    raise
                if not fault.reached:
                    self._take_back(model, request)
                if fault.status == 429:
                    self.limiter.throttled()
                return None, fault
            finally:
                request.seconds += time.monotonic() - begun
            self._succeeded(model, begun)
            self.limiter.succeeded()
            return answer, None

    def _take_back(self, model: str, request: Request) -> None:
        self.budget.take_back(model)
        request.sent -= 1

    def _left(self, task: asyncio.Task[Entry]) -> None:
        self.under_way.discard(task)
        if not task.cancelled():
            task.exception()
        if not self.under_way:
            self.halted = None
