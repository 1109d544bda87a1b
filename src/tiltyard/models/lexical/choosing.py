"""Choose one of a fixed set of values: the labels that a field declares, or those that demonstrations use.

The demonstrations vote, once per source of similarity, and the words of a value count where the inputs hold them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.ranking import Choice, learn_weights
from tiltyard.models.lexical.similarity import shares, votes
from tiltyard.models.lexical.words import content, words

if TYPE_CHECKING:
    import numpy as np

_VOTE = 1.0
"""The default weight of the demonstrations' vote, spread over the sources of similarity."""
_NAMED, _ASKED = 2.0, 5.0
"""The default weights of a value's words in an input, and in the input that asks: what the question names counts more."""
_NAMED_SPREAD = 0.25
"""How far the weights of words may move, as a share of how far the weights of votes may."""


class Chooser:
    """Knows a set of values and what demonstrations chose from it.

    Args:
        values: The values' texts, without duplicates.
        chosen: Each demonstration's value as an index into ``values``; None where it has no answer.
        inputs: The demonstrations' inputs.
        similar: Each source's similarities among the demonstrations.
        names: The input fields.
        asked: The one of them that asks.
        neighbours: How many demonstrations vote.
        trust: How far demonstrations may move the weights; see :func:`learn_weights`.
    """

    def __init__(
        self,
        values: Sequence[str],
        chosen: Sequence[int | None],
        inputs: Sequence[Mapping[str, str]],
        similar: "Mapping[str, np.ndarray[Any, Any]]",
        names: Sequence[str],
        asked: str,
        neighbours: int,
        trust: float,
    ) -> None:
        import numpy as np

        self.values = tuple(values)
        self._names = tuple(names)
        self._neighbours = neighbours
        self._sources = tuple(similar)
        self._stems = [content(value) for value in values]
        self._known = [index is not None for index in chosen]
        self._ballots = np.zeros((len(chosen), len(values)))
        for row, index in enumerate(chosen):
            if index is not None:
                self._ballots[row, index] = 1.0
        choices = []
        repeated = [row for row, index in enumerate(chosen) if index is not None and chosen.count(index) > 1]
        if repeated:
            voted = self._shares(similar, leave_out=True)
            for row in repeated:
                features = self._features(inputs[row], [share[row] for share in voted])
                choices.append(Choice(features, self._ballots[row]))
        named = [_ASKED if name == asked else _NAMED for name in names]
        voted = [_VOTE / len(self._sources)] * len(self._sources)
        spread = [trust] * len(voted) + [_NAMED_SPREAD * trust] * len(named)
        self._weights = learn_weights([*voted, *named], choices, spread)

    def scores(
        self, inputs: Mapping[str, str], similar: "Mapping[str, np.ndarray[Any, Any]]"
    ) -> "np.ndarray[Any, Any]":
        """The log-probability, up to a constant, of each value for one question.

        Args:
            inputs: The question's inputs.
            similar: Each source's similarities of the question to the demonstrations, one row.
        """
        voted = [share[0] for share in self._shares(similar, leave_out=False)]
        return self._features(inputs, voted) @ self._weights  # type: ignore[no-any-return]

    def _shares(
        self, similar: "Mapping[str, np.ndarray[Any, Any]]", leave_out: bool
    ) -> "list[np.ndarray[Any, Any]]":
        return [
            shares(
                votes(similar[source], self._known, self._neighbours, leave_out),
                self._ballots,
                1 / len(self.values),
            )
            for source in self._sources
        ]

    def _features(
        self, inputs: Mapping[str, str], voted: "Sequence[np.ndarray[Any, Any]]"
    ) -> "np.ndarray[Any, Any]":
        import numpy as np

        named = [_named(self._stems, words(inputs.get(name, ""))) for name in self._names]
        return np.column_stack([*voted, *named])


def _named(values: Sequence[frozenset[str]], text: Sequence[str]) -> "np.ndarray[Any, Any]":
    """How much of each value's words a text holds; half as much where it names another value before."""
    import numpy as np

    first: dict[str, int] = {}
    for place, word in enumerate(text):
        first.setdefault(word, place)
    held = [[first[stem] for stem in stems if stem in first] for stems in values]
    places = [min(found, default=len(text)) for found in held]
    earliest = min(places, default=0)
    return np.array(
        [
            len(found) / max(len(stems), 1) * (1.0 if place == earliest else 0.5)
            for found, stems, place in zip(held, values, places, strict=True)
        ]
    )
