import sys
import time
from types import SimpleNamespace

from tiltyard.telemetry.memory import PeakMemory

MB = 1_000_000


def test_a_peak_inside_the_block_is_seen_although_it_is_over_at_the_end():
    with PeakMemory() as idle:
        time.sleep(0.06)
    with PeakMemory(interval=0.01) as memory:
        ballast = bytearray(150 * MB)
        ballast[::4096] = b"x" * len(ballast[::4096])  # touched pages are resident
        time.sleep(0.2)
        del ballast

    assert memory.peak_mb >= idle.peak_mb + 120


def test_an_earlier_peak_of_the_process_does_not_count():
    ballast = bytearray(150 * MB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    with PeakMemory() as during:
        pass
    del ballast
    with PeakMemory() as after:
        pass

    assert after.peak_mb <= during.peak_mb - 120


def test_a_failing_block_still_has_its_peak():
    memory = PeakMemory()
    try:
        with memory:
            raise ValueError("boom")
    except ValueError:
        assert memory.peak_mb > 1


def test_no_device_memory_without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with PeakMemory() as memory:
        pass

    assert memory.device_peak_mb is None
    assert memory.metrics() == {"memory.peak_mb": memory.peak_mb}
    assert "torch" not in sys.modules


def test_device_memory_is_summed_over_the_devices_that_cuda_has_used(monkeypatch):
    peaks = {0: 9_000 * MB, 1: 9_000 * MB}
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        reset_peak_memory_stats=lambda device: peaks.update({device: 0}),
        max_memory_allocated=lambda device: peaks[device],
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with PeakMemory() as memory:
        peaks.update({0: 300 * MB, 1: 200 * MB})

    assert memory.device_peak_mb == 500
    assert memory.metrics() == {"memory.peak_mb": memory.peak_mb, "memory.device_peak_mb": 500}


def test_cuda_that_was_never_started_stays_so(monkeypatch):
    torch = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", torch)
    with PeakMemory() as memory:
        pass

    assert memory.device_peak_mb is None
