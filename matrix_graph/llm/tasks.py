"""Work that is run to its end: many calls together, or one from code that is not asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


async def to_end(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Whoever cancels this waits until it has ended, however often."""
    task, cancelled = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()


@asynccontextmanager
async def acquired(
    work: Coroutine[Any, Any, T], release: Callable[[T], Coroutine[Any, Any, None]]
) -> AsyncIterator[T]:
    """Hold what `work` returns until the block ends; it is released in any case, also where this is
    cancelled meanwhile.
    """
    task = asyncio.create_task(work)

    async def released() -> None:
        await release(await task)

    try:
        held = await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await to_end(released())
        raise
    try:
        yield held
    finally:
        await to_end(released())


async def gather_to_end(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; the first exception is raised after every call has ended.

    What is in flight when one of them stops the run so still lands in the journal.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def waits_for(work: Callable[..., Any]) -> Callable[[F], F]:
    """Of a function that waits for `work`: have `help()` say what that one does."""

    def documented(function: F) -> F:
        function.__doc__ = f"{function.__doc__}\n\n{work.__doc__}"
        return function

    return documented


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, for code that is not asynchronous, also where an event loop is running,
    as in notebooks. Interrupted, it cancels the work, waits for its end, and raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as beside:
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

        async def cancellable() -> T:
            begun.set_result((asyncio.get_running_loop(), _this_task()))
            return await work

        done = beside.submit(asyncio.run, cancellable())
        try:
            return done.result()
        except BaseException:
            if not done.done():
                loop, task = begun.result()
                loop.call_soon_threadsafe(task.cancel)
            raise


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
