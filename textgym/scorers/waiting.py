"""Waiting for what another thread or an event loop does."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_a_thread(work: Callable[[], T]) -> "Future[T]":
    """What a thread of its own makes of the work, or its error; the process may end while it still runs."""
    future: Future[T] = Future()
    # A daemon: a pool's threads would not let the process end.
    threading.Thread(target=_fulfil, args=(future, work), daemon=True).start()
    return future


def awaited(work: Awaitable[T]) -> T:
    """Waits for the work to end, also where an event loop is running already, as in a notebook: then in a thread."""

    async def whole() -> T:
        return await work

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    return in_a_thread(lambda: asyncio.run(whole())).result()


def _fulfil(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
