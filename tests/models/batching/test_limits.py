"""Budgets follow the memory that is free, and shrink until requests go one by one."""

import logging
from types import SimpleNamespace

import psutil
import pytest
import torch

from tiltyard.models.batching import limits as module
from tiltyard.models.batching.key_values import Layout
from tiltyard.models.batching.limits import Limits, free_memory, is_out_of_memory

CPU = torch.device("cpu")
LAYOUT = Layout(((torch.empty(2, 0, 8), torch.empty(2, 0, 8)),))
GB = 10**9


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets the free memory of the machine and the container's files."""
    monkeypatch.setattr(module, "_CGROUP", tmp_path)

    def set_up(available, **files):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
        for name, text in files.items():
            (tmp_path / f"memory.{name}").write_text(text)

    return set_up


def test_without_a_container_the_machines_memory_is_free(machine):
    machine(3 * GB)

    assert free_memory(CPU) == 3 * GB


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"max": "max\n", "current": "5\n"}, 3 * GB),
        ({"max": f"{2 * GB}\n", "current": f"{GB}\n"}, GB),
        ({"max": f"{9 * GB}\n", "current": f"{GB}\n"}, 3 * GB),
        ({"max": f"{GB}\n", "current": f"{2 * GB}\n"}, 0),
        # files that were read count as held until somebody needs their place
        ({"max": f"{2 * GB}\n", "current": f"{2 * GB}\n", "stat": f"anon 5\ninactive_file {GB}\n"}, GB),
        ({"max": f"{2 * GB}\n", "current": f"{GB}\n", "stat": "nonsense"}, GB),
        ({"max": "garbage", "current": "5"}, 3 * GB),
        ({"max": f"{GB}\n"}, 3 * GB),
    ],
)
def test_a_containers_limit_counts(machine, files, free):
    machine(3 * GB, **files)

    assert free_memory(CPU) == free


def test_budgets_are_shares_of_what_is_free(machine):
    machine(GB)

    found = Limits.measured(LAYOUT, CPU)

    assert found.batch_tokens == 0.4 * GB // LAYOUT.token_bytes
    assert found.prefix_bytes == 0.2 * GB
    assert found.rows == 64


def test_a_full_machine_still_answers(machine):
    machine(0)

    found = Limits.measured(LAYOUT, CPU)

    assert (found.batch_tokens, found.prefix_bytes) == (256, 0)


def test_given_budgets_hold(machine):
    machine(GB)

    found = Limits.measured(LAYOUT, CPU, batch_tokens=300, prefix_bytes=0)

    assert (found.batch_tokens, found.prefix_bytes) == (300, 0)


def test_kept_beginnings_have_a_most(machine):
    machine(1000 * GB)

    assert Limits.measured(LAYOUT, CPU).prefix_bytes == 8 * 2**30


def limits(**changes):
    plain = {
        "batch_tokens": 10_000,
        "prefix_bytes": 1000,
        "rows": 64,
        "step_tokens": 2048,
        "step_scores": 2**25,
    }
    return Limits(**{**plain, **changes})


ROOM = 800
"""Bytes of which `LEAVES_FREE` is room for ten tokens of 64 bytes, and `PREFIX_SHARE` 160 bytes."""


@pytest.mark.parametrize(
    ("free", "held", "joining"),
    [
        (GB, 0, 100),
        (GB, 30, 70),
        (GB, 100, 0),
        (ROOM, 0, 10),
        (ROOM, 30, 10),  # what the batch holds is no longer free: it must not be taken off twice
        (ROOM, 95, 5),
        (0, 30, 0),
    ],
)
def test_requests_join_within_the_budget_and_the_memory_that_is_free_by_then(machine, free, held, joining):
    machine(GB)
    found = limits(batch_tokens=100)
    machine(free)

    assert found.tokens_now(held, 64, CPU) == joining
    assert found.batch_tokens == 100


def test_nothing_joins_a_batch_that_holds_more_than_its_budget(machine):
    machine(GB)

    assert limits(batch_tokens=100).tokens_now(130, 64, CPU) <= 0


@pytest.mark.parametrize(
    ("free", "used", "allowed"),
    [
        (GB, 0, 1000),
        (GB, 900, 1000),
        (GB, 1000, 1000),
        (ROOM, 0, 160),
        (ROOM, 500, 660),
        (ROOM, 900, 1000),
        (0, 500, 500),  # what is kept stays, nothing is added
        (0, 0, 0),
        (GB, 1200, 1000),
        (0, 1200, 1000),
    ],
)
def test_beginnings_are_kept_within_the_budget_and_the_memory_that_is_free_by_then(
    machine, free, used, allowed
):
    machine(GB)
    found = limits(prefix_bytes=1000)
    machine(free)

    assert found.prefix_bytes_now(used, CPU) == allowed
    assert found.prefix_bytes == 1000


def test_the_containers_limit_counts_while_requests_join(machine):
    machine(GB, max=f"{5000 + ROOM}\n", current="5000\n")

    assert limits().tokens_now(0, 64, CPU) == 10
    assert limits().prefix_bytes_now(0, CPU) == 160


def test_after_memory_ran_out_half_of_what_was_used_is_allowed(caplog):
    found = limits()

    with caplog.at_level(logging.WARNING):
        found.shrink(4000)

    assert (found.batch_tokens, found.step_tokens, found.prefix_bytes) == (2000, 1024, 500)
    assert "halved to 2000 tokens" in caplog.text


def test_memory_that_ran_out_before_anything_was_used_halves_the_budget():
    found = limits()

    found.shrink(0)

    assert found.batch_tokens == 5000


def test_a_batch_shrinks_until_it_is_one_request():
    found = limits()
    for _ in range(20):
        found.shrink(found.batch_tokens)

    assert found.batch_tokens == 1


def test_the_advice_is_a_value_that_the_option_takes(caplog):
    with caplog.at_level(logging.WARNING):
        limits().shrink(128)

    assert "hardware.max_batch_tokens=256" in caplog.text


def test_steps_shrink_to_an_end():
    found = limits()
    times = 0
    while found.shrink_step():
        times += 1
        assert times < 20

    assert found.batch_tokens == 10_000
    assert 0 < found.step_tokens <= 256


def test_small_steps_never_grow():
    found = limits(step_tokens=7, step_scores=2000)

    assert not found.shrink_step()
    assert (found.step_tokens, found.step_scores) == (7, 2000)


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_recognised(error, ran_out):
    assert is_out_of_memory(error) is ran_out


def test_the_cpu_allocators_own_words_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert is_out_of_memory(caught.value)
