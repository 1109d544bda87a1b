import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
import torch

from tiltyard.models.threads import apart, use_threads

SETTING: ContextVar[str] = ContextVar("setting", default="unset")


def test_threads_hold_in_every_thread_and_null_restores_the_default():
    use_threads(None)
    default = torch.get_num_threads()

    def count(wanted):
        use_threads(wanted)
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(count, [1, 1])) == [1, 1]
        assert list(pool.map(count, [None, None])) == [default, default]
    use_threads(None)


def test_work_apart_runs_in_a_thread_that_ends_and_knows_the_callers_context():
    def work():
        return threading.current_thread(), SETTING.get()

    token = SETTING.set("mine")
    try:
        thread, setting = apart(work)
    finally:
        SETTING.reset(token)

    assert thread is not threading.current_thread()
    assert setting == "mine"
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_what_work_apart_raises_reaches_the_caller():
    def fail():
        raise OSError("no such weights")

    with pytest.raises(OSError, match="no such weights"):
        apart(fail)
