"""Evaluates a program on examples: in parallel, one row on disk per example, whatever fails.

>>> evaluation = evaluate(
...     program, splits.test, task, lm=lm, labels=RowLabels("lexical", "tatqa_tiny", "baseline"),
...     threads=8, latencies=LatencyRecorder(), folder=Path("outputs/run"),
... )
>>> evaluation.score
0.667
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import dspy

from tiltyard.errors import InputError
from tiltyard.evaluation.failures import ErrorLog
from tiltyard.evaluation.journal import TrialJournal
from tiltyard.evaluation.progress import Advance, report_progress
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import Row, RowWriter
from tiltyard.evaluation.trial import RowLabels, Trial, run_trial
from tiltyard.tasks.task import Judged, Task
from tiltyard.telemetry.latency import LatencyRecorder

logger = logging.getLogger(__name__)

ROWS_FILE = "predictions.csv"
ERRORS_FILE = "errors.jsonl"

PATIENCE = 20.0
"""Seconds that running examples get to finish after an interrupt."""


def evaluate(
    program: dspy.Module,
    examples: Sequence[dspy.Example],
    task: Task,
    *,
    lm: dspy.LM,
    labels: RowLabels,
    split: str = "test",
    threads: int,
    latencies: LatencyRecorder,
    folder: Path,
    progress: bool | None = None,
    epoch: int = 0,
    before: Sequence[Row] = (),
    journal: TrialJournal | None = None,
) -> Evaluation:
    """Run a program on examples and score what it predicts.

    Each example's row is in ``predictions.csv`` as soon as the example is finished, and each failure in
    ``errors.jsonl``. A failed example scores 0 and stays in every denominator. When all are done the rows
    are put into the order of the examples. On an interrupt (Ctrl-C) no further example starts, the running
    ones get 20 seconds to finish, the rows made so far stay, and the interrupt goes on to the caller.

    What a journal holds of an earlier try is taken over as it was: rows, failures, times and use of tokens
    are those of both tries together, as if there had been no interruption. The wall time is theirs together
    too, that of the earlier one up to the last example that it finished.

    Args:
        program: A DSPy program; threads share it.
        examples: Records of the task, each with an ``id``. At least one.
        task: Scores predictions. Its ``extra_metrics`` and its ``summary``, where it has them, become further
            metrics; see :class:`tiltyard.tasks.task.Task`.
        lm: The model for every part of the program that has none of its own.
        labels: What the rows have in common.
        split: The split that the examples are from, for the rows.
        threads: How many examples run at the same time, at least 1.
        latencies: Collects the program's times (phase ``generate``) and those of its LM calls, by signature.
        folder: Where ``predictions.csv`` and ``errors.jsonl`` go; files of these names are replaced.
        progress: True for a progress bar, False for none; None for one where stderr is a terminal, and else a
            log line every 30 seconds.
        epoch: The optimizer's epoch, for the rows; 0 where it has none.
        before: Rows of other epochs that ``predictions.csv`` holds already; both files are then added to.
        journal: Where finished examples are found and kept; None starts from the first and keeps none.

    Raises:
        InputError: There is no example.
        OSError: A row cannot be written.
    """
    if not examples:
        raise InputError(
            f"task {labels.task_name} has no {split} examples", "raise limit or check its data file"
        )
    several_models = any(predict.lm for _, predict in program.named_sub_modules(dspy.Predict))
    start = time.perf_counter()
    with (
        journal or TrialJournal() as journal,
        RowWriter(folder / ROWS_FILE, [str(example.id) for example in examples], before) as rows,
        ErrorLog(folder / ERRORS_FILE, append=bool(before)) as errors,
        report_progress(len(examples), labels.task_name, progress) as advance,
    ):
        if journal.found:
            kept = f"{journal.found} of {len(examples)} examples"
            logger.info("%s: %s are kept from an earlier try", labels.task_name, kept)

        def run(example: dspy.Example) -> Trial:
            finished = journal.finished(example, labels)
            trial = finished or run_trial(
                program,
                example,
                task,
                lm=lm,
                labels=labels,
                split=split,
                epoch=epoch,
                several_models=several_models,
            )
            without_secrets = rows.add(trial.row)
            if not finished and without_secrets:
                journal.keep(trial)
            for call in trial.calls:
                latencies.record(*call)
            if trial.failure:
                errors.add(trial.failure)
            return trial

        trials = _in_threads(run, examples, threads, advance)
    seconds = journal.earlier_seconds + time.perf_counter() - start
    return Evaluation.of(trials, seconds, resumed=journal.found, summary=_summary(task, examples, trials))


def _summary(task: Task, examples: Sequence[dspy.Example], trials: Sequence[Trial]) -> Mapping[str, float]:
    """The task's metrics of the whole split."""
    summarise = getattr(task, "summary", None)
    if summarise is None:
        return {}
    found: Mapping[str, float] = summarise(
        [
            Judged(example, trial.row.pred, trial.row.score)
            for example, trial in zip(examples, trials, strict=True)
        ]
    )
    figures = {name: float(value) for name, value in found.items()}
    if unusable := [name for name, value in figures.items() if not math.isfinite(value)]:
        raise ValueError(f"the metric {unusable[0]} of the task's summary is {figures[unusable[0]]}")
    return figures


def _in_threads(
    run: Callable[[dspy.Example], Trial], examples: Sequence[dspy.Example], threads: int, advance: Advance
) -> list[Trial]:
    """The trials of the examples, in their order.

    dspy.Parallel and dspy.Evaluate start a slow example a second time, give up the run after some failures,
    and do not wait for running examples on an interrupt. A thread pool of the standard library would wait
    for them without limit when the process exits; daemon threads do not.
    """
    trials: list[Future[Trial]] = [Future() for _ in examples]
    jobs: SimpleQueue[tuple[dspy.Example, Future[Trial]]] = SimpleQueue()
    for job in zip(examples, trials, strict=True):
        jobs.put(job)

    def work() -> None:
        with suppress(Empty):
            while True:
                example, trial = jobs.get_nowait()
                if not trial.set_running_or_notify_cancel():
                    continue
                try:
                    trial.set_result(copy_context().run(run, example))
                except BaseException as error:
                    trial.set_exception(error)

    try:
        for number in range(min(threads, len(examples))):
            # DSPy keeps its settings and call ids in context variables, which new threads do not inherit.
            target = partial(copy_context().run, work)
            Thread(target=target, name=f"evaluate-{number}", daemon=True).start()
        for trial in as_completed(trials):
            row = trial.result().row
            advance(row.score, bool(row.error))
    except BaseException as error:
        running = [trial for trial in trials if not trial.cancel()]
        if isinstance(error, KeyboardInterrupt):
            logger.warning("interrupted: running examples get %.0f s; Ctrl-C again stops at once", PATIENCE)
        wait(running, timeout=PATIENCE)
        raise
    return [trial.result() for trial in trials]
