"""Scores a program on the validation examples, for choosing by and for the curve.

>>> validated(program, valset, metric, epoch=1).score
0.47
"""

from collections.abc import Sequence
from statistics import fmean

import dspy

from tiltyard.optimizers.adapting.answering import Answer, Metric, answer_example
from tiltyard.optimizers.adapting.parallel import in_parallel
from tiltyard.optimizers.adapting.spending import total
from tiltyard.optimizers.cheatsheet.records import Validated


def validated(
    program: dspy.Module, examples: Sequence[dspy.Example], metric: Metric, *, epoch: int
) -> Validated:
    """The mean score; an example that the program or the metric fails on scores 0.

    Args:
        program: What is scored. Threads share it.
        examples: At least one.
        metric: Judges each answer.
        epoch: For the record.
    """

    def answer(example: dspy.Example) -> Answer:
        return answer_example(program, example, metric)

    answers = in_parallel(answer, examples, threads=dspy.settings.num_threads or 1)
    return Validated(
        epoch=epoch,
        score=fmean(answer.score or 0.0 for answer in answers),
        examples=len(answers),
        judged=sum(answer.judged for answer in answers),
        failed=sum(bool(answer.error) for answer in answers),
        spent=total(answer.spent for answer in answers),
    )
