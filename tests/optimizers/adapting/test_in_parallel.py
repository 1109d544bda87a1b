import threading

import dspy
import pytest

from tiltyard.optimizers.adapting.parallel import in_parallel


def test_results_keep_the_order_of_their_items_whoever_is_first():
    first_may_end = threading.Event()

    def work(item):
        if item == 0:
            assert first_may_end.wait(5)
        if item == 3:
            first_may_end.set()
        return item * 10

    assert in_parallel(work, [0, 1, 2, 3], threads=2) == [0, 10, 20, 30]


def test_threads_see_the_settings_around_them_and_keep_theirs_apart():
    def work(item):
        with dspy.context(num_threads=item):
            return dspy.settings.num_threads, dspy.settings.max_errors

    with dspy.context(max_errors=77):
        assert in_parallel(work, [1, 2, 3], threads=3) == [(1, 77), (2, 77), (3, 77)]


def test_an_error_goes_to_the_caller_and_nothing_further_starts():
    started = []

    def work(item):
        started.append(item)
        raise RuntimeError(f"item {item}")

    with pytest.raises(RuntimeError, match="item 0"):
        in_parallel(work, list(range(50)), threads=1)
    assert started == [0]
    with pytest.raises(RuntimeError, match="item 0"):
        in_parallel(work, list(range(5)), threads=2)
