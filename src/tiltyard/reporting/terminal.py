"""What the terminal shows at the end: the summary of one run, and the table of a sweep.

>>> print_result(result, command="tiltyard task=iot_tiny")
lexical on iot_tiny, baseline, seed 0
  score     0.600  [0.231, 0.882], 95% interval
  …
"""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import RenderableType
from rich.text import Text

from tiltyard.reporting.against_baseline import HEADING, Against, explained, not_compared, remarks, shown
from tiltyard.reporting.console import Field, fitting, grid, show, table, text
from tiltyard.reporting.epochs import epoch_table
from tiltyard.reporting.further import further
from tiltyard.reporting.numbers import MISSING, count, duration, figure, fraction, interval, rate, scored
from tiltyard.reporting.sweep_summary import best_of_tasks, cached_examples, counted
from tiltyard.reporting.swept import swept
from tiltyard.result import ExperimentResult

SWEEP_FILES = (
    ("summary.md", "this table"),
    ("summary.csv", "all figures, a row per job"),
    ("a folder per job", "report.md, predictions.csv, program/ and more"),
)
"""What stands in a sweep's folder, and what it is."""
EXPENDABLE = ("p50", "cached", "examples", "failed")
"""Columns of a sweep's table that a narrow terminal does not show, the first to go first."""
MOST_REMARKS = 3
"""How many sentences below a sweep's table say what its examples could show."""
LONGEST_BESIDE = 50
"""The longest command that has its explanation beside it, in characters."""


def print_result(result: ExperimentResult, *, command: str = "", store: Sequence[str] = ()) -> None:
    """Print the summary of one run, and what to type next.

    Args:
        result: The run; it did not fail.
        command: The command line that ran it, if known: the next one to try then stands there complete.
        store: The options with which ``tiltyard report`` finds it, such as ``("--tracking", "folder")``;
            none where the defaults do.
    """
    labels = result.labels
    ran = f"{labels.model} on {labels.task}, {labels.mode}, seed {result.seed}"
    if labels.simulation != "none":
        ran += f", then {labels.simulation}"
    if result.split != "test":
        ran += f", evaluated on {result.split}"
    show(
        text(ran, "bold"),
        grid([(Text(name, "dim"), value) for name, value in _facts(result)], indent=2),
        *epoch_table(result.epochs),
        *(text(f"warning: {warning}", "bold red") for warning in result.warnings),
        "",
        Text("next", "bold"),
        *typed(list(_next_steps(result, command, store))),
    )


def _facts(result: ExperimentResult) -> Iterator[tuple[str, str]]:
    limits = interval(result.metrics.get("score.low"), result.metrics.get("score.high"))
    score, accuracy = result.metrics.get("score"), result.metrics.get("accuracy")
    yield "score", f"{fraction(score)}  {limits}, 95% interval" if limits else fraction(score)
    if accuracy is not None and accuracy != score:
        yield "accuracy", f"{fraction(accuracy)}  examples with full marks"
    for name, value in further(result.metrics).items():
        yield name, figure(value)
    yield "examples", count(result.metrics.get("examples"))
    if troubles := _troubles(result):
        yield "trouble", troubles
    p50, p95 = (result.metrics.get(f"latency.generate.{rank}_ms") for rank in ("p50", "p95"))
    yield "latency", f"p50 {duration(p50)}, p95 {duration(p95)}"
    cached, speed = result.metrics.get("examples.cached"), result.metrics.get("examples_per_second")
    if speed is not None or not cached:
        yield "speed", rate(speed, "examples")
    if cached:
        yield "cached", f"{count(cached)} answered by the response cache"
    if resumed := result.metrics.get("examples.resumed"):
        yield "resumed", f"{count(resumed)} taken over from an interrupted try"
    prompt, completion = result.metrics.get("tokens.prompt"), result.metrics.get("tokens.completion")
    if prompt or completion:
        yield "tokens", f"{count(prompt)} read, {count(completion)} written"
    if passes := _passes(result):
        yield "model", passes
    memory = result.metrics.get("memory.peak_mb")
    if memory is not None:
        yield "memory", f"{count(memory)} MB at its peak"
    yield "took", duration(1000 * result.seconds)
    yield "files", shown_path(result.folder)
    yield "tracked", f"MLflow run {result.run_id}" if result.run_id else "no (tracking=off)"


def _passes(result: ExperimentResult) -> str:
    """What local inference did, as far as it was measured."""
    read = result.metrics.get("inference.prefill_tokens_per_second")
    written = result.metrics.get("inference.decode_tokens_per_second")
    shared = result.metrics.get("inference.prefix_hit_rate")
    parts = [f"{rate(read, 'tokens')} read"] if read else []
    if written:
        parts.append(f"{rate(written, 'tokens')} written")
    if shared:
        parts.append(f"{shared:.0%} of the prompts shared")
    return ", ".join(parts)


