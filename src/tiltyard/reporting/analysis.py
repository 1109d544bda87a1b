"""Everything that a report over many runs says, before it is written as CSV, Markdown or HTML.

>>> found = analyse(read(select(chosen), source="…"), reference="optimizer=none")
>>> found.summary[["task", "model", "mode", "score"]]
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltyard.reporting.arms import Line, Reference, axes_of, by_line, choose_reference
from tiltyard.reporting.comparison import pooled_differences, summarize
from tiltyard.reporting.disagreements import Disagreements, disagreements
from tiltyard.reporting.over_seeds import OverSeeds, over_seeds
from tiltyard.reporting.per_axis import PerAxis, per_axis
from tiltyard.reporting.troubles import FailedExamples, FailedRun, failed_examples, failed_runs

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.reporting.reading import Evidence
    from tiltyard.tracking.reader import TrackedRun

NO_REFERENCE = (
    "no arm is declared as the reference and no run has optimizer=none, so nothing is compared: "
    "name one with --reference, such as --reference model=NAME"
)


@dataclass(frozen=True)
class Effort:
    """What the runs of a line took; None where nothing was measured."""

    tokens: float | None
    """Tokens read and written per example, in the evaluation."""
    cost: float | None
    """US dollars per example, where the price is known."""
    compile_tokens: float | None
    """Tokens that the optimizer used per run."""
    compile_seconds: float | None
    """Wall time of the compilation per run."""
    memory_mb: float | None
    """Peak memory, the mean over runs."""


@dataclass(frozen=True)
class Analysis:
    """What was found."""

    evidence: "Evidence"
    axes: Sequence[str]
    """What tells lines apart."""
    lines: "dict[Line, list[TrackedRun]]"
    summary: "pd.DataFrame"
    """As :func:`tiltyard.reporting.comparison.summarize` makes it."""
    efforts: dict[Line, Effort]
    comparisons: PerAxis
    seeds: list[OverSeeds]
    disagreements: Disagreements
    failed_runs: list[FailedRun]
    failed_examples: list[FailedExamples]
    remarks: list[str]
    """What a reader must know of the runs, one sentence each."""


def analyse(evidence: "Evidence", *, reference: str | None = None, by: Sequence[str] = ()) -> Analysis:
    """Work out what the runs say.

    Args:
        evidence: The runs with their rows.
        reference: The arm that others are compared with, as ``key=value``; the baseline when None.
        by: Config keys that tell lines apart beside task, model and mode.

    Raises:
        InputError: The reference or a key is none that the runs have.
    """
    chosen: Reference | None = choose_reference(evidence.runs, reference)
    axes = axes_of(evidence.runs, chosen, by)
    lines = by_line(evidence.runs, axes)
    return Analysis(
        evidence,
        axes,
        lines,
        summarize(evidence.runs, lambda run: evidence.rows[run.run_id], axes=axes),
        {line: _effort(runs, evidence) for line, runs in lines.items()},
        per_axis(evidence, axes, chosen),
        over_seeds(evidence, axes),
        disagreements(evidence, axes),
        failed_runs(evidence.failed),
        failed_examples(evidence, axes),
        [
            *evidence.remarks,
            *pooled_differences(evidence.runs, axes),
            *_on_validation(evidence.runs),
            *_other_examples(lines, evidence),
            *([] if chosen else [NO_REFERENCE]),
        ],
    )


def _on_validation(runs: "Sequence[TrackedRun]") -> list[str]:
    """What to know of scores that are not of test: they are there to choose by."""
    several = sum(run.split == "validation" for run in runs)
    if not several:
        return []
    if several == len(runs):
        return ["all scores are on validation, where options are chosen: report the chosen one's on test"]
    return [
        f"{several} of {len(runs)} runs evaluated validation: they have lines of their own, which compare "
        "with each other only, and the figures of trade-offs show test alone"
    ]


def _other_examples(lines: "Mapping[Line, Sequence[TrackedRun]]", evidence: "Evidence") -> list[str]:
    """The tasks whose lines were not asked the same examples: their scores do not compare as they stand.

    Lines on different splits are told apart by their names.
    """
    samples: defaultdict[tuple[str, str], list[frozenset[str]]] = defaultdict(list)
    for line, runs in lines.items():
        asked = frozenset(
            str(sample) for run in runs for sample in evidence.rows[run.run_id]["sample_id"].unique()
        )
        samples[line[0], runs[0].split].append(asked)
    return [
        f"{task}: its arms evaluated different examples ({_range(list(map(len, of_arms)))} each), so their "
        "scores do not compare directly; arms are tested against each other on the same examples only"
        for (task, _), of_arms in samples.items()
        if len(set(of_arms)) > 1
    ]


def _range(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least} to {most}"


def _effort(runs: "Sequence[TrackedRun]", evidence: "Evidence") -> Effort:
    import pandas as pd

    names = ["prompt_tokens", "completion_tokens"]
    tokens = pd.concat([evidence.rows[run.run_id][names] for run in runs]).sum(axis=1)
    counted = tokens[tokens > 0]  # a model that counts no tokens leaves zeros
    costs = [
        run.metrics["cost.usd"] / asked
        for run in runs
        if "cost.usd" in run.metrics and (asked := _asked(run)) > 0
    ]
    spent = [
        run.metrics["optimizer.tokens.prompt"] + run.metrics.get("optimizer.tokens.completion", 0.0)
        for run in runs
        if "optimizer.tokens.prompt" in run.metrics
    ]
    return Effort(
        tokens=float(counted.mean()) if len(counted) else None,
        cost=_mean(costs),
        compile_tokens=_mean(spent),
        compile_seconds=_mean(_metric(runs, "optimizer.seconds")),
        memory_mb=_mean(_metric(runs, "memory.peak_mb")),
    )


def _asked(run: "TrackedRun") -> float:
    """How many examples the model was paid for: kept answers cost nothing, which says nothing of it."""
    return run.metrics.get("examples", 0.0) - run.metrics.get("examples.cached", 0.0)


def _metric(runs: "Sequence[TrackedRun]", name: str) -> list[float]:
    return [run.metrics[name] for run in runs if name in run.metrics]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
