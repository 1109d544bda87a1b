"""How figures are written for reading: the same number looks the same in terminal, Markdown and pictures.

>>> scored(0.6667, 0.2077, 0.9385), duration(812.4), count(None)
('0.667 [0.208, 0.939]', '812 ms', '–')
"""

import math

MISSING = "–"
"""What stands where nothing was measured."""


def is_missing(value: float | None) -> bool:
    """Whether there is no number: None, as in a result, or NaN, as in a data frame."""
    return value is None or math.isnan(value)


def fraction(value: float | None) -> str:
    """A score or a share in [0, 1], with three decimals."""
    return MISSING if value is None or math.isnan(value) else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Both limits in brackets; empty when either is missing."""
    return "" if is_missing(low) or is_missing(high) else f"[{fraction(low)}, {fraction(high)}]"


def scored(value: float | None, low: float | None, high: float | None) -> str:
    """A score with its interval."""
    return MISSING if is_missing(value) else f"{fraction(value)} {interval(low, high)}".rstrip()


def signed(value: float, decimals: int = 3) -> str:
    """A difference of scores, with its sign."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # adding 0 turns -0.0 into 0.0


def p_value(p: float) -> str:
    """``p<0.001``, or ``p=`` and three decimals: without spaces, for a cell that must not break in two."""
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


def figure(value: float) -> str:
    """A metric of any scale: with three decimals as a score where these show it, else with four digits."""
    return fraction(value) if value == 0 or 0.001 <= abs(value) <= 1 else f"{value:.4g}"


def duration(milliseconds: float | None) -> str:
    """A time with two or three significant digits, in milliseconds below one second and in seconds above."""
    if milliseconds is None or math.isnan(milliseconds):
        return MISSING
    if milliseconds >= 999.5:
        seconds = milliseconds / 1000
        decimals = 0 if seconds >= 99.95 else 1 if seconds >= 9.995 else 2
        return f"{seconds:,.{decimals}f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.95 else f"{milliseconds:.1f} ms"


def count(value: float | None) -> str:
    """A whole number, with thousands separated."""
    return MISSING if value is None or math.isnan(value) else f"{value:,.0f}"


def counted(several: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{several:,} {what}{'' if several == 1 else 's'}"


def dollars(value: float | None) -> str:
    """An amount in US dollars: to the cent from one dollar on, below it with three significant digits."""
    if value is None or math.isnan(value):
        return MISSING
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.3g}"


def rate(value: float | None, unit: str) -> str:
    """So many per second, with two significant digits at least."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:,.0f} {unit}/s" if value >= 9.95 else f"{value:.2g} {unit}/s"
