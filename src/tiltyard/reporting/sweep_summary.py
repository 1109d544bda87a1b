"""A sweep's summary as files: ``summary.csv`` for programs and ``summary.md`` for people, one row per job.

>>> write_sweep_summary(results, folder)
[PosixPath('…/summary.md'), PosixPath('…/summary.csv')]
"""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tiltyard.files import write_text
from tiltyard.reporting.against_baseline import HEADING, Against, explained, not_compared, remarks
from tiltyard.reporting.against_baseline import shown as written_difference
from tiltyard.reporting.further import further
from tiltyard.reporting.markdown import Column, escape, table
from tiltyard.reporting.numbers import MISSING, count, duration, figure, is_missing, scored
from tiltyard.reporting.swept import swept
from tiltyard.result import ExperimentResult

MOST_FURTHER = 3
"""How many further metrics have columns in ``summary.md``; where there are more, only the CSV has them."""
MEASURED = {
    "score": "score",
    "low": "score.low",
    "high": "score.high",
    "accuracy": "accuracy",
    "examples": "examples",
    "failed": "examples.failed",
    "truncated": "examples.truncated",
    "unparsed": "examples.unparsed",
    "cached": "examples.cached",
    "p50_ms": "latency.generate.p50_ms",
    "p95_ms": "latency.generate.p95_ms",
    "examples_per_second": "examples_per_second",
    "prompt_tokens": "tokens.prompt",
    "completion_tokens": "tokens.completion",
    "memory_peak_mb": "memory.peak_mb",
}
"""Columns of ``summary.csv`` that hold metrics; a metric that is missing leaves its cell empty."""


def best_of_tasks(results: Sequence[ExperimentResult]) -> set[int]:
    """The positions of each task's highest scores; none where all of a task's scores are equal."""
    of_task: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for position, result in enumerate(results):
        score = result.metrics.get("score")
        if score is not None and not result.error:
            of_task[result.labels.task][position] = score
    return {
        position
        for scores in of_task.values()
        for position, score in scores.items()
        if score == max(scores.values()) > min(scores.values())
    }


def counted(results: Sequence[ExperimentResult]) -> str:
    """How many jobs there are, whether on validation, and how many failed, were kept, or did not run."""
    statuses = [result.status for result in results]
    where = " on validation" if any(result.split == "validation" for result in results) else ""
    parts = [f"{len(results)} job{'s' * (len(results) != 1)}{where}", f"{statuses.count('failed')} failed"]
    parts += [f"{statuses.count('kept')} kept from earlier runs"] if "kept" in statuses else []
    parts += [f"{statuses.count('not run')} not run"] if "not run" in statuses else []
    return ", ".join(parts)


def cached_examples(results: Sequence[ExperimentResult]) -> list[str]:
    """How many examples of each job the response cache answered, for tables; empty where it did none."""
    cached = [result.metrics.get("examples.cached") for result in results]
    return [count(number) for number in cached] if any(cached) else []


def write_sweep_summary(
    results: Sequence[ExperimentResult], folder: Path, compared: Mapping[int, Against] = MappingProxyType({})
) -> list[Path]:
    """Write both files, atomically.

    Args:
        results: One per job, in the order of the jobs.
        folder: The sweep's folder. Jobs' folders stand relative to it where they lie in it, so that it can
            be moved.
        compared: How jobs differ from their baselines, by the job's position in ``results``.

    Returns:
        The files written.
    """
    written = {
        folder / "summary.md": _markdown(results, folder, compared),
        folder / "summary.csv": _csv(results, folder, compared),
    }
    for path, content in written.items():
        write_text(path, content)
    return list(written)


