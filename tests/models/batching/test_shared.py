"""Engines of one model share one batch; a model is examined once, and nothing keeps it from going."""

import gc
import logging
import weakref

import pytest
import torch
from small_models import MODELS, Letters
from test_support import REFUSED, pair

from tiltyard.models.batching import shared
from tiltyard.models.batching.shared import shared_batcher
from tiltyard.models.decoding import Decoding
from tiltyard.models.hardware import Placement
from tiltyard.models.weights import Weights

PLACEMENT = Placement("cpu", "float32", 1)


def weights_of(model):
    return Weights("a model", "random", model, Letters())


@pytest.fixture
def weights():
    return weights_of(MODELS["gpt2"]().eval())


def test_the_same_settings_share_one_batcher(weights):
    assert shared_batcher(weights, PLACEMENT) is shared_batcher(weights, Placement("cpu", "float32", 1))


@pytest.mark.parametrize(
    "other",
    [
        Placement("cpu", "float32", 2),
        Placement("cpu", "float32", 1, max_batch_tokens=300),
        Placement("cpu", "float32", 1, prefix_cache_mb=0),
    ],
)
def test_other_settings_have_another_batcher(weights, other):
    assert shared_batcher(weights, PLACEMENT) is not shared_batcher(weights, other)


def test_another_model_has_another_batcher(weights):
    assert shared_batcher(weights, PLACEMENT) is not shared_batcher(
        weights_of(MODELS["gpt2"]().eval()), PLACEMENT
    )


def test_a_model_is_compared_with_itself_before_it_was_prepared():
    """Some models answer otherwise by transformers' own attention once they take packed steps."""
    model, _ = pair("gpt_oss", {"num_local_experts": 4, "sliding_window": 12})
    weights = weights_of(model)

    first = shared_batcher(weights, PLACEMENT)
    second = shared_batcher(weights, Placement("cpu", "float32", 1, prefix_cache_mb=1))

    assert first is not None
    assert second is not None
    prompt, how = [5, 9, 11] * 9, Decoding(max_tokens=9)
    assert first.complete(prompt, how) == second.complete(prompt, how)


def test_a_model_that_cannot_be_batched_is_named_once(caplog):
    settings, reason = REFUSED["bloom"]
    weights = weights_of(pair("bloom", settings)[0])

    with caplog.at_level(logging.WARNING):
        assert shared_batcher(weights, PLACEMENT) is None
        assert shared_batcher(weights, Placement("cpu", "float32", 2)) is None

    (line,) = [record.message for record in caplog.records if "one request at a time" in record.message]
    assert reason in line


def test_budgets_come_from_the_settings(weights, monkeypatch):
    found = []
    plain = shared.Limits.measured
    monkeypatch.setattr(
        shared.Limits, "measured", lambda *args, **options: found.append(plain(*args, **options)) or found[-1]
    )

    shared_batcher(weights, Placement("cpu", "float32", 1, max_batch_tokens=300, prefix_cache_mb=3))

    assert [(limits.batch_tokens, limits.prefix_bytes) for limits in found] == [(300, 3_000_000)]


def test_nothing_but_its_users_holds_a_model():
    with torch.random.fork_rng(devices=[]):
        weights = weights_of(MODELS["llama"]().eval())
    shared_batcher(weights, PLACEMENT).complete([1, 2, 3], Decoding(max_tokens=3))
    gone = weakref.ref(weights.model)

    del weights
    gc.collect()

    assert gone() is None
