"""Trains the embedded model from scratch.

    >>> settings = TrainingSettings(seed=0)
    >>> train(settings, partial(training_episode, seed=0), Path("trained"))
    PosixPath('trained/model')

The loss of a batch is the mean over the tokens of its answers, plus a small share of that over all tokens.
All that a training decides by chance follows from its seed, and nothing after the first weights depends on a
random state: the stream of episodes has a place for each step.
"""

import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from tiltyard.errors import InputError, JobError
from tiltyard.files import write_text
from tiltyard.models.embedded.checkpoints import newest_checkpoint, save_checkpoint
from tiltyard.models.embedded.corpus import Episodes, Fed, Position, Windows, digest, stream
from tiltyard.models.embedded.curves import Curves
from tiltyard.models.embedded.machine import hardware_name, training_device
from tiltyard.models.embedded.settings import Running, TrainingSettings
from tiltyard.models.embedded.steps import Trainee
from tiltyard.models.embedded.tokenizer import train_tokenizer
from tiltyard.models.embedded.writable import writable

logger = logging.getLogger(__name__)

LOGGED_EVERY = 10
"""Steps from one point of the curves to the next."""
TOLD_EVERY = 50
"""Steps from one line of the log to the next."""

TOKENIZER_STRIDE = 30
"""Places of the stream from one episode that the tokenizer is made for to the next: so they reach well beyond
the first part of the curriculum."""


def train(
    settings: TrainingSettings,
    episodes: Episodes,
    folder: Path,
    running: Running | None = None,
    layouts: Sequence[str] = (),
) -> Path:
    """Train a model, or go on with the training that a folder holds.

    The folder gets checkpoints, curves, ``model/`` with the weights in bfloat16 and the tokenizer, and
    ``training.json``, which says how it went.

    Args:
        settings: What decides the weights.
        episodes: What is learnt from, by its place in the stream.
        folder: Where everything is written; made when it does not exist.
        running: How it runs.
        layouts: Texts that stand in calls as they are, of which lines become tokens.

    Returns:
        The folder of the model.

    Raises:
        InputError: The folder holds a training with other settings, the device is not there, no episode is
            short enough, or the folder cannot be written to.
        JobError: The loss is no longer a number.
    """
    return _Training(settings, episodes, folder, running or Running(), layouts).run()


