"""Makes rows of the answers that a program gave while it was being adapted, as of evaluated examples.

>>> attempt_rows(report.attempts, task, RowLabels("lexical", "tatqa_tiny", "ace"))[0].reflected
1
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tiltyard.evaluation.rows import Row
from tiltyard.evaluation.trial import RowLabels, shown
from tiltyard.optimizers.report import Attempt
from tiltyard.redaction import one_line
from tiltyard.tasks.task import Task

SPLIT = "train"


def attempt_rows(attempts: Sequence[Attempt], task: Task, labels: RowLabels) -> list[Row]:
    """The rows of the answers to training examples, in the order in which they were given.

    An attempt whose label the optimizer did not look at has no score (NaN) and counts as not correct.

    Args:
        attempts: The answers.
        task: Names what was answered and what is right.
        labels: What the rows have in common.
    """
    return [_row(attempt, task, labels) for attempt in attempts]


def _row(attempt: Attempt, task: Task, labels: RowLabels) -> Row:
    example, prediction, score = attempt.example, attempt.prediction, attempt.score
    question, context = shown(example)
    gold, _ = _read(task.gold, example)
    answer, problem = ("", "") if prediction is None else _read(task.answer, prediction)
    return Row(
        model_id=labels.model_id,
        task_name=labels.task_name,
        domain=task.domain,
        mode=labels.mode,
        sample_id=str(example.get("id", "")),
        gold=gold,
        pred=answer,
        latency_ms=round(attempt.latency_ms, 3),
        question=question,
        context=context,
        correct=int(score is not None and score >= 1),
        score=math.nan if score is None else float(score),
        split=SPLIT,
        epoch=attempt.epoch,
        finish_reason="",
        error=attempt.error or problem,
        reflection_latency_ms=round(attempt.reflection_latency_ms or 0.0, 3),
        reflected=int(attempt.reflected),
        prompt_tokens=attempt.prompt_tokens,
        completion_tokens=attempt.completion_tokens,
        cached=0,
    )


def _read(reader: Callable[[Any], str], value: Any) -> tuple[str, str]:
    """What the task reads from an example or a prediction; else nothing, and why."""
    try:
        return reader(value), ""
    except Exception as error:  # a prediction may lack any field
        return "", one_line(error)
