import threading

import pytest

from tiltyard.telemetry.inference import Inference, InferenceMeter


@pytest.fixture
def meter():
    found = InferenceMeter()
    found.count_prompt(100, 0)
    found.count_prompt(100, 90)
    found.count_prefill(110, 0.5)
    found.count_decode(2, 0.1)
    found.count_decode(1, 0.1)
    for milliseconds in (10.0, 20.0, 30.0):
        found.count_first_token(milliseconds)
    return found


def test_work_is_added_up(meter):
    assert meter.snapshot() == Inference(
        prompt_tokens=200,
        cached_tokens=90,
        prefill_tokens=110,
        prefill_seconds=0.5,
        decode_tokens=3,
        decode_seconds=0.2,
        decode_passes=2,
        first_token_ms=(10.0, 20.0, 30.0),
    )


def test_metrics_are_rates_of_the_work(meter):
    assert meter.snapshot().metrics() == pytest.approx(
        {
            "inference.prefill_seconds": 0.5,
            "inference.decode_seconds": 0.2,
            "inference.prefix_hit_rate": 0.45,
            "inference.prefill_tokens_per_second": 220.0,
            "inference.decode_tokens_per_second": 15.0,
            "inference.mean_batch": 1.5,
            "latency.first_token.p50_ms": 20.0,
            "latency.first_token.p95_ms": 29.0,
        }
    )


def test_where_nothing_was_done_there_is_nothing_to_report():
    assert InferenceMeter().snapshot().metrics() == {}


def test_rates_of_work_that_was_not_done_are_absent():
    meter = InferenceMeter()
    meter.count_prompt(5, 0)
    meter.count_prefill(5, 0.1)
    meter.count_first_token(7.0)

    metrics = meter.snapshot().metrics()

    assert "inference.decode_tokens_per_second" not in metrics
    assert "inference.mean_batch" not in metrics
    assert metrics["latency.first_token.p50_ms"] == 7.0


def test_what_was_done_since_leaves_out_what_was_done_before(meter):
    before = meter.snapshot()
    meter.count_prompt(10, 5)
    meter.count_decode(4, 0.3)
    meter.count_first_token(99.0)

    done = meter.snapshot().since(before)

    assert (done.prompt_tokens, done.cached_tokens, done.decode_tokens, done.decode_passes) == (10, 5, 4, 1)
    assert done.prefill_tokens == 0
    assert done.first_token_ms == (99.0,)
    assert done.decode_seconds == pytest.approx(0.3)


def test_a_look_does_not_change_afterwards(meter):
    before = meter.snapshot()

    meter.count_prompt(1, 1)
    meter.count_first_token(1.0)

    assert (before.prompt_tokens, len(before.first_token_ms)) == (200, 3)


def test_threads_may_count_at_once():
    meter = InferenceMeter()

    def count():
        for _ in range(500):
            meter.count_prompt(3, 1)
            meter.count_decode(2, 0.5)
            meter.count_first_token(1.0)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    done = meter.snapshot()
    assert (done.prompt_tokens, done.cached_tokens, done.decode_passes) == (12_000, 4_000, 4_000)
    assert len(done.first_token_ms) == 4_000
