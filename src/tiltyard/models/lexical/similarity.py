"""How near the demonstrations are to a question, and to each other: TF-IDF cosine, source by source.

A *source* is one input field, the series in it, all of these together (:data:`TOGETHER`), or the shape of an
output that is already written.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.series import series_terms
from tiltyard.models.lexical.words import terms

if TYPE_CHECKING:
    import numpy as np

TOGETHER = "*"
"""The source that averages over all input fields."""
SERIES = "~series"
"""What the name of an input field's source ends with that compares its series."""

_LONGEST = 20_000
"""Characters of an input that are compared; what follows counts for nothing."""
_DOUBT = 4.0
"""How many demonstrations an even vote is worth beside theirs."""
_UNLIKE = 1e-6
"""The vote of a demonstration that shares nothing with the question: it counts where no other does."""
_SHARPNESS = 2.0
"""The power to which a similarity is raised before it weighs a vote."""


class SimilarityIndex:
    """TF-IDF vectors of the demonstrations' inputs, fitted once.

    Args:
        examples: The demonstrations' inputs.
        names: The input fields.
    """

    def __init__(self, examples: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
        self._size = len(examples)
        self._fields: dict[str, tuple[Any, Any]] = {}
        for name in names:
            texts = [example.get(name, "")[:_LONGEST] for example in examples]
            for source, analyze in ((name, terms), (f"{name}{SERIES}", series_terms)):
                if any(analyze(text) for text in texts):
                    self._fields[source] = _fit(texts, analyze)

    def to(self, inputs: Mapping[str, str]) -> "dict[str, np.ndarray[Any, Any]]":
        """Each source's similarities, in [0, 1], of a question to the demonstrations: one row."""
        rows = {
            name: (
                vectorizer.transform([inputs.get(name.removesuffix(SERIES), "")[:_LONGEST]]) @ vectors.T
            ).toarray()
            for name, (vectorizer, vectors) in self._fields.items()
        }
        return self._with_mean(rows, 1)

    def among(self) -> "dict[str, np.ndarray[Any, Any]]":
        """Each source's similarities of every demonstration to the others; zero to itself."""
        import numpy as np

        squares = {name: (vectors @ vectors.T).toarray() for name, (_, vectors) in self._fields.items()}
        for square in squares.values():
            np.fill_diagonal(square, 0.0)
        return self._with_mean(squares, self._size)

    def _with_mean(
        self, parts: "dict[str, np.ndarray[Any, Any]]", rows: int
    ) -> "dict[str, np.ndarray[Any, Any]]":
        import numpy as np

        empty = np.zeros((rows, self._size))
        return {TOGETHER: sum(parts.values(), empty) / max(len(parts), 1), **parts}


def _fit(texts: Sequence[str], analyze: Any) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=analyze, sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(texts)


def votes(
    similarities: "np.ndarray[Any, Any]", may_vote: Sequence[bool], neighbours: int, leave_out: bool
) -> "np.ndarray[Any, Any]":
    """How much each demonstration's answer counts for each question: rows of sum 1, or 0 without voters.

    Args:
        similarities: One row per question, one column per demonstration.
        may_vote: Which demonstrations have an answer.
        neighbours: How many of them vote, the nearest first; the earlier one where two are as near.
        leave_out: The questions are the demonstrations themselves, and none votes on itself.
    """
    import numpy as np

    allowed = np.tile(np.asarray(may_vote, dtype=bool), (len(similarities), 1))
    if leave_out:
        np.fill_diagonal(allowed, False)
    weights = np.where(allowed, np.clip(similarities, 0.0, None) ** _SHARPNESS + _UNLIKE, 0.0)
    if weights.shape[1] > neighbours:
        order = np.argsort(-weights, axis=1, kind="stable")
        np.put_along_axis(weights, order[:, neighbours:], 0.0, axis=1)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def shares(
    voting: "np.ndarray[Any, Any]", ballots: "np.ndarray[Any, Any]", even: float
) -> "np.ndarray[Any, Any]":
    """The logarithm of the share of the vote that each value gets, shrunk towards ``even`` where few vote.

    Args:
        voting: Rows as :func:`votes` returns them.
        ballots: One row per demonstration, one column per value.
        even: The share without any vote, in (0, 1].
    """
    import numpy as np

    certainty = np.count_nonzero(voting, axis=-1, keepdims=True)
    certainty = certainty / (certainty + _DOUBT)
    return np.asarray(np.log(certainty * (voting @ ballots) + (1 - certainty) * even))
