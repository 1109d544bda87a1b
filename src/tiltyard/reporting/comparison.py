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
from tiltyard.reporting.markdown import Column, table

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.tracking.reader import TrackedRun

GROUPS = ("task", "model", "mode")
"""What the runs of one line have in common."""
VARYING = ("split", "epoch")
"""Columns of the rows that separate lines too, where the rows have more than one value."""
INTERVAL_SEED = 0
"""Seeds bootstrap intervals, as in a run's own summary."""
NOT_DIFFERENCES = ("seed", "labels.", "tracking.", "debug", "evaluation.", "cache.", "resume")
"""Params in which the runs of one line may differ without a remark."""


def latest(runs: "Iterable[TrackedRun]") -> "list[TrackedRun]":
    """The last run of each fingerprint, oldest first: a repetition takes the place of what it repeats.

    One that the response cache answered entirely repeats kept answers and says nothing of speed, so it never
    takes the place of a run that asked the model.
    """
    newest: dict[str, TrackedRun] = {}
    for run in sorted(runs, key=lambda run: (_asked_the_model(run), run.started)):
        newest[run.fingerprint or run.run_id] = run
    return sorted(newest.values(), key=lambda run: run.started)


def _asked_the_model(run: "TrackedRun") -> bool:
    examples = run.metrics.get("examples")
    return examples is None or run.metrics.get("examples.cached", 0.0) < examples


def summarize(
    runs: "Sequence[TrackedRun]",
    rows_of: "Callable[[TrackedRun], pd.DataFrame]" = operator.methodcaller("rows"),
) -> "pd.DataFrame":
    """Sum up runs by task, model and mode (and split and epoch, where there are several).

    A line may pool several runs, such as one per seed, which evaluated the same examples again. Answers to
    one example resemble each other, so counting them as independent would make intervals too narrow. Hence
    each example first gets the mean of its scores over the runs; score, accuracy and the 95% interval are
    over those means, one per example. The interval says how far other examples of the same kind could move
    the score. It does not hold the spread between seeds, for which the number of runs is usually too small.

    Columns: ``task``, ``model``, ``mode``, then ``split`` and ``epoch`` where they vary; ``runs``;
    ``samples`` (distinct examples); ``accuracy`` (the share with full marks) and ``score``, each in [0, 1],
    ``low`` and ``high`` (of the score's interval); ``mean_latency_ms`` and ``p95_latency_ms``, over all
    calls except those that a response cache answered, which say nothing of a model's speed (NaN when there
    is no other); ``failed`` (evaluations that ended with an error; they count 0 in the score).

    Args:
        runs: Finished runs.
        rows_of: Gives a run's rows.
    """
    import pandas as pd

    frames = []
    for run in runs:
        rows = rows_of(run)
        frames.append(rows.assign(task=run.task, model=run.model, mode=run.mode, run_id=run.run_id))
    if not frames:
        return pd.DataFrame(columns=[*GROUPS, *_FIGURES])
    rows = pd.concat(frames, ignore_index=True)
    # Which epoch an optimizer chose is no reason to tell repetitions apart; what one run tells apart is.
    keys = [*GROUPS, *(name for name in VARYING if any(frame[name].nunique() > 1 for frame in frames))]
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
    from tiltyard.evaluation.statistics import interval

    samples = rows.groupby("sample_id", sort=False)[["score", "correct"]].mean()
    limits = interval(samples["score"].tolist(), seed=INTERVAL_SEED)
    latencies = rows.loc[(rows["cached"] == 0) & (rows["latency_ms"] > 0), "latency_ms"]
    return {
        "runs": rows["run_id"].nunique(),
        "samples": len(samples),
        "accuracy": samples["correct"].mean(),
        "score": samples["score"].mean(),
        "low": limits.low,
        "high": limits.high,
        "mean_latency_ms": float(latencies.mean()),
        "p95_latency_ms": float(latencies.quantile(0.95)),
        "failed": int((rows["error"] != "").sum()),
    }


def _baseline_first(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.where(column != "baseline", "") if column.name == "mode" else column


def pooled_differences(runs: "Iterable[TrackedRun]") -> list[str]:
    """What else than the seed differs between runs that share a line, one sentence per kind of difference.

    Such a line's figures are means over different experiments, which a reader has to know. Runs can differ
    although their configs are equal, such as when a data file was edited between them: their fingerprints
    tell, where their seeds are equal too. Fingerprints of different seeds always differ and tell nothing.
    """
    groups: defaultdict[tuple[str, str, str], list[TrackedRun]] = defaultdict(list)
    for run in runs:
        groups[run.task, run.model, run.mode].append(run)
    remarks = []
    for key, group in sorted(groups.items()):
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
    values = {name: sorted({run.params.get(name, numbers.MISSING) for run in runs}) for name in names}
    return ", ".join(f"{name} ({', '.join(v)})" for name, v in values.items() if len(v) > 1)


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
    keys = [name for name in (*GROUPS, *VARYING) if name in summary]
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
