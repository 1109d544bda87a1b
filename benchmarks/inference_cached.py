"""Times an experiment that is run twice, so that the second finds its answers in the response cache.

>>> first, second = repeated(placement, tokenizer, examples=64, threads=64)
>>> first.seconds / second.seconds
24.1
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from inference_program import AnyAnswer
from inference_prompts import Source
from inference_systems import Placement
from omegaconf import open_dict

from tiltyard.config import ExperimentConfig, resolve
from tiltyard.resolvers import register_resolvers
from tiltyard.result import ExperimentResult
from tiltyard.shipped import config_folder

CACHE_FOLDER = "TILTYARD_CACHE_DIR"
"""The environment variable that names the response cache's folder."""


def repeated(
    placement: Placement, tokenizer: Any, *, examples: int, threads: int
) -> tuple[ExperimentResult, ExperimentResult]:
    """The results of an experiment that starts with an empty cache, and of the same again.

    Both come after a short run with other questions in another cache: neither loads the model nor imports
    what an experiment needs, which would flatter the second.
    """
    from tiltyard.experiment import run

    with tempfile.TemporaryDirectory() as name, dspy.context(adapter=AnyAnswer()):
        folder = Path(name)

        def one(label: str, count: int, seed: int) -> ExperimentResult:
            data = _questions(folder / f"questions-{seed}.jsonl", tokenizer, count, seed)
            return run(_config(placement, data, threads), folder / label)

        with _cache_in(folder / "another-cache"):
            one("warm-up", 2, seed=1)
        with _cache_in(folder / "cache"):
            return one("first", examples, seed=0), one("second", examples, seed=0)


def _questions(path: Path, tokenizer: Any, count: int, seed: int) -> Path:
    source = Source(tokenizer, seed)
    context = source.text(400)
    records = [
        {"split": split, "question": source.text(20), "context": context, "answer": "none"}
        for split in ["train", "validation"] + ["test"] * count
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _config(placement: Placement, data: Path, threads: int) -> ExperimentConfig:
    register_resolvers()
    overrides = [
        "task=qa",
        f"task.path='{data}'",
        "model=hf",
        f"model.id='{placement.folder}'",
        "model.max_tokens=32",
        "model.chat_template=none",
        "hardware=auto",
        f"hardware.device={placement.device}",
        f"hardware.dtype={placement.dtype}",
        f"hardware.threads={placement.threads}",
        f"evaluation.threads={threads}",
        "tracking=off",
    ]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("config", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(composed)  # labels are the names of the chosen options
    with open_dict(composed):
        del composed["hydra"]
    return resolve(composed)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get(CACHE_FOLDER)
    os.environ[CACHE_FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_FOLDER]
        else:
            os.environ[CACHE_FOLDER] = before
