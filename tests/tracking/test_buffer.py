import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.tracking.buffer import METRICS_PER_BATCH, MetricBuffer


@given(st.lists(st.one_of(st.none(), st.integers(0, 2 * METRICS_PER_BATCH + 1)), max_size=8))
def test_everything_is_sent_once_in_order_in_batches_that_mlflow_takes(calls):
    sent, given_, number = [], [], 0
    buffer = MetricBuffer(lambda batch: sent.append(list(batch)))
    for count in calls:
        if count is None:
            buffer.flush()
        else:
            metrics = list(range(number, number + count))
            number += count
            given_ += metrics
            buffer.add(metrics)
        assert len(given_) - sum(map(len, sent)) < METRICS_PER_BATCH
    buffer.flush()
    assert [metric for batch in sent for metric in batch] == given_
    assert all(0 < len(batch) <= METRICS_PER_BATCH for batch in sent)


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_a_batch_that_was_not_sent_stays(error):
    sent, errors = [], [error]

    def send(batch):
        if errors:
            raise errors.pop()
        sent.extend(batch)

    buffer = MetricBuffer(send)
    buffer.add([1, 2])
    with pytest.raises(type(error)):
        buffer.flush()
    buffer.add([3])
    buffer.flush()
    assert sent == [1, 2, 3]


def test_a_flush_waits_for_what_another_thread_is_sending():
    entered, release, sent = threading.Event(), threading.Event(), []

    def send(batch):
        entered.set()
        assert release.wait(10)
        sent.extend(batch)

    buffer = MetricBuffer(send)
    buffer.add([1])
    other = threading.Thread(target=buffer.flush)
    other.start()
    assert entered.wait(10)
    threading.Timer(0.05, release.set).start()
    buffer.flush()
    assert sent == [1]
    other.join()
