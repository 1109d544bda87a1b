"""Runs the same work for several examples at once, and keeps their order.

>>> in_parallel(len, ["a", "bb"], threads=2)
[1, 2]
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Sequence[T], *, threads: int) -> list[R]:
    """The results of the items, in their order, whichever finishes first.

    ``dspy.Parallel`` starts a slow item a second time. A thread pool of the standard library makes an
    interrupted process wait for all that was queued; daemon threads do not.

    Args:
        work: What is done for each.
        items: What it is done for.
        threads: How many at once; with 1 all of it happens in the calling thread.

    Raises:
        BaseException: Whatever the first item raised that raised something; no further item is started then.
    """
    if min(threads, len(items)) <= 1:
        return [work(item) for item in items]
    futures: list[Future[R]] = [Future() for _ in items]
    jobs: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
    for job in zip(items, futures, strict=True):
        jobs.put(job)
    for number in range(min(threads, len(items))):
        # DSPy keeps its settings in context variables, which new threads do not inherit.
        target = partial(copy_context().run, _work_off, work, jobs)
        Thread(target=target, name=f"adapting-{number}", daemon=True).start()
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _work_off(work: Callable[[T], R], jobs: "SimpleQueue[tuple[T, Future[R]]]") -> None:
    with suppress(Empty):
        while True:
            item, future = jobs.get_nowait()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                # A context of its own: nothing that one item sets reaches the next.
                future.set_result(copy_context().run(work, item))
            except BaseException as error:
                future.set_exception(error)