class _Training:
    def __init__(
        self,
        settings: TrainingSettings,
        episodes: Episodes,
        folder: Path,
        running: Running,
        layouts: Sequence[str],
    ) -> None:
        import torch

        self._settings, self._episodes, self._folder, self._running = settings, episodes, folder, running
        self._layouts = layouts
        self._device = training_device(running.device)
        if running.threads:
            torch.set_num_threads(running.threads)
        state = newest_checkpoint(self._checkpoints)
        if state and state["settings"] != asdict(settings):
            theirs = [
                name for name, value in asdict(settings).items() if state["settings"].get(name) != value
            ]
            raise InputError(
                f"{folder} holds a training with other settings ({', '.join(theirs)})",
                "give those settings to go on with it, or another folder to start anew",
            )
        writable(folder, "give a folder of your own as --out")
        self._tokenizer = self._load_tokenizer()
        self._trainee = Trainee(settings, self._tokenizer, self._device)
        self._step, self._position = 0, Position(0, 0)
        self._totals: Counter[str] = Counter()
        self._seconds = 0.0
        self._losses: dict[str, float] = {}
        self._unreported: list[Any] = []
        self._digest = digest(episodes)
        run_id = None
        if state:
            if state["episodes"] != self._digest:
                logger.warning("the episodes are no longer those that this training began with")
            self._trainee.load(state["trainee"])
            self._step, self._position = state["step"], Position(*state["position"])
            self._totals, self._seconds = Counter(state["totals"]), state["seconds"]
            self._losses, self._unreported = state["losses"], state["unreported"]
            run_id = state["run_id"]
            logger.info("going on after step %d of %d", self._step, settings.steps)
        self._curves = Curves(
            running.tracking_uri or f"sqlite:///{(folder / 'mlflow.db').resolve()}",
            f"seed-{settings.seed}",
            run_id=run_id,
            params=asdict(settings),
            artifacts=None if running.tracking_uri else (folder / "artifacts").resolve().as_uri(),
        )

    @property
    def _checkpoints(self) -> Path:
        return self._folder / "checkpoints"

    def _load_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        place = self._folder / "tokenizer"
        if not (place / "tokenizer.json").exists() or not any(self._checkpoints.glob("step-*.pt")):
            logger.info("making the tokenizer from %d episodes", self._settings.tokenizer_episodes)
            texts = (
                message.content
                for index in range(0, self._settings.tokenizer_episodes * TOKENIZER_STRIDE, TOKENIZER_STRIDE)
                for message in self._episodes(index).messages()
            )
            tokenizer = train_tokenizer(
                texts, self._settings.vocabulary, self._settings.context, self._layouts
            )
            tokenizer.save_pretrained(place)
        return AutoTokenizer.from_pretrained(place)

    def run(self) -> Path:
        try:
            with _progress(self._settings.steps, self._step) as self._show:
                self._take_steps()
            place = self._finish()
        except BaseException as error:
            self._curves.finish("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self._curves.finish("FINISHED")
        return place

    def _take_steps(self) -> None:
        settings = self._settings
        while self._step < settings.steps:
            short = self._step < settings.short_steps
            if self._step == settings.short_steps and self._step:
                # The rest of this window was cut for short episodes.
                self._position = Position(self._position.window + 1, 0)
            until = min(settings.short_steps, settings.steps) if short else settings.steps
            windows = Windows(
                self._episodes,
                self._tokenizer,
                longest=min(settings.short_tokens, settings.context) if short else settings.context,
                tokens=settings.short_tokens_per_step if short else settings.tokens_per_step,
                seed=settings.seed,
            )
            batches = stream(windows, self._position, self._running.workers)
            with closing(batches):
                self._learn(islice(batches, until - self._step))

    def _learn(self, batches: Iterator[Fed]) -> None:
        seconds, tokens = self._seconds, self._totals["tokens"]
        last = time.perf_counter()
        for batch, position, skipped in batches:
            self._unreported.append(self._trainee.step(batch, self._step))
            self._step, self._position = self._step + 1, position
            self._totals.update(tokens=int(batch.lengths.sum()), episodes=len(batch.lengths), skipped=skipped)
            self._seconds += time.perf_counter() - last
            last = time.perf_counter()
            if self._step % LOGGED_EVERY == 0 or self._step == self._settings.steps:
                speed = (self._totals["tokens"] - tokens) / (self._seconds - seconds)
                self._report(speed)
                seconds, tokens = self._seconds, self._totals["tokens"]
            if self._step % self._running.checkpoint_every == 0 or self._step == self._settings.steps:
                self._save()

    def _check(self) -> None:
        """See that the losses since the last report are numbers, before they are kept."""
        if not all(math.isfinite(part) for one in self._unreported for part in one.tolist()):
            raise JobError(f"the loss is not a number at step {self._step}", "lower the learning rate")

    def _report(self, speed: float) -> None:
        self._check()
        parts = zip(*(one.tolist() for one in self._unreported), strict=True)
        means = [sum(part) / len(self._unreported) for part in parts]
        self._unreported = []
        self._losses = dict(zip(("answer", "all"), means, strict=True))
        rate = self._settings.learning_rate_at(self._step - 1)
        values = {f"loss.{part}": value for part, value in self._losses.items()}
        values |= {"learning_rate": rate, "tokens_per_second": speed, "tokens": self._totals["tokens"]}
        self._curves.log(self._step, values)
        self._show(self._step, self._losses["answer"])
        if self._step % TOLD_EVERY == 0 or self._step == self._settings.steps:
            logger.info(
                "step %d of %d: loss %.4f on answers, %.4f on all tokens; %.0f tokens/s, %.0f s so far",
                self._step,
                self._settings.steps,
                self._losses["answer"],
                self._losses["all"],
                speed,
                self._seconds,
            )

    def _save(self) -> None:
        self._check()  # a training that went on from a loss that is no number would never have one again
        state = {
            "settings": asdict(self._settings),
            "episodes": self._digest,
            "trainee": self._trainee.state(),
            "step": self._step,
            "position": tuple(self._position),
            "totals": dict(self._totals),
            "seconds": self._seconds,
            "losses": self._losses,
            "unreported": self._unreported,
            "run_id": self._curves.run_id,
        }
        save_checkpoint(self._checkpoints, self._step, state)

    def _finish(self) -> Path:
        place = self._folder / "model"
        self._trainee.save(place)
        self._tokenizer.save_pretrained(place)
        facts = {
            "settings": asdict(self._settings),
            "parameters": self._trainee.parameters,
            "steps": self._step,
            "tokens": self._totals["tokens"],
            "episodes": self._totals["episodes"],
            "episodes_digest": self._digest,
            "episodes_skipped": self._totals["skipped"],
            "seconds": round(self._seconds, 1),
            "hardware": hardware_name(self._device),
            "threads": self._running.threads or "default",
            "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "dspy")},
            "losses": self._losses,
        }
        write_text(self._folder / "training.json", json.dumps(facts, indent=2) + "\n")
        return place


@contextmanager
def _progress(steps: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """Shows the steps done and the loss on answers in a bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda step, loss: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    told = TextColumn("loss {task.fields[loss]:.4f}")
    columns = (BarColumn(), MofNCompleteColumn(), told, TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=steps, completed=done, loss=math.nan)
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