def _csv(results: Sequence[ExperimentResult], folder: Path, compared: Mapping[int, Against]) -> str:
    extra = _further_names(results)
    lines = [
        _record(number, result, folder, compared.get(number), extra) for number, result in enumerate(results)
    ]
    with io.StringIO(newline="") as buffer:
        writer = csv.DictWriter(buffer, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return buffer.getvalue()


def _further_names(results: Sequence[ExperimentResult]) -> list[str]:
    """The further metrics that any job has."""
    return sorted({name for result in results for name in further(result.metrics)})


def _record(
    number: int, result: ExperimentResult, folder: Path, against: Against | None, extra: Sequence[str]
) -> dict[str, object]:
    measured = MEASURED | {f"metric.{name}": name for name in extra}
    values = {column: result.metrics.get(name) for column, name in measured.items()}
    return {
        "job": number,
        "task": result.labels.task,
        "model": result.labels.model,
        "optimizer": result.labels.optimizer,
        "simulation": result.labels.simulation,
        "mode": result.labels.mode,
        "seed": result.seed,
        "split": result.split,
        "overrides": " ".join(result.overrides),
        "status": result.status,
        **{column: "" if is_missing(value) else value for column, value in values.items()},
        **_difference(against),
        "seconds": result.seconds or "",
        "model_id": result.model_id,
        "fingerprint": result.fingerprint,
        "run_id": result.run_id or "",
        "kept_from": result.kept_from,
        "folder": _relative(result.folder, folder),
        "error": result.error,
    }


def _difference(against: Against | None) -> dict[str, object]:
    """The comparison with the job's baseline; empty cells where there is none."""
    if against is None:
        return dict.fromkeys(("diff", "diff_low", "diff_high", "p", "p_holm"), "")
    found = against.difference
    return {
        "diff": found.mean,
        "diff_low": found.low,
        "diff_high": found.high,
        "p": found.p,
        "p_holm": against.p_adjusted,
    }


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


_CHOSEN = (
    Column("job", right=True),
    Column("task"),
    Column("model"),
    Column("optimizer"),
    Column("simulation"),
    Column("seed", right=True),
)
_SCORE = Column("score [95% interval]", right=True)
_COUNTS = (
    Column("examples", right=True),
    Column("failed", right=True),
)
_AGAINST = Column(HEADING, right=True)
_CACHED = Column("cached", right=True)
_TIMES = (
    Column("p50", right=True),
    Column("p95", right=True),
    Column("status"),
)


def _markdown(results: Sequence[ExperimentResult], folder: Path, compared: Mapping[int, Against]) -> str:
    failed = [(number, result) for number, result in enumerate(results) if result.error]
    parts = [
        f"# Sweep {escape(folder.name)}",
        f"{counted(results)}.",
        table(*summary_cells(results, compared)),
    ]
    if best_of_tasks(results):
        parts.append("★ best score of its task; where intervals overlap, it may be chance.")
    if compared:
        parts.append(f"{explained(compared)}.")
    parts += [f"{escape(remark)}." for remark in remarks(compared)]
    parts += [f"{escape(note)}." for note in not_compared(results, compared)]
    if failed:
        reasons = [[str(number), result.name, result.error] for number, result in failed]
        columns = (Column("job", right=True), Column("run"), Column("reason"))
        parts += ["## Failed", table(columns, reasons)]
    return "\n\n".join(parts) + "\n"


def summary_cells(
    results: Sequence[ExperimentResult], compared: Mapping[int, Against] = MappingProxyType({})
) -> tuple[list[Column], list[list[str]]]:
    """The columns of the table in ``summary.md``, and its rows: one per job.

    Args:
        results: One per job, in the order of the jobs.
        compared: How jobs differ from their baselines, by the job's position in ``results``.
    """
    best = best_of_tasks(results)
    varied = swept(results)
    cached = cached_examples(results)
    extra = _further_names(results)
    extra = extra if len(extra) <= MOST_FURTHER else []
    differences = (
        [written_difference(compared.get(number)) for number in range(len(results))] if compared else []
    )
    headings = [
        *_CHOSEN,
        *map(Column, varied),
        _SCORE,
        *([_AGAINST] if compared else []),
        *(Column(name, right=True) for name in extra),
        *_COUNTS,
        *([_CACHED] if cached else []),
        *_TIMES,
    ]
    rows = [
        [
            *_chosen(number, result),
            *(values[number] for values in varied.values()),
            _scored(result, number in best),
            *differences[number : number + 1],
            *(_figure(result.metrics.get(name)) for name in extra),
            *_counts(result),
            *cached[number : number + 1],
            *_times(result),
        ]
        for number, result in enumerate(results)
    ]
    return headings, rows


def _chosen(number: int, result: ExperimentResult) -> list[str]:
    return [
        str(number),
        result.labels.task,
        result.labels.model,
        result.labels.optimizer,
        result.labels.simulation,
        str(result.seed),
    ]


def _scored(result: ExperimentResult, is_best: bool) -> str:
    low, high = result.metrics.get("score.low"), result.metrics.get("score.high")
    return ("★ " if is_best else "") + scored(result.metrics.get("score"), low, high)


def _figure(value: float | None) -> str:
    return MISSING if value is None else figure(value)


def _counts(result: ExperimentResult) -> list[str]:
    return [count(result.metrics.get("examples")), count(result.metrics.get("examples.failed"))]


def _times(result: ExperimentResult) -> list[str]:
    return [
        duration(result.metrics.get("latency.generate.p50_ms")),
        duration(result.metrics.get("latency.generate.p95_ms")),
        f"kept from {result.kept_from}" if result.kept_from else result.status,
    ]
