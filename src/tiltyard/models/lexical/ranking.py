"""Choose among candidates by weighted features, with weights that demonstrations move.

The score of a candidate is a weighted sum of its features; a softmax over the candidates of one question
turns scores into probabilities (a conditional logit). The weights start at defaults, and demonstrations move
them to the maximum a posteriori: few demonstrations move them little, many move them far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_STEPS = 60


@dataclass(frozen=True)
class Choice:
    """One demonstration's candidates, and which of them are right."""

    features: "np.ndarray[Any, Any]"
    """One row per candidate."""
    right: "np.ndarray[Any, Any]"
    """How much of the right answer each candidate is; sums to 1."""


def learn_weights(
    defaults: Sequence[float], choices: Sequence[Choice], trust: float
) -> "np.ndarray[Any, Any]":
    """The weights that explain the demonstrations' choices, held near the defaults.

    Args:
        defaults: The weights without demonstrations, one per feature.
        choices: What the demonstrations chose.
        trust: The standard deviation by which a weight may leave its default; above 0.
    """
    import numpy as np
    from scipy.optimize import minimize

    start = np.asarray(defaults, dtype=float)
    if not choices:
        return start
    features = np.concatenate([choice.features for choice in choices])
    right = np.concatenate([choice.right for choice in choices])
    bounds = np.cumsum([0, *(len(choice.right) for choice in choices)])
    first, sizes = bounds[:-1], np.diff(bounds)

    def loss(weights: "np.ndarray[Any, Any]") -> "tuple[float, np.ndarray[Any, Any]]":
        scores = features @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, first), sizes)
        raised = np.exp(scores)
        totals = np.add.reduceat(raised, first)
        moved = weights - start
        value = np.log(totals).sum() - right @ scores + moved @ moved / (2 * trust**2)
        slope = features.T @ (raised / np.repeat(totals, sizes) - right) + moved / trust**2
        return float(value), slope

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(found.x)
