"""What MLflow's pages show as the Description of a run, a sweep and a registered version: Markdown.

>>> tracked.set_tags({DESCRIPTION: describe_run(result, report, command="tiltyard task=iot_tiny")})

A description begins with a plain sentence that says the most: of it, MLflow's lists show the beginning only.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from tiltyard.optimizers.report import Candidate, OptimizationReport
from tiltyard.reporting import numbers
from tiltyard.reporting.against_baseline import Against, explained
from tiltyard.reporting.markdown import code_block, escape, shorten, table
from tiltyard.reporting.sweep_summary import best_of_tasks, counted, summary_cells
from tiltyard.result import ExperimentResult

JOBS_SHOWN = 25
"""How many jobs the table of a sweep has at most."""
SWEEP_LIMIT = 7_000
"""The longest description of a sweep, in characters: below MLflow's limit, which would cut a table in two."""
TASKS_SHOWN = 4
"""How many tasks of a sweep have their highest scores told above its table."""
REASONS_SHOWN = 5
"""How many failed jobs of a sweep have their reasons told, and how many warnings a run shows."""
AS_IT_CAME = ("student", "candidate 0")
"""What optimizers that measure the program as it came call it among their candidates."""
LEFT_OUT = ("cached", "p95")
"""Columns of ``summary.md`` that the table of a sweep has no room for."""
_REASON_LIMIT = 240
_WARNING_LIMIT = 400
_COMMAND_LIMIT = 3_000


def describe_start(command: str) -> str:
    """The description of a run that has just begun: the command line that runs the same again.

    It stays when the process dies; whoever notices says so above it.
    """
    return "\n\n".join(_again(command))


def describe_run(
    result: ExperimentResult, report: OptimizationReport, *, command: str, interrupted: bool = False
) -> str:
    """The description of a run that ends.

    Args:
        result: What was found; one that failed says why in its ``error``.
        report: How its program was compiled.
        command: The command line that runs the same again; left out when empty.
        interrupted: Whether the run was interrupted.
    """
    parts: list[str] = []
    if result.error:
        parts.append(f"**Failed:** {escape(shorten(result.error, _REASON_LIMIT))}")
    if interrupted:
        parts.append("**Interrupted** before its end.")
    parts += [*_figures(result), *_gain(report.candidates, result)]
    warnings = result.warnings or report.warnings
    parts += [f"> **Warning:** {escape(shorten(text, _WARNING_LIMIT))}" for text in warnings[:REASONS_SHOWN]]
    return "\n\n".join([*parts, *_again(command)])


def describe_sweep(
    results: Sequence[ExperimentResult], compared: Mapping[int, Against] = MappingProxyType({})
) -> str:
    """The description of a sweep that ends: the table of its ``summary.md``, shortened.

    Columns in which all jobs are equal are left out. Where there are more jobs than fit, the best of each
    task and those that failed come first.

    Args:
        results: One per job, in the order of the jobs.
        compared: How jobs differ from their baselines, by the job's position in ``results``.
    """
    shown = min(JOBS_SHOWN, len(results))
    while len(text := _sweep(results, compared, shown)) > SWEEP_LIMIT and shown > 0:
        shown -= 1
    return text


def describe_version(result: ExperimentResult, signature: str, uri: str) -> str:
    """The description of a registered version of a program.

    Args:
        result: The run that made it.
        signature: The fields of its signature, such as ``question: str -> answer: str``.
        uri: What names the version, ``models:/NAME/NUMBER``.
    """
    labels = result.labels
    facts = [
        f"Signature: `{signature}`",
        f"Run: {escape(result.name)}, `{result.run_id}`",
        f"Fingerprint: `{result.fingerprint}`",
    ]
    load = (
        "import mlflow\n\n"
        f'program = mlflow.pyfunc.load_model("{uri}")  # with MLFLOW_TRACKING_URI set to this store\n'
        "program.predict(data_frame)"
    )
    return "\n\n".join(
        [
            *_figures(result),
            f"Compiled for {escape(result.model_id or labels.model)} on {escape(labels.task)}, "
            f"by {escape(labels.optimizer)}, seed {result.seed}.",
            "\n".join(f"- {fact}" for fact in facts),
            "Load it:",
            code_block(load, "python"),
        ]
    )


