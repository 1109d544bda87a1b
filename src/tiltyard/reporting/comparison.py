"""Compares tracked runs: one line per model, task and mode, over every example that they evaluated.

>>> table = summarize(latest(runs(LocalTracking())))
>>> table[["task", "model", "mode", "score", "low", "high"]]
         task    model       mode  score    low   high
0  tatqa_tiny  lexical   baseline  0.333  0.061  0.792
1  tatqa_tiny  lexical  bootstrap  0.667  0.208  0.939
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.config import OUTSIDE_FINGERPRINT
from tiltyard.reporting import numbers
from tiltyard.reporting.arms import GROUPS, by_line, value_of
from tiltyard.reporting.markdown import Column, table

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.tracking.reader import TrackedRun

VARYING = ("split", "epoch")
"""Columns of the rows that separate lines too, where the rows have more than one value."""
INTERVAL_SEED = 0
"""Seeds bootstrap intervals, as in a run's own summary."""
NOT_DIFFERENCES = (
    "seed",
    "split",
    "labels.",
    "tracking.",
    "debug",
    "evaluation.",
    "cache.",
    "resume",
    "retry",
    "plan",
)
"""Params in which the runs of one line may differ without a remark."""


def latest(runs: "Iterable[TrackedRun]") -> "list[TrackedRun]":
    """The last run of each fingerprint, oldest first: a repetition takes the place of what it repeats.

    One that the response cache answered entirely repeats kept answers and says nothing of speed, so it never
    takes the place of a run that asked the model.
    """
    newest: dict[str, TrackedRun] = {}
    for run in sorted(runs, key=lambda run: (run.asked_the_model, run.started)):
        newest[run.fingerprint or run.run_id] = run
    return sorted(newest.values(), key=lambda run: run.started)


def summarize(
    runs: "Sequence[TrackedRun]",
    rows_of: "Callable[[TrackedRun], pd.DataFrame]" = operator.methodcaller("rows"),
    *,
    axes: Sequence[str] = GROUPS,
) -> "pd.DataFrame":
    """Sum up runs by task, model and mode (and split and epoch, where there are several).

    A line may pool several runs, such as one per seed, which evaluated the same examples again. Answers to
    one example resemble each other, so counting them as independent would make intervals too narrow. Hence
    each example first gets the mean of its scores over the runs; score and accuracy are over those means, one
    per example. The 95% interval says how far other examples of the same kind, and other seeds, could move
    the score (:func:`tiltyard.evaluation.seeds.across_seeds`); examples with the same context form a cluster.
    Where the runs did not evaluate the same examples, the spread between them is not in the interval.

    Columns: ``task``, ``model``, ``mode``, then ``split`` and ``epoch`` where they vary; ``runs``;
    ``samples`` (distinct examples); ``accuracy`` (the share with full marks) and ``score``, each in [0, 1],
    ``low`` and ``high`` (of the score's interval); ``mean_latency_ms`` and ``p95_latency_ms``, over all
    calls except those that a response cache answered, which say nothing of a model's speed (NaN when there
    is no other); ``failed`` (evaluations that ended with an error; they count 0 in the score).

    Args:
        runs: Finished runs.
        rows_of: Gives a run's rows.
        axes: What tells the lines apart; see :func:`tiltyard.reporting.arms.axes_of`.
    """
    import pandas as pd

    frames = []
    for run in runs:
        rows = rows_of(run)
        frames.append(rows.assign(**{axis: value_of(run, axis) for axis in axes}, run_id=run.run_id))
    if not frames:
        return pd.DataFrame(columns=[*axes, *_FIGURES])
    rows = pd.concat(frames, ignore_index=True)
    # Which epoch an optimizer chose is no reason to tell repetitions apart; what one run tells apart is.
    apart = (name for name in VARYING if any(frame[name].nunique() > 1 for frame in frames))
    keys = list(dict.fromkeys([*axes, *apart]))
    lines = [
        dict(zip(keys, values, strict=True)) | _figures(group)
        for values, group in rows.groupby(keys, sort=False)
    ]
    summary = pd.DataFrame(lines, columns=[*keys, *_FIGURES])
    return summary.sort_values(keys, key=_baseline_first, kind="stable", ignore_index=True)


_FIGURES = (
    *("runs", "samples", "accuracy", "score", "low", "high"),
    *("mean_latency_ms", "p95_latency_ms", "failed"),
)


def _figures(rows: "pd.DataFrame") -> dict[str, float]:
    samples = rows.groupby("sample_id", sort=False)[["score", "correct"]].mean()
    low, high = _limits(rows, dict(samples["score"].items()))
    latencies = rows.loc[(rows["cached"] == 0) & (rows["latency_ms"] > 0), "latency_ms"]
    return {
        "runs": rows["run_id"].nunique(),
        "samples": len(samples),
        "accuracy": samples["correct"].mean(),
        "score": samples["score"].mean(),
        "low": low,
        "high": high,
        "mean_latency_ms": float(latencies.mean()),
        "p95_latency_ms": float(latencies.quantile(0.95)),
        "failed": int((rows["error"] != "").sum()),
    }


