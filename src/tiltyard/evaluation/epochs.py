"""Evaluates what a program was after each epoch of its optimizer, beside the program that was chosen.

>>> found = evaluate_epochs({0: student, 2: later}, 1, evaluation, folder, run)
>>> [(row.epoch, row.score, row.chosen) for row in found]
[(0, 0.21, False), (1, 0.66, True), (2, 0.64, False)]
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dspy

from tiltyard.evaluation.evaluate import ROWS_FILE
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import CHOSEN_EPOCH, Row, write_rows
from tiltyard.result import EpochScore

Evaluate = Callable[[dspy.Module, int, Sequence[Row]], Evaluation]
"""Evaluates a program of an epoch, given the rows that ``predictions.csv`` holds already."""


def chosen_epoch(epochs: Sequence[EpochScore]) -> dict[str, float]:
    """The metric that says which epoch the run's score is of; none where only one program was evaluated."""
    return next(({CHOSEN_EPOCH: float(one.epoch)} for one in epochs if one.chosen), {})


def evaluate_epochs(
    others: Mapping[int, dspy.Module], chosen: int, first: Evaluation, folder: Path, run: Evaluate
) -> tuple[EpochScore, ...]:
    """Evaluate the programs of the epochs that were not chosen; their rows join those of the chosen one.

    Args:
        others: The programs by their epochs.
        chosen: The epoch of the program that was chosen, which is evaluated already.
        first: Its evaluation.
        folder: Where ``predictions.csv`` stands; it is put into the order of the epochs in the end.
        run: Evaluates one program.

    Returns:
        The scores of all epochs, in their order.
    """
    evaluations = {chosen: first}
    rows = list(first.rows)
    for epoch, program in sorted(others.items()):
        evaluations[epoch] = run(program, epoch, rows)
        rows += evaluations[epoch].rows
    ordered = sorted(evaluations.items())
    write_rows(folder / ROWS_FILE, (row for _, evaluation in ordered for row in evaluation.rows))
    return tuple(
        EpochScore(
            epoch,
            evaluation.score,
            evaluation.low,
            evaluation.high,
            evaluation.examples,
            evaluation.failed,
            chosen=epoch == chosen,
        )
        for epoch, evaluation in ordered
    )
