"""Counts what a compilation asks for, and notes each evaluation of a program, by DSPy's callbacks.

>>> recorder = Recorder()
>>> with recorder.recording():
...     program = dspy.MIPROv2(metric=recorder.counted(metric)).compile(student, trainset=train)
>>> recorder.report(program).metrics["optimizer.lm_calls"]
480.0
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from tiltyard.optimizers.report import Candidate, OptimizationReport, Point
from tiltyard.telemetry.usage import Usage

Metric = Callable[..., Any]
"""``metric(example, prediction, trace=None, pred_name=None, pred_trace=None)``; its result has a float."""


class Recorder(BaseCallback):  # type: ignore[misc]
    """Counts calls of models and of a metric, and notes each evaluation of a program.

    One recorder is for one compilation. Recorders nest: each counts what happens inside it.
    """

    def __init__(self) -> None:
        self.metric_calls = 0
        """How often a counted metric was asked."""
        self.lm_calls = 0
        """Answers that were asked of models; a call for ``n`` answers counts ``n`` times."""
        self.prompt_tokens = 0
        """Tokens that they read."""
        self.completion_tokens = 0
        """Tokens that they wrote."""
        self.spared_prompt_tokens = 0
        """Those of the tokens read that a response cache spared."""
        self.spared_completion_tokens = 0
        """Those of the tokens written that it spared."""
        self.seconds = 0.0
        """Wall time of the compilation."""
        self.evaluations: list[Evaluation] = []
        """The evaluations that have ended, in order."""
        self._lock = threading.Lock()
        self._asking: dict[str, Any] = {}
        self._evaluating: dict[str, tuple[Appearance, int]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in a block."""
        start = time.perf_counter()
        try:
            with dspy.context(callbacks=[*dspy.settings.get("callbacks", []), self]):
                yield
        finally:
            self.seconds += time.perf_counter() - start

    def counted(self, metric: Metric) -> Metric:
        """The metric, with its calls counted here."""

        @functools.wraps(metric)  # optimizers look at its signature
        def counted_metric(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.metric_calls += 1
            return metric(*args, **kwargs)

        return counted_metric

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note which model is asked."""
        self._asking[call_id] = instance

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Count the answers and their tokens.

        DSPy's own tracker of usage is copied into worker threads, and what is used there is lost to it.
        """
        lm = self._asking.pop(call_id)
        # Other threads may use the same LM; what it returned is the very object in its history.
        entries = [entry for entry in lm.history[-256:] if entry["outputs"] is outputs]
        used = Usage.of(entries)
        with self._lock:
            self.lm_calls += len(outputs) if isinstance(outputs, list) else 1
            self.prompt_tokens += used.prompt_tokens
            self.completion_tokens += used.completion_tokens
            self.spared_prompt_tokens += used.spared_prompt_tokens
            self.spared_completion_tokens += used.spared_completion_tokens

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note what a program looks like when its evaluation begins: optimizers go on changing it."""
        devset = inputs.get("devset")
        examples = len(devset if devset is not None else instance.devset)
        self._evaluating[call_id] = (Appearance.of(inputs["program"]), examples)

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Note the program's mean score."""
        appearance, examples = self._evaluating.pop(call_id)
        if outputs is None:  # it was broken off
            return
        scores = [float(score) for *_, score in outputs.results]
        self.evaluations.append(
            Evaluation(appearance, sum(scores) / len(scores), examples, self.metric_calls)
        )

    def report(self, program: dspy.Module | None = None) -> OptimizationReport:
        """What was recorded, with the evaluated programs as candidates.

        Args:
            program: The compilation's result, which is marked among the candidates.
        """
        candidates = [
            Candidate(
                name=f"candidate {number}",
                score=one.score,
                examples=one.examples,
                metric_calls=one.metric_calls,
                detail=one.appearance.detail,
            )
            for number, one in enumerate(self.evaluations, start=1)
        ]
        if program is not None:
            chosen = Appearance.of(program)
            alike = [at for at, one in enumerate(self.evaluations) if one.appearance == chosen]
            # Of several evaluations of one program, that on the most examples says the most.
            if alike:
                best = max(alike, key=lambda at: (self.evaluations[at].examples, candidates[at].score))
                candidates[best] = replace(candidates[best], chosen=True)
        return OptimizationReport(
            metrics={**self.metrics(), **summed_up(candidates)},
            points=curve(candidates),
            candidates=candidates,
        )

    def metrics(self) -> dict[str, float]:
        """What the compilation took."""
        return {
            "optimizer.metric_calls": float(self.metric_calls),
            "optimizer.lm_calls": float(self.lm_calls),
            "optimizer.tokens.prompt": float(self.prompt_tokens),
            "optimizer.tokens.completion": float(self.completion_tokens),
            "optimizer.seconds": self.seconds,
        }


@dataclass(frozen=True)
class Appearance:
    """What an optimizer can change in a program: its instructions and demonstrations."""

    predictors: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Name, instructions and demonstrations of each predictor."""

    @classmethod
    def of(cls, program: dspy.Module) -> "Appearance":
        """That of a program as it is now."""
        return cls(
            tuple(
                (name, predictor.signature.instructions, tuple(str(dict(demo)) for demo in predictor.demos))
                for name, predictor in program.named_predictors()
            )
        )

    @property
    def detail(self) -> str:
        """A line that tells it from others for people."""
        parts = []
        for name, instructions, demonstrations in self.predictors:
            prefix = f"{name}: " if len(self.predictors) > 1 else ""
            parts.append(f"{prefix}{len(demonstrations)} demonstrations; {shortened(instructions)}")
        return " | ".join(parts)


@dataclass(frozen=True)
class Evaluation:
    """One program's mean score on some examples."""

    appearance: Appearance
    score: float
    """In [0, 1]."""
    examples: int
    metric_calls: int
    """Metric calls made until its end."""


def shortened(text: str, length: int = 120) -> str:
    """A text as one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def summed_up(candidates: list[Candidate]) -> dict[str, float]:
    """How many candidates there were, and the score of the best that was measured on the most examples."""
    full = _fully_measured(candidates)
    metrics = {"optimizer.candidates": float(len(candidates))}
    if full:
        metrics["optimizer.best_score"] = max(_score(candidate) for candidate in full)
    return metrics


def curve(candidates: list[Candidate]) -> list[Point]:
    """The scores over the metric calls: each candidate's, and the best so far of those fully measured."""
    full = {id(candidate) for candidate in _fully_measured(candidates)}
    points = []
    best: float | None = None
    for candidate in candidates:
        if candidate.score is None:
            continue
        values = {"optimizer.candidate_score": candidate.score}
        if id(candidate) in full:
            best = candidate.score if best is None else max(best, candidate.score)
        if best is not None:
            values["optimizer.best_score"] = best
        points.append(Point(candidate.metric_calls or 0, values))
    return points


def _fully_measured(candidates: list[Candidate]) -> list[Candidate]:
    scored = [candidate for candidate in candidates if candidate.score is not None]
    most = max((candidate.examples or 0 for candidate in scored), default=0)
    return [candidate for candidate in scored if (candidate.examples or 0) == most]


def _score(candidate: Candidate) -> float:
    return -1.0 if candidate.score is None else candidate.score