def _limits(rows: "pd.DataFrame", means: dict[Any, float]) -> tuple[float, float]:
    """The interval of the examples' means, and of the spread between runs where it can be told."""
    from tiltyard.evaluation.clusters import contexts, labels_of
    from tiltyard.evaluation.seeds import across_seeds
    from tiltyard.evaluation.statistics import interval

    clusters = contexts(rows)
    by_run = rows.groupby(["run_id", "sample_id"], sort=False)["score"].mean()
    scores: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for run, sample, score in by_run.reset_index().itertuples(index=False):
        scores[run][sample] = score
    if len(scores) > 1 and all(of_run.keys() == means.keys() for of_run in scores.values()):
        of_runs = across_seeds(scores, clusters=clusters, seed=INTERVAL_SEED)
        return of_runs.low, of_runs.high
    limits = interval(list(means.values()), clusters=labels_of(means, clusters), seed=INTERVAL_SEED)
    return limits.low, limits.high


def _baseline_first(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.where(column != "baseline", "") if column.name == "mode" else column


def pooled_differences(runs: "Iterable[TrackedRun]", axes: Sequence[str] = GROUPS) -> list[str]:
    """What else than the seed differs between runs that share a line, one sentence per kind of difference.

    Such a line's figures are means over different experiments, which a reader has to know. Runs can differ
    although their configs are equal, such as when a data file was edited between them: their fingerprints
    tell, where their seeds are equal too. Fingerprints of different seeds always differ and tell nothing.
    """
    remarks = []
    for key, group in by_line(runs, axes).items():
        line = " / ".join(key)
        if differences := _differences(group):
            remarks.append(f"{line} pools {len(group)} runs that differ in {differences}")
        if alike := _alike_but_different(group):
            remarks.append(
                f"{line} pools {alike} runs whose data, weights, code or package versions differ "
                "(their configs are equal)"
            )
    return remarks


def _differences(runs: "Sequence[TrackedRun]") -> str:
    names = sorted({name for run in runs for name in run.params if not name.startswith(NOT_DIFFERENCES)})
    values = {
        name: sorted({run.params.get(name, numbers.MISSING) for run in runs})
        for name in names
        if not _follows_the_seed(name, runs)
    }
    return ", ".join(f"{name} ({', '.join(v)})" for name, v in values.items() if len(v) > 1)


def _follows_the_seed(name: str, runs: "Sequence[TrackedRun]") -> bool:
    """Whether a param, such as ``optimizer.seed``, is in every run what the run's seed is."""
    return name.endswith(".seed") and all(run.params.get(name) == run.params.get("seed") for run in runs)


def _alike_but_different(runs: "Sequence[TrackedRun]") -> int:
    """How many runs have the config of another one, seed included, and yet another fingerprint."""
    fingerprints: defaultdict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
    for run in runs:
        if run.fingerprint:
            config = (item for item in run.params.items() if item[0].split(".")[0] not in OUTSIDE_FINGERPRINT)
            fingerprints[frozenset(config)].add(run.fingerprint)
    return sum(len(found) for found in fingerprints.values() if len(found) > 1)


def columns(summary: "pd.DataFrame") -> list[tuple[Column, list[str]]]:
    """The summary as a reader sees it: headings, and the cells of each, top to bottom."""
    keys = list(summary.columns[: list(summary.columns).index(_FIGURES[0])])
    scores = zip(summary["score"], summary["low"], summary["high"], strict=True)
    return [
        *((Column(name, right=name == "epoch"), [str(value) for value in summary[name]]) for name in keys),
        (Column("runs", right=True), [numbers.count(value) for value in summary["runs"]]),
        (Column("samples", right=True), [numbers.count(value) for value in summary["samples"]]),
        (Column("accuracy", right=True), [numbers.fraction(value) for value in summary["accuracy"]]),
        (Column("score [95% interval]", right=True), [numbers.scored(*values) for values in scores]),
        (Column("mean", right=True), [numbers.duration(value) for value in summary["mean_latency_ms"]]),
        (Column("p95", right=True), [numbers.duration(value) for value in summary["p95_latency_ms"]]),
        (Column("failed", right=True), [numbers.count(value) for value in summary["failed"]]),
    ]


def to_markdown(summary: "pd.DataFrame") -> str:
    """The summary as a Markdown table."""
    headings, cells = zip(*columns(summary), strict=True)
    return table(headings, list(zip(*cells, strict=True)))
