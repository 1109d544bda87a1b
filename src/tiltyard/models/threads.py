"""Which threads torch computes in, and with how many helpers each.

>>> use_threads(1)
>>> weights = apart(load)
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import cache
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Do something with torch in a thread of its own, and wait for it.

    The thread that first computes in parallel keeps its helpers. With those of a second thread they are more
    than the cores, and OpenMP then lets all of them sleep after each operation: waking them takes longer than
    many an operation of a small model. So no thread that lives on should compute beside the batch's.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="weights", daemon=True).start()
    return done.result()


def use_threads(count: int | None) -> None:
    """Make torch's operations in the calling thread use so many CPU threads.

    Args:
        count: How many; None is the number that torch chose when it was loaded.
    """
    import torch

    default = _default_threads()  # asked for first: it must not be what an earlier call set
    wanted = default if count is None else count
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


@cache
def _default_threads() -> int:
    import torch

    return torch.get_num_threads()
