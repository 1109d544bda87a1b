"""Choose one of a fixed set of values: the labels that a field declares, or those that demonstrations use.

The demonstrations vote, once per source of similarity. A value's words count where the inputs hold them, and
so does a sentence of the instructions that names one value beside other words of the inputs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.passages import sentences
from tiltyard.models.lexical.ranking import Choice, learn_weights
from tiltyard.models.lexical.similarity import shares, votes
from tiltyard.models.lexical.words import content, words

if TYPE_CHECKING:
    import numpy as np

_VOTE = 1.0
"""The default weight of the demonstrations' vote, spread over the sources of similarity."""
_NAMED, _ASKED, _LABEL = 2.5, 5.0, 0.5
"""The default weights of a declared value's words in an input, of its words in the input that asks, and of a
label's words in any input. What the question names counts most."""
_RULE = 2.0
"""The default weight of a sentence of the instructions that names a value beside words of the inputs."""
_RULE_WORDS = 2
"""The fewest other content words of such a sentence."""
_SPREAD = 0.4
"""How far these weights may move, as a share of ``trust``."""
_EVEN = 0.3
"""The head start of every source, in nats of evidence."""


class Chooser:
    """Knows a set of values and what demonstrations chose from it.

    Args:
        values: The values' texts, without duplicates.
        chosen: Each demonstration's value as an index into ``values``; None where it has no answer.
        inputs: The demonstrations' inputs.
        similar: Each source's similarities among the demonstrations.
        names: The input fields.
        asked: The one of them that asks.
        instructions: What the program's instructions say.
        declared: Whether the request lists the values; else they are labels that demonstrations use.
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
        instructions: str,
        declared: bool,
        neighbours: int,
        trust: float,
    ) -> None:
        import numpy as np

        self._count = max(len(values), 1)
        self._names = tuple(names)
        self._neighbours = neighbours
        self._sources = tuple(similar)
        self._stems = [content(value) for value in values]
        self._rules = _rules(self._stems, instructions)
        self._known = [index is not None for index in chosen]
        self._ballots = np.zeros((len(chosen), len(values)))
        for row, index in enumerate(chosen):
            if index is not None:
                self._ballots[row, index] = 1.0
        self._mix = np.full(len(self._sources), 1 / len(self._sources))
        choices = []
        repeated = [row for row, index in enumerate(chosen) if index is not None and chosen.count(index) > 1]
        if repeated:
            self._mix = self._learn_mix(similar, repeated)
            voted = self._vote(similar, leave_out=True)
            choices = [
                Choice(self._features(inputs[row], voted[row]), self._ballots[row]) for row in repeated
            ]
        named = [_ASKED if name == asked else _NAMED for name in names] if declared else [_LABEL] * len(names)
        self._weights = learn_weights([_VOTE, _RULE, *named], choices, _SPREAD * trust)

    def choose(self, inputs: Mapping[str, str], similar: "Mapping[str, np.ndarray[Any, Any]]") -> int:
        """The index of the value with the highest score for one question; the first one where two are equal.

        Args:
            inputs: The question's inputs.
            similar: Each source's similarities of the question to the demonstrations, one row.
        """
        scores = self._features(inputs, self._vote(similar)[0]) @ self._weights
        return int(scores.round(9).argmax())

    def _learn_mix(
        self, similar: "Mapping[str, np.ndarray[Any, Any]]", rows: Sequence[int]
    ) -> "np.ndarray[Any, Any]":
        """How much each source counts: by how much better than frequency it tells demonstrations' answers."""
        import numpy as np

        def told(source: "np.ndarray[Any, Any]") -> float:
            return float((self._shares(source, leave_out=True)[rows] * self._ballots[rows]).sum())

        bare = told(np.zeros_like(similar[self._sources[0]]))
        gains = np.array([max(0.0, told(similar[source]) - bare) for source in self._sources]) + _EVEN
        return np.asarray(gains / gains.sum())

    def _vote(
        self, similar: "Mapping[str, np.ndarray[Any, Any]]", leave_out: bool = False
    ) -> "np.ndarray[Any, Any]":
        import numpy as np

        parts = np.stack([self._shares(similar[source], leave_out) for source in self._sources])
        return np.asarray(np.tensordot(self._mix, parts, axes=1))

    def _shares(self, source: "np.ndarray[Any, Any]", leave_out: bool) -> "np.ndarray[Any, Any]":
        voting = votes(source, self._known, self._neighbours, leave_out)
        return shares(voting, self._ballots, 1 / self._count)

    def _features(self, inputs: Mapping[str, str], vote: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        import numpy as np

        texts = {name: words(inputs.get(name, "")) for name in self._names}
        said = frozenset(word for text in texts.values() for word in text)
        ruled = [max((len(rule & said) / len(rule) for rule in rules), default=0.0) for rules in self._rules]
        return np.column_stack([vote, ruled, *(_named(self._stems, text) for text in texts.values())])


def _rules(values: Sequence[frozenset[str]], instructions: str) -> list[list[frozenset[str]]]:
    """For each value, the other content words of each sentence of the instructions that names it alone."""
    rules: list[list[frozenset[str]]] = [[] for _ in values]
    for sentence in sentences(instructions):
        stems = content(sentence)
        named = [index for index, value in enumerate(values) if value and value <= stems]
        if len(named) == 1 and len(rest := stems - values[named[0]]) >= _RULE_WORDS:
            rules[named[0]].append(rest)
    return rules


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