def _troubles(result: ExperimentResult) -> str:
    failed, unparsed, truncated = (
        result.metrics.get(f"examples.{what}") for what in ("failed", "unparsed", "truncated")
    )
    parts = []
    if failed:
        formatless = f" ({count(unparsed)} not in the format asked for)" if unparsed else ""
        parts.append(f"{count(failed)} failed{formatless}")
    if truncated:
        parts.append(f"{count(truncated)} cut off at the token limit")
    if failed:
        parts.append(f"see {shown_path(result.folder / 'errors.jsonl')}")
    return ", ".join(parts)


def _next_steps(result: ExperimentResult, command: str, store: Sequence[str]) -> Iterator[tuple[str, str]]:
    labels = result.labels
    if labels.optimizer == "none":
        words = [word for word in command.split(" ") if word != "optimizer=none"] if command else ["…"]
        # Of the shipped tasks, the embedded model's window has room for all demonstrations of one only.
        few = labels.model == "embedded" and labels.task != "conventions"
        typed = " ".join([*words, "optimizer=bootstrap", *["optimizer.max_labeled_demos=4"] * few])
        yield typed, "the same with demonstrations that the optimizer chooses"
    elif result.run_id:
        yield shlex.join(["tiltyard", "report", *store]), "compare it with what ran before"
    if result.run_id:
        yield _mlflow(store)
    else:
        yield shown_path(result.folder / "report.md"), "its report"


def _mlflow(store: Sequence[str]) -> tuple[str, str]:
    """How to look at a store's runs: a server shows them itself."""
    options = dict(zip(store[::2], store[1::2], strict=True))
    place = options.get("--tracking", "")
    if place.lower().startswith(("http://", "https://")):
        return place, "open it in a browser: every run in MLflow"
    folder = ["--tracking", place] if place else []
    return shlex.join(["tiltyard", "ui", *folder]), "look at every run in MLflow"


def print_sweep(
    results: Sequence[ExperimentResult],
    folder: Path,
    compared: Mapping[int, Against] = MappingProxyType({}),
    *,
    store: Sequence[str] = (),
) -> None:
    """Print the table of a sweep, where its files are, and what to type next.

    A terminal too narrow for the table does not show the columns of ``EXPENDABLE``, which the files have.

    Args:
        results: One per job, in the order of the jobs; those of failed jobs say why in ``error``.
        folder: The sweep's folder, where the same table stands as ``summary.md``.
        compared: How jobs differ from their baselines, by the job's position in ``results``.
        store: The options with which ``tiltyard report`` finds it, as in :func:`print_result`.
    """
    failed = [(number, result) for number, result in enumerate(results) if result.error]
    best = best_of_tasks(results)
    title = f"sweep {folder.name}: {counted(results).replace(', 0 failed', '')}"
    show("", text(f"{title}; scores with their 95% intervals", "bold"))
    varied = swept(results)
    # Columns of one value would take the place of what varies, or of what was found.
    common = _common(results) if varied or compared else {}
    if common:
        shared = [f"{heading} {value}" for heading, value in common.items() if heading != "examples"]
        shared += [f"{common['examples']} examples each"] if "examples" in common else []
        show(text(", ".join(shared), "dim"))
    fields = [field for field in _columns(results, best, varied, compared) if field.heading not in common]
    kept = fitting(fields, EXPENDABLE)
    show("", table(kept))
    notes = ["* best score of its task; where intervals overlap, it may be chance"] if best else []
    notes += [explained(compared)] if compared else []
    notes += remarks(compared, MOST_REMARKS)
    notes += not_compared(results, compared)
    if any(result.kept_from for result in results):
        notes.append("kept from: the earlier run of the same fingerprint; resume=false runs all again")
    if any(result.left_out for result in results):
        notes.append("not run: retry=failed runs only what failed; leave it out to run the rest")
    if "failed" in {field.heading for field in fields} - {field.heading for field in kept}:
        notes.append(_failed_examples(results))
    if notes:
        show("", *(text(note, "dim") for note in notes))
    warned = [
        (str(number), text(result.name), text(warning, "bold red"))
        for number, result in enumerate(results)
        for warning in result.warnings
    ]
    if warned:
        show("", Text("warnings", "bold red"), grid(warned, indent=2))
    if failed:
        reasons = [(str(number), text(result.name), text(result.error, "red")) for number, result in failed]
        show("", Text("failed", "bold red"), grid(reasons, indent=2))
    show("", Text("files in ", "bold") + text(shown_path(folder), "cyan"), grid(SWEEP_FILES, indent=2))
    if any(result.run_id for result in results):
        all_ran_here = not any(result.kept_from for result in results)
        report = shlex.join(["tiltyard", "report", *(["--sweep", folder.name] * all_ran_here), *store])
        steps = [(report, "the same by model and mode, with figures"), _mlflow(store)]
        show("", Text("next", "bold"), *typed(steps))


