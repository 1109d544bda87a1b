"""What a run's report says of its health, and of how a model takes the positions of options.

>>> list(health_sections({"health.truncated": 0.12}, HealthLimits(truncated=0.1)))
['## Health', '| check | rate | limit | … |']
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from tiltyard.config import HealthLimits
from tiltyard.evaluation.health import CHECKS, PREFIX, exceeded
from tiltyard.reporting import numbers
from tiltyard.reporting.markdown import Column, table

_GOLD = "accuracy.gold_"
_PREDICTED = "predicted_"


def health_sections(metrics: Mapping[str, float], limits: HealthLimits) -> Iterator[str]:
    """The checks that are notable or above their limits, with what to do; nothing where there are none."""
    failed = exceeded(metrics, limits)
    bounds = asdict(limits)
    shown = [
        check
        for check in CHECKS
        if check.name in failed or metrics.get(f"{PREFIX}{check.name}", 0.0) > check.notable
    ]
    if not shown:
        return
    yield "## Health"
    if failed:
        yield f"The run failed: above what `evaluation.fail_on` allows is {', '.join(failed)}."
    yield table(
        (
            Column("check"),
            Column("rate", right=True),
            Column("limit", right=True),
            Column("share of"),
            Column("what to do"),
        ),
        [
            [
                f"{check.name} (failed)" if check.name in failed else check.name,
                numbers.fraction(metrics[f"{PREFIX}{check.name}"]),
                numbers.fraction(bounds[check.name]),
                check.share,
                check.remedy,
            ]
            for check in shown
        ],
    )


def position_sections(metrics: Mapping[str, float]) -> Iterator[str]:
    """Accuracy by the position of the right option, and how often each one was chosen, in multiple choice."""
    letters = sorted(
        {
            name.removeprefix(prefix)
            for name in metrics
            for prefix in (_GOLD, _PREDICTED)
            if name.startswith(prefix) and len(name) == len(prefix) + 1
        }
    )
    if not letters:
        return
    yield "## Positions of the options"
    yield table(
        (
            Column("option"),
            Column("accuracy where it is right", right=True),
            Column("share of answers", right=True),
        ),
        [
            [
                letter,
                numbers.fraction(metrics.get(f"{_GOLD}{letter}")),
                numbers.fraction(metrics.get(f"{_PREDICTED}{letter}")),
            ]
            for letter in letters
        ],
    )
