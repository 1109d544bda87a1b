"""What an evaluation found: the score with its interval, what failed, what it used and how fast it was.

>>> evaluation.score, evaluation.low, evaluation.high
(0.58, 0.441, 0.706)
>>> evaluation.metrics()["examples.failed"]
2.0
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tiltyard.evaluation.clusters import label
from tiltyard.evaluation.rows import Row
from tiltyard.evaluation.statistics import Method, interval
from tiltyard.evaluation.trial import Trial
from tiltyard.telemetry.usage import Usage


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one program on one set of examples. Every example is in every denominator."""

    rows: tuple[Row, ...]
    """One row per example, in the order of the examples."""
    score: float
    """Mean of the task's primary metric, in [0, 1]; a failed example counts 0."""
    low: float
    """Lower limit of the score's 95% interval; examples that share a context form a cluster."""
    high: float
    """Upper limit of the score's 95% interval."""
    interval_method: Method
    """How the interval was found; see :func:`tiltyard.evaluation.statistics.interval`."""
    accuracy: float
    """The share of examples with full marks, in [0, 1]."""
    extra: Mapping[str, float]
    """Means of the task's further metrics over the examples that they apply to, where a failed example
    counts 0, and the task's metrics of the whole split."""
    failed: int
    """Examples without a score: the program or the metric raised."""
    truncated: int
    """Examples with a completion that a token limit cut off, whether they failed or not."""
    unparsed: int
    """Failed examples whose completion did not have the format that the adapter asked for."""
    cached: int
    """Examples answered entirely by a response cache: they say nothing about speed or use of tokens."""
    prompt_tokens: int
    """Tokens read in this run; those that a response cache spared do not count."""
    completion_tokens: int
    """Tokens written in this run; those that a response cache spared do not count."""
    cached_tokens: int
    """Prompt tokens that the model's prompt cache spared; a part of ``prompt_tokens``."""
    cost_usd: float | None
    """What this run paid for completions, in US dollars; None when the price of any is unknown."""
    seconds: float
    """Wall time of the evaluation; of all tries together where it was interrupted."""
    resumed: int = 0
    """Examples taken over from an earlier try."""

    @property
    def examples(self) -> int:
        """How many examples were evaluated, failed ones included."""
        return len(self.rows)

    @property
    def examples_per_second(self) -> float:
        """Examples that the model answered per second of wall time; none of a response cache counts."""
        return (self.examples - self.cached) / self.seconds

    @property
    def tokens_per_second(self) -> float:
        """Tokens written (not read) per second of wall time, over all threads together."""
        return self.completion_tokens / self.seconds

    @classmethod
    def of(
        cls,
        trials: Sequence[Trial],
        seconds: float,
        *,
        resumed: int = 0,
        summary: Mapping[str, float] = MappingProxyType({}),
    ) -> "Evaluation":
        """Sum up the trials of one evaluation.

        Args:
            trials: One per example, at least one.
            seconds: Wall time of them all together.
            resumed: How many of them are from an earlier try.
            summary: The task's metrics of the whole split.
        """
        rows = tuple(trial.row for trial in trials)
        scores = [row.score for row in rows]
        limits = interval(scores, clusters=[label(row.sample_id, row.context) for row in rows])
        usage = Usage.total([trial.usage for trial in trials])
        return cls(
            rows=rows,
            score=sum(scores) / len(rows),
            low=limits.low,
            high=limits.high,
            interval_method=limits.method,
            accuracy=sum(row.correct for row in rows) / len(rows),
            extra={**_means(trials), **summary},
            failed=sum(trial.failure is not None for trial in trials),
            truncated=sum(row.finish_reason == "length" for row in rows),
            unparsed=sum(trial.failure is not None and trial.failure.kind == "parse" for trial in trials),
            cached=sum(row.cached for row in rows),
            prompt_tokens=usage.prompt_tokens - usage.spared_prompt_tokens,
            completion_tokens=usage.completion_tokens - usage.spared_completion_tokens,
            cached_tokens=usage.cached_tokens - usage.spared_cached_tokens,
            cost_usd=usage.cost_usd,
            seconds=seconds,
            resumed=resumed,
        )

    def metrics(self) -> dict[str, float]:
        """The figures under the names that they have in a tracked run.

        ``cost.usd`` is there only when the price is known, the speeds only when the model answered at all,
        ``examples.resumed`` only when an earlier try had finished some.
        A task's further metrics keep their own names; one that has the name of a figure here gives way to it.
        """
        figures = {
            "score": self.score,  # first: MLflow's comparison of runs opens on the first metric
            "score.low": self.low,
            "score.high": self.high,
            "accuracy": self.accuracy,
            "examples": self.examples,
            "examples.failed": self.failed,
            "examples.truncated": self.truncated,
            "examples.unparsed": self.unparsed,
            "examples.cached": self.cached,
            "tokens.prompt": self.prompt_tokens,
            "tokens.completion": self.completion_tokens,
            "tokens.cached": self.cached_tokens,
        }
        if self.cached < self.examples:
            figures["examples_per_second"] = self.examples_per_second
            figures["tokens_per_second"] = self.tokens_per_second
        if self.cost_usd is not None:
            figures["cost.usd"] = self.cost_usd
        if self.resumed:
            figures["examples.resumed"] = self.resumed
        figures |= {name: value for name, value in self.extra.items() if name not in figures}
        return {name: float(value) for name, value in figures.items()}


def _means(trials: Sequence[Trial]) -> dict[str, float]:
    """Average each further metric; which ones a failed example would have had is unknown, so it has all."""
    names = dict.fromkeys(name for trial in trials for name in trial.extra)
    values = {
        name: [trial.extra.get(name, 0.0) for trial in trials if trial.failure or name in trial.extra]
        for name in names
    }
    return {name: sum(column) / len(column) for name, column in values.items()}