def _program() -> str:
    """What to type for ``tiltyard``: its path where the shell would not find it."""
    started = Path(sys.argv[0])
    if shutil.which("tiltyard"):
        return "tiltyard"
    return shown_path(started) if started.name == "tiltyard" else "python -m tiltyard"


def typed(steps: Sequence[tuple[str, str]]) -> list[RenderableType]:
    """What to type, and why: side by side, or below each other where commands are long."""
    program = _program()
    steps = [(re.sub(r"^tiltyard(?= )", lambda _: program, typed), why) for typed, why in steps]
    if all(len(typed) <= LONGEST_BESIDE for typed, _ in steps):
        return [grid([(text(typed, "cyan"), Text(why)) for typed, why in steps], indent=2)]
    return [grid([[line]], indent) for t, why in steps for line, indent in ((text(t, "cyan"), 2), (why, 6))]


def _common(results: Sequence[ExperimentResult]) -> dict[str, str]:
    """Those of task, model, optimizer and number of examples that all jobs share, if they have it."""
    values = {
        heading: {getattr(result.labels, heading) for result in results}
        for heading in ("task", "model", "optimizer")
    }
    values["examples"] = {
        count(result.metrics.get("examples")) for result in results if result.status in ("ok", "kept")
    }
    return {heading: found.pop() for heading, found in values.items() if len(found) == 1}


def _failed_examples(results: Sequence[ExperimentResult]) -> str:
    """What the column ``failed`` would say."""
    of_jobs = [
        f"{count(failed)} of job {number}"
        for number, result in enumerate(results)
        if (failed := result.metrics.get("examples.failed"))
    ]
    return f"failed examples, which count 0: {', '.join(of_jobs)}"


def _columns(
    results: Sequence[ExperimentResult],
    best: set[int],
    varied: Mapping[str, Sequence[str]],
    compared: Mapping[int, Against],
) -> list[Field]:
    labels = [result.labels for result in results]
    columns = [
        Field("job", [str(number) for number in range(len(results))], right=True),
        Field("task", [label.task for label in labels]),
        Field("model", [label.model for label in labels]),
        Field("optimizer", [label.optimizer for label in labels]),
    ]
    if len({label.simulation for label in labels}) > 1:
        columns.append(Field("simulation", [label.simulation for label in labels]))
    if len({result.seed for result in results}) > 1:
        columns.append(Field("seed", [str(result.seed) for result in results], right=True))
    columns += [Field(name, values, _are_numbers(values)) for name, values in varied.items()]
    scores = [_score(result, number in best) for number, result in enumerate(results)]
    columns.append(Field("score", scores, right=True))
    if compared:
        columns.append(Field(HEADING, [_against(compared.get(number)) for number in range(len(results))]))
    examples = [count(result.metrics.get("examples")) for result in results]
    columns.append(Field("examples", examples, right=True))
    failed = [result.metrics.get("examples.failed") for result in results]
    if any(failed):
        columns.append(Field("failed", [count(number) for number in failed], right=True))
    if cached := cached_examples(results):
        columns.append(Field("cached", cached, right=True))
    p50 = [duration(result.metrics.get("latency.generate.p50_ms")) for result in results]
    columns.append(Field("p50", p50, right=True))
    if any(result.kept_from for result in results):
        columns.append(Field("kept from", [result.kept_from for result in results]))
    return columns


def _are_numbers(values: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value) for value in values if value != MISSING)


def _score(result: ExperimentResult, is_best: bool) -> Text:
    if result.error:
        return Text("failed", "red")
    if result.left_out:
        return Text("not run", "dim")
    value = result.metrics.get("score")
    shown = scored(value, result.metrics.get("score.low"), result.metrics.get("score.high"))
    return Text(f"*{shown}", "bold green") if is_best else Text(shown)


def _against(against: Against | None) -> Text:
    """The difference, in colour where its adjusted p value is below 0.05."""
    if against is None or against.p_adjusted >= 0.05:
        return Text(shown(against))
    return Text(shown(against), "green" if against.difference.mean > 0 else "red")


def shown_path(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
