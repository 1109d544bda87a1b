import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.telemetry.latency import LatencyRecorder


def test_summary_interpolates_percentiles_linearly():
    latencies = LatencyRecorder()
    for milliseconds in range(1, 101):
        latencies.record("generate", float(milliseconds), ok=milliseconds > 10)

    assert latencies.summary() == {
        "generate": {
            "p50_ms": pytest.approx(50.5),
            "p95_ms": pytest.approx(95.05),
            "p99_ms": pytest.approx(99.01),
            "mean_ms": pytest.approx(50.5),
            "count": 100,
            "success_rate": pytest.approx(0.9),
        }
    }


def test_metrics_are_the_summary_under_flat_names():
    latencies = LatencyRecorder()
    latencies.record("reflect", 8.0)
    latencies.record("generate", 3.0, ok=False)

    assert latencies.metrics() == {
        "latency.generate.p50_ms": 3.0,
        "latency.generate.p95_ms": 3.0,
        "latency.generate.p99_ms": 3.0,
        "latency.generate.mean_ms": 3.0,
        "latency.generate.count": 1.0,
        "latency.generate.success_rate": 0.0,
        "latency.reflect.p50_ms": 8.0,
        "latency.reflect.p95_ms": 8.0,
        "latency.reflect.p99_ms": 8.0,
        "latency.reflect.mean_ms": 8.0,
        "latency.reflect.count": 1.0,
        "latency.reflect.success_rate": 1.0,
    }


def test_an_unused_recorder_has_nothing_to_say():
    assert LatencyRecorder().summary() == {}
    assert LatencyRecorder().metrics() == {}


def test_measure_times_the_block():
    latencies = LatencyRecorder()
    with latencies.measure("generate") as timing:
        time.sleep(0.02)

    assert 20 <= timing.milliseconds < 2000
    assert latencies.summary()["generate"]["p50_ms"] == timing.milliseconds


def test_measure_records_a_failure_and_lets_it_pass():
    latencies = LatencyRecorder()
    with pytest.raises(ValueError, match="boom"), latencies.measure("generate") as timing:
        raise ValueError("boom")

    assert timing.milliseconds > 0
    assert latencies.summary()["generate"]["count"] == 1
    assert latencies.summary()["generate"]["success_rate"] == 0


def test_threads_lose_no_call():
    latencies = LatencyRecorder()

    def work():
        for number in range(500):
            latencies.record("a" if number % 2 else "b", 1.0, ok=number % 4 == 0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    summary = latencies.summary()
    assert [summary[phase]["count"] for phase in "ab"] == [2000, 2000]
    assert [summary[phase]["success_rate"] for phase in "ab"] == [0.0, 0.5]


@given(st.lists(st.floats(0, 1e7), min_size=1))
def test_percentiles_are_ordered_and_within_the_measured_range(times):
    latencies = LatencyRecorder()
    for milliseconds in times:
        latencies.record("generate", milliseconds)

    figures = latencies.summary()["generate"]
    ordered = [min(times), figures["p50_ms"], figures["p95_ms"], figures["p99_ms"], max(times)]
    assert ordered == sorted(ordered)
    assert min(times) * (1 - 1e-12) <= figures["mean_ms"] <= max(times) * (1 + 1e-12)
