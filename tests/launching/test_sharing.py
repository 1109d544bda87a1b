import loky
import pytest

from tiltyard.launching.sharing import DEVICES, THREADS, shares
from tiltyard.models.hardware import MEMORY_SHARE, memory_share


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (*THREADS, DEVICES, MEMORY_SHARE):
        monkeypatch.delenv(name, raising=False)


def test_one_worker_has_the_machine_as_it_is():
    assert shares(1) == [{}]


def test_workers_share_cores_and_memory(monkeypatch):
    monkeypatch.setenv(DEVICES, "")
    first, second = shares(2)
    assert first == second
    assert {first[name] for name in THREADS} == {str(max(1, loky.cpu_count() // 2))}
    monkeypatch.setenv(MEMORY_SHARE, first[MEMORY_SHARE])
    assert memory_share() == 0.5
    assert shares(1000)[0][THREADS[0]] == "1"


def test_threads_that_the_user_has_set_stay(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in shares(2)[0]


@pytest.mark.parametrize(
    ("given", "workers", "devices", "memory"),
    [
        ("0,1", 2, ["0", "1"], ["1.0000", "1.0000"]),
        ("4,6", 3, ["4", "6", "4"], ["0.5000", "1.0000", "0.5000"]),
        ("GPU-1a, GPU-2b", 2, ["GPU-1a", "GPU-2b"], ["1.0000", "1.0000"]),
        ("0", 2, ["0", "0"], ["0.5000", "0.5000"]),
    ],
)
def test_gpus_go_round(monkeypatch, given, workers, devices, memory):
    monkeypatch.setenv(DEVICES, given)
    found = shares(workers)
    assert [share[DEVICES] for share in found] == devices
    assert [share[MEMORY_SHARE] for share in found] == memory


def test_a_hidden_gpu_stays_hidden(monkeypatch):
    monkeypatch.setenv(DEVICES, "-1")
    assert DEVICES not in shares(2)[0]
