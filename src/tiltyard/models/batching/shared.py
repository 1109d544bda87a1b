"""One batcher for each loaded model, shared by all engines that ask it with the same settings."""

import logging
import threading
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from tiltyard.models.batching.batcher import Batcher
from tiltyard.models.batching.key_values import Layout
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.support import CannotBatchError, examine
from tiltyard.models.hardware import Placement
from tiltyard.models.threads import apart
from tiltyard.models.weights import Weights

logger = logging.getLogger(__name__)

_MEGABYTE = 10**6


@dataclass
class _Shared:
    """What is known of a model."""

    layout: Layout | None
    """None where it answers one request at a time."""
    batchers: WeakValueDictionary[Any, Batcher] = field(default_factory=WeakValueDictionary)
    """By their settings, as long as an engine uses them: each keeps beginnings of its own."""
    last: Batcher | None = None
    """The one that was asked for last, for the next job of a sweep to find what it has read."""


_lock = threading.Lock()
# A batcher holds the model but not the weights, so that both go when nobody holds the weights any more.
_models: WeakKeyDictionary[Weights, _Shared] = WeakKeyDictionary()


def shared_batcher(weights: Weights, placement: Placement) -> Batcher | None:
    """The batcher of a model; None, with a line in the log, where it answers one request at a time.

    Args:
        weights: The model.
        placement: Threads and memory budgets.
    """
    settings = (placement.threads, placement.max_batch_tokens, placement.prefix_cache_mb)
    with _lock:
        shared = _models.get(weights)
        if shared is None:
            # Once: a model that takes packed steps is no longer what it is compared with.
            shared = _models[weights] = _Shared(_examined(weights))
        if shared.layout is None:
            return None
        batcher = shared.batchers.get(settings)
        if batcher is None:
            batcher = shared.batchers[settings] = _build(weights, shared.layout, placement)
        shared.last = batcher
        return batcher


def _examined(weights: Weights) -> Layout | None:
    try:
        return apart(lambda: examine(weights.model))
    except CannotBatchError as error:
        logger.warning("%s answers one request at a time: %s", weights.name, error)
        return None


def _build(weights: Weights, layout: Layout, placement: Placement) -> Batcher:
    prefix_mb = placement.prefix_cache_mb
    limits = Limits.measured(
        layout,
        weights.device,
        batch_tokens=placement.max_batch_tokens,
        prefix_bytes=None if prefix_mb is None else prefix_mb * _MEGABYTE,
    )
    logger.debug("Batch of %s: %s", weights.name, limits)
    return Batcher(
        weights.model,
        weights.tokenizer,
        layout=layout,
        limits=limits,
        meter=weights.meter,
        threads=placement.threads,
    )
