"""Builds the models of one run, with their answers kept, and closes them afterwards.

>>> with models_in_use(cfg) as models:
...     models.own, models.nested["optimizer.reflector"]
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dspy

from tiltyard.config import ExperimentConfig, instantiate, model_identity, nested_models
from tiltyard.models.cached_engine import cached_lm, is_cacheable
from tiltyard.models.response_cache import ResponseCache, response_folder


@dataclass(frozen=True)
class ModelsInUse:
    """The models of a run. Equal nodes are one model: its weights are in memory once."""

    own: dspy.LM
    """The model that the programs are for."""
    nested: Mapping[str, dspy.LM]
    """Further models, by the path of their node, such as ``optimizer.reflector``."""


@contextmanager
def models_in_use(cfg: ExperimentConfig) -> Iterator[ModelsInUse]:
    """The models of a run, with their answers kept where they can be told apart and are slower than a disk.

    DSPy's own cache is off in any case: its key has neither weights nor endpoint, so that it would give one
    model's answers for another's. Afterwards the engines are closed: connections to servers end with the run.

    Raises:
        TiltyardError: A model cannot be had.
    """
    hardware = instantiate(cfg.hardware)
    with ExitStack() as until_done:
        cache = ResponseCache(response_folder(cfg.cache.folder), cfg.cache.size_limit_mb)
        until_done.callback(cache.close)
        built: dict[str, dspy.LM] = {}

        def model(node: Mapping[str, Any]) -> dspy.LM:
            key = json.dumps(node, sort_keys=True, default=str)
            if key not in built:
                lm = instantiate(node, hardware=hardware)
                if callable(close := getattr(lm.engine, "close", None)):
                    until_done.callback(close)
                lm = lm.copy(cache=False)
                if cfg.cache.enabled and is_cacheable(lm):
                    lm = cached_lm(lm, cache, model_identity(cfg, node))
                built[key] = lm
            return built[key]

        own = model(cfg.model)
        yield ModelsInUse(own, {path: model(node) for path, node in nested_models(cfg).items()})