def _figures(result: ExperimentResult) -> Iterator[str]:
    """The score and what it cost, in one sentence; nothing where nothing was measured."""
    found = result.metrics
    if "score" not in found:
        return
    examples = found.get("examples")
    score = numbers.scored(found["score"], found.get("score.low"), found.get("score.high"))
    counts = {
        "examples.failed": "failed",
        "examples.truncated": "cut off at the token limit",
        "examples.unparsed": "not in the format asked for",
        "examples.cached": "answered by the response cache",
    }
    of_split = "" if result.split == "test" else f"{result.split} "
    parts = [f"Score {score} on {numbers.count(examples)} {of_split}examples"]
    parts += [
        f"{numbers.count(found[name])} {what}"
        for name, what in counts.items()
        if found.get(name) or (name == "examples.failed" and name in found)
    ]
    if (median := found.get("latency.generate.p50_ms")) is not None:
        parts.append(f"p50 latency {numbers.duration(median)}")
    if found.get("tokens.prompt"):
        read, wrote = found["tokens.prompt"], found.get("tokens.completion")
        parts.append(f"{numbers.count(read)} tokens read and {numbers.count(wrote)} written")
    if "cost.usd" in found:
        parts.append(numbers.dollars(found["cost.usd"]).replace("$", r"\$"))
    yield f"{', '.join(parts)}."


def _gain(candidates: Sequence[Candidate], result: ExperimentResult) -> Iterator[str]:
    """What the optimizer made of the program by its own measure, where it measured both on the same."""
    before = next((one for one in candidates if one.name in AS_IT_CAME), None)
    after = next((one for one in candidates if one.chosen), None)
    if before is None or after is None or before.score is None or after.score is None:
        return
    if before.examples != after.examples:
        return
    on = "" if after.examples is None else f" ({numbers.count(after.examples)} examples)"
    gain = (
        "the program as it came was kept" if after is before else numbers.signed(after.score - before.score)
    )
    measured = "Validation" if result.split == "test" else "Held back of train"
    yield (
        f"{measured}{on}: {numbers.fraction(before.score)} before, {numbers.fraction(after.score)} after "
        f"optimizing: {gain}; {numbers.counted(len(candidates), 'candidate')} measured."
    )


def _again(command: str) -> Iterator[str]:
    if command and len(command) <= _COMMAND_LIMIT:
        yield "Run it again:"
        yield code_block(command, "sh")


def _sweep(results: Sequence[ExperimentResult], compared: Mapping[int, Against], shown: int) -> str:
    best = best_of_tasks(results)
    parts = [f"{counted(results)}.", *_highest(results, best)]
    if shown:
        parts.append(_table(results, compared, _worth_showing(results, best, shown)))
    if shown < len(results):
        parts.append(f"… and {len(results) - shown} more: `summary.md` among the artifacts has all.")
    if best:
        parts.append("★ best score of its task; where intervals overlap, it may be chance.")
    if compared:
        parts.append(f"{explained(compared)}.")
    failed = [(number, result) for number, result in enumerate(results) if result.error]
    reasons = [
        f"- job {number}: {escape(shorten(result.error, _REASON_LIMIT))}"
        for number, result in failed[:REASONS_SHOWN]
    ]
    if reasons:
        if len(failed) > len(reasons):
            reasons.append(f"- … and {len(failed) - len(reasons)} more")
        parts.append("\n".join(["**Failed:**", "", *reasons]))
    return "\n\n".join(parts)


def _highest(results: Sequence[ExperimentResult], best: set[int]) -> Iterator[str]:
    """Each task's highest score, in one sentence: MLflow folds what stands below the fourth line."""
    of_task: defaultdict[str, list[ExperimentResult]] = defaultdict(list)
    for position in sorted(best):
        of_task[results[position].labels.task].append(results[position])
    told = []
    for task, (first, *others) in list(of_task.items())[:TASKS_SHOWN]:
        found, equal = first.metrics, f" and {numbers.counted(len(others), 'other job')}" if others else ""
        score = numbers.scored(found["score"], found.get("score.low"), found.get("score.high"))
        told.append(
            f"{escape(task)} **{score}** by {escape(first.labels.model)} with optimizer="
            f"{escape(first.labels.optimizer)}, seed {first.seed}{equal}"
        )
    if told:
        more = "; …" if len(of_task) > TASKS_SHOWN else ""
        yield f"Highest scores: {'; '.join(told)}{more}."


def _table(results: Sequence[ExperimentResult], compared: Mapping[int, Against], shown: Sequence[int]) -> str:
    """The rows of some jobs, without the columns that tell none of the sweep's jobs from another."""
    columns, rows = summary_cells(results, compared)
    rows = [[*row[:-1], result.status] for row, result in zip(rows, results, strict=True)]
    telling = [
        at
        for at, column in enumerate(columns)
        if at == 0 or (column.heading not in LEFT_OUT and len({row[at] for row in rows}) > 1)
    ]
    return table([columns[at] for at in telling], [[rows[number][at] for at in telling] for number in shown])


def _worth_showing(results: Sequence[ExperimentResult], best: set[int], most: int) -> list[int]:
    """The positions of the best jobs, of those that failed, and of the first others, in their order."""
    ranked = sorted(range(len(results)), key=lambda at: (at not in best, not results[at].error, at))
    return sorted(ranked[:most])
