"""Compares the number that an answer comes to with the expected one, within a tolerance.

>>> number_match("about 1,249 USD", ["1250"], tolerance=0.01)
Verdict(score=1.0, problem='')
"""

from collections.abc import Sequence
from decimal import Decimal

from tiltyard.tasks.metrics import Quantity, Verdict, number_difference, read_quantity
from tiltyard.tasks.numbers_in_text import last_quantity


def number_match(answer: str, golds: Sequence[str], tolerance: float) -> Verdict:
    """Full marks for an answer whose number is as near to one of the golds as the tolerance allows.

    The answer's number is what it is, or else the last number in it. A percentage also counts as the fraction
    that it stands for where only one side has a percent sign; other units that contradict each other are
    wrong.

    Args:
        answer: What the model wrote.
        golds: The acceptable answers; those that are no number do not count.
        tolerance: The largest difference, relative to the gold number, at least 0: 0.01 is one percent. For a
            gold of 0 it is the difference itself.
    """
    if not answer.strip():
        return Verdict(0.0, "No answer was given.")
    got = last_quantity(answer)
    if got is None:
        return Verdict(0.0, "The answer has no number.")
    expected = [quantity for quantity in map(read_quantity, golds) if quantity is not None]
    if any(_near(got, gold, tolerance) for gold in expected):
        return Verdict(1.0)
    if not expected:
        return Verdict(0.0, "No number was expected.")
    return Verdict(0.0, number_difference(got.value, expected[0].value) or "The unit is wrong.")


def _near(got: Quantity, gold: Quantity, tolerance: float) -> bool:
    if got.unit and gold.unit and got.unit != gold.unit:
        return False
    values = [got.value]
    if got.unit == "%" and not gold.unit:
        values.append(got.value.scaleb(-2))
    if gold.unit == "%" and not got.unit:
        values.append(got.value.scaleb(2))
    allowed = Decimal(str(tolerance)) * (abs(gold.value) or 1)
    return any(abs(value - gold.value) <= allowed for value in values)
