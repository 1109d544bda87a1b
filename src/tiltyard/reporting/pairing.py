"""Pairs the rows of two runs example by example, and refuses rows that are not about the same examples.

>>> compare_rows(after.rows(), before.rows())
Difference(mean=0.254, low=0.201, high=0.313, p=8.7e-19, test='mcnemar', examples=240, …)
"""

from typing import TYPE_CHECKING

from tiltyard.evaluation.paired import Difference, UnpairedError, compare

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.evaluation.power import Detectable

CONTENT = ("question", "context", "gold")
"""Columns that are equal where two rows are about one example."""


def compare_rows(rows: "pd.DataFrame", reference: "pd.DataFrame") -> Difference:
    """The score of one run less that of another, paired by example and clustered by context.

    Args:
        rows: The run's rows, of the epoch that its score is of.
        reference: The rows of the run that it is compared with.

    Raises:
        UnpairedError: The runs evaluated other examples: the reason tells which.
    """
    from tiltyard.evaluation.clusters import contexts

    scores, before = scores_of(rows), scores_of(reference)
    if scores.keys() == before.keys():  # else the comparison says what is missing where
        _refuse_other_content(rows, reference)
    return compare(scores, before, clusters=contexts(rows))


def power_of(rows: "pd.DataFrame", reference: "pd.DataFrame", *, alpha: float = 0.05) -> "Detectable":
    """How large a difference the examples of two runs could show.

    Args:
        rows: The run's rows.
        reference: The rows of the run that it is compared with, of the same examples.
        alpha: The level of the test, in (0, 1).
    """
    from tiltyard.evaluation.clusters import contexts
    from tiltyard.evaluation.power import detectable

    return detectable(scores_of(rows), scores_of(reference), clusters=contexts(rows), alpha=alpha)


def scores_of(rows: "pd.DataFrame") -> dict[str, float]:
    """The score of each example, by its sample id; the mean, where an example was evaluated repeatedly."""
    means = rows.groupby("sample_id", sort=False)["score"].mean()
    return {str(sample): float(score) for sample, score in means.items()}


def shared(rows: "pd.DataFrame", reference: "pd.DataFrame") -> "pd.DataFrame":
    """The examples that both runs evaluated, in the order of the first: both rows side by side.

    An example that only shares its id with another one, such as a record that was edited between the runs,
    is left out.

    Returns:
        The columns of both, those of the first with ``_b`` and those of the reference with ``_a``.
    """
    both = _merged(rows, reference)
    return both[~_differs(both)]


def _merged(rows: "pd.DataFrame", reference: "pd.DataFrame") -> "pd.DataFrame":
    once, before = (frame.drop_duplicates("sample_id") for frame in (rows, reference))
    return once.merge(before, on="sample_id", suffixes=("_b", "_a"))


def _refuse_other_content(rows: "pd.DataFrame", reference: "pd.DataFrame") -> None:
    both = _merged(rows, reference)
    others = both[_differs(both)]
    if len(others):
        sample = others["sample_id"].iloc[0]
        columns = [name for name in CONTENT if (others[f"{name}_b"] != others[f"{name}_a"]).any()]
        what = " and ".join(columns)
        raise UnpairedError(
            f"{len(others)} of {len(both)} examples differ in their {what}, such as '{sample}'"
        )


def _differs(both: "pd.DataFrame") -> "pd.Series[bool]":
    different = both[f"{CONTENT[0]}_b"] != both[f"{CONTENT[0]}_a"]
    for name in CONTENT[1:]:
        different |= both[f"{name}_b"] != both[f"{name}_a"]
    return different
