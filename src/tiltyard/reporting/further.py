"""A run's further metrics: those of the task's own, beside its score, and those of a simulation.

>>> further({"score": 0.267, "value": 0.929, "tokens.prompt": 12345.0})
{'value': 0.929}
"""

from collections.abc import Mapping

_OWN = {"score", "accuracy", "examples", "examples_per_second", "tokens_per_second"}
_GROUPS = (
    *("score.", "examples.", "tokens.", "cost.", "memory.", "latency.", "inference.", "energy."),
    *("optimizer.", "epoch.", "health."),
    *("accuracy.gold_", "predicted_"),  # a figure for each option's position
)
"""What Tiltyard measures itself, by name and by how names begin; any other metric is one of these here."""


def further(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that Tiltyard does not measure itself, by name, sorted."""
    return {
        name: value
        for name, value in sorted(metrics.items())
        if name not in _OWN and not name.startswith(_GROUPS)
    }
