"""Finds the number that a text comes to, among the words that a model writes around it.

>>> last_quantity("NPV = 9,000 / 1.09 + … = **$27,432.79**.")
Quantity(value=Decimal('27432.79'), unit='$')
"""

import re

from tiltyard.tasks.metrics import Quantity, read_quantity

_CURRENCY = "[$€£¥₹]"
_NUMBER = re.compile(
    rf"""
    (?: (?<![\w.,)\]^]) [-+−–]? | (?<=[A-Z]) (?={_CURRENCY}) )  # a dash behind a word or a number is no sign
    (?: {_CURRENCY} \s? [-−–]? )?
    (?: (?:\d{{1,3}}(?:,\d{{3}})++(?!\d)|\d++)(?:\.\d++)? | \.\d++ )
    (?! (?:st|nd|rd|th)\b )
    (?: \s? (?:%|per\s?cent\b) )? (?: \s (?:thousand|million|billion|trillion)\b )?
    """,
    re.VERBOSE | re.IGNORECASE,
)


def last_quantity(text: str) -> Quantity | None:
    """Read the number that a text is, or else the last number in it; None where there is none.

    A text that is one number may be written in any form of :func:`tiltyard.tasks.metrics.read_quantity`:
    ``(5,000)`` is -5000. Within a text, brackets are only brackets; ordinals, and digits right behind a
    letter or a ``^``, are no numbers.
    """
    whole = read_quantity(text)
    if whole is not None:
        return whole
    found = [read_quantity(number) for number in _NUMBER.findall(text)]
    return next((quantity for quantity in reversed(found) if quantity is not None), None)
