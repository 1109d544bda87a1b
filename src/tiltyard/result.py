"""What an experiment found: its numbers, its name, and where its files stand.

>>> result = ExperimentResult.load(Path("outputs/sweeps/2026-11-20_18-00-00/0_iot_tiny_lexical_none_s0"))
>>> result.metrics["score"]
0.8
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tiltyard.config import EvaluatedSplit, ExperimentConfig, Labels
from tiltyard.files import write_text

RESULT_FILE = "result.json"
TRACEBACK_FILE = "traceback.txt"
"""Where an unforeseen error leaves its traceback, beside the result."""


@dataclass(frozen=True)
class EpochScore:
    """How the program of one epoch did on the evaluated split."""

    epoch: int
    """0 is the program as it came."""
    score: float
    """The mean score, in [0, 1]."""
    low: float
    """Lower limit of its 95% interval."""
    high: float
    """Upper limit of its 95% interval."""
    examples: int
    """How many were evaluated."""
    failed: int
    """How many of them failed, each of which counts 0."""
    chosen: bool = False
    """Whether this is the program that the optimizer chose: the run's own score."""

    def metrics(self) -> dict[str, float]:
        """The figures under the names that they have in a tracked run, at the step of the epoch."""
        return {"epoch.score": self.score, "epoch.score.low": self.low, "epoch.score.high": self.high}


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment found, and where it is kept."""

    name: str
    """``TASK/MODEL/OPTIMIZER[/SIMULATION][/validation]/sSEED``, the tracked run's name."""
    labels: Labels
    """What the chosen options are called."""
    seed: int
    fingerprint: str
    """Equal for repetitions of one experiment; empty when the experiment failed before it was known."""
    model_id: str
    folder: Path
    """Where the run's files stand."""
    run_id: str | None
    """The tracked run; None without tracking."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Everything that was measured, under the names that the tracked run uses."""
    error: str = ""
    """Why the experiment failed, in one line; empty when it did not."""
    seconds: float = 0.0
    """Wall time from start to end."""
    overrides: tuple[str, ...] = ()
    """The job's Hydra overrides, such as ``optimizer.k=8``: what tells the jobs of a sweep apart."""
    epochs: tuple[EpochScore, ...] = ()
    """How the program did after each epoch of its optimizer, where that was asked for."""
    warnings: tuple[str, ...] = ()
    """Why the result may not be what it seems, a sentence each."""
    kept_from: str = ""
    """The tracked run that a sweep took the result from; empty where the sweep ran the job."""
    left_out: str = ""
    """Why a sweep did not run the job and has no result of it; empty otherwise."""
    split: EvaluatedSplit = "test"
    """The split that was evaluated."""

    @property
    def status(self) -> str:
        """``ok``, ``failed``, ``kept`` from an earlier run, or ``not run``."""
        if self.error:
            return "failed"
        return "not run" if self.left_out else "kept" if self.kept_from else "ok"

    @classmethod
    def failed(cls, cfg: ExperimentConfig, folder: Path, error: str) -> Self:
        """The result of an experiment that did not get to its end."""
        return cls(run_name(cfg), cfg.labels, cfg.seed, "", "", folder, None, error=error, split=cfg.split)

    def save(self) -> None:
        """Write the result into its folder, atomically."""
        write_text(self.folder / RESULT_FILE, json.dumps(asdict(self), default=str, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the result of the experiment that ran in a folder.

        Raises:
            OSError: There is none: the experiment did not end by itself.
        """
        plain = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        read = {
            "labels": Labels(**plain["labels"]),
            "folder": Path(plain["folder"]),
            "overrides": tuple(plain.get("overrides", ())),
            "epochs": tuple(EpochScore(**epoch) for epoch in plain.get("epochs", ())),
            "warnings": tuple(plain.get("warnings", ())),
        }
        return cls(**{**plain, **read})


def run_name(cfg: ExperimentConfig) -> str:
    """``TASK/MODEL/OPTIMIZER[/SIMULATION][/validation]/sSEED``; the split where it is not test."""
    labels = cfg.labels
    simulation = [] if labels.simulation == "none" else [labels.simulation]
    split = [] if cfg.split == "test" else [cfg.split]
    return "/".join([labels.task, labels.model, labels.optimizer, *simulation, *split, f"s{cfg.seed}"])
