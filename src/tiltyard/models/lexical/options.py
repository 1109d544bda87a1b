"""Choose one of the options that a multiple-choice question offers with its inputs.

An option counts by the words that it shares with the question, and by its likeness to the options that were
right, and to those that were wrong, in the demonstrations with the nearest questions. Its letter never
counts: options are shuffled.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.passages import Option, read_passage
from tiltyard.models.lexical.ranking import Choice, learn_weights
from tiltyard.models.lexical.similarity import votes
from tiltyard.models.lexical.words import content, normal, rarity, terms, weight

if TYPE_CHECKING:
    import numpy as np

_DEFAULTS: Mapping[str, float] = {
    "shares": 1.0,
    "shared": 1.0,
    "like_right": 6.0,
    "like_wrong": -3.0,
    "ever_right": 2.0,
    "ever_wrong": -1.0,
    "length": 0.2,
}


def find_options(inputs: Mapping[str, str]) -> tuple[Option, ...]:
    """The options that some input offers; those of the last input that offers any."""
    for text in reversed(list(inputs.values())):
        if options := read_passage(text).options:
            return options
    return ()


def chosen_option(answer: str, options: Sequence[Option]) -> int | None:
    """Which option an answer names, by its letter, its text, or both; None when it names none."""
    plain = normal(answer)
    for index, option in enumerate(options):
        key, text = normal(option.key), normal(option.text)
        if plain in (key, text, f"{key} {text}", f"{key}. {text}", f"{key}) {text}", f"{key}: {text}"):
            return index
    return None


class OptionChooser:
    """Knows which options were right in the demonstrations.

    Args:
        options: Each demonstration's options.
        chosen: Which one was right; None where there is no answer.
        stems: The content words of each demonstration's other inputs.
        similar: The similarities among the demonstrations, by what they ask.
        neighbours: How many demonstrations count as near.
        trust: How far demonstrations may move the weights; see :func:`learn_weights`.
    """

    def __init__(
        self,
        options: Sequence[Sequence[Option]],
        chosen: Sequence[int | None],
        stems: Sequence[frozenset[str]],
        similar: "np.ndarray[Any, Any]",
        neighbours: int,
        trust: float,
    ) -> None:
        import numpy as np

        self._neighbours = neighbours
        self._known = [index is not None for index in chosen]
        texts = [
            (row, option.text, chosen[row] == index)
            for row, found in enumerate(options)
            for index, option in enumerate(found)
        ]
        texts = [entry for entry in texts if self._known[entry[0]] and terms(entry[1])]
        self._owner = np.array([row for row, _, _ in texts], dtype=int)
        self._is_right = np.array([right for _, _, right in texts], dtype=float)
        self._index: Any = None
        if texts:
            from sklearn.feature_extraction.text import TfidfVectorizer

            vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True)
            self._index = (vectorizer, vectorizer.fit_transform([text for _, text, _ in texts]))
        choices = []
        if sum(self._known) > 1:
            near = votes(similar, self._known, neighbours, leave_out=True)
            far = votes(np.zeros_like(similar), self._known, len(chosen), leave_out=True)
            for row, index in enumerate(chosen):
                if index is not None and len(options[row]) > 1:
                    right = np.zeros(len(options[row]))
                    right[index] = 1.0
                    choices.append(
                        Choice(self._features(options[row], stems[row], near[row], far[row]), right)
                    )
        self.weights = learn_weights(list(_DEFAULTS.values()), choices, trust)

    def choose(
        self, options: Sequence[Option], stems: frozenset[str], similar: "np.ndarray[Any, Any]"
    ) -> int:
        """The best option's index; the first one where two are as good.

        Args:
            options: At least one.
            stems: The content words of the question's other inputs.
            similar: The question's similarities to the demonstrations, one row.
        """
        import numpy as np

        near = votes(similar, self._known, self._neighbours, leave_out=False)[0]
        far = votes(np.zeros_like(similar), self._known, max(similar.shape[1], 1), leave_out=False)[0]
        return int(np.argmax((self._features(options, stems, near, far) @ self.weights).round(9)))

    def _features(
        self,
        options: Sequence[Option],
        stems: frozenset[str],
        near: "np.ndarray[Any, Any]",
        far: "np.ndarray[Any, Any]",
    ) -> "np.ndarray[Any, Any]":
        import numpy as np

        found = [content(option.text) for option in options]
        rare = rarity(found)
        rows = np.zeros((len(options), len(_DEFAULTS)))
        lengths = [math.log1p(len(option.text)) for option in options]
        for index, words in enumerate(found):
            shared = weight(words & stems, rare)
            rows[index, 0] = shared / math.sqrt((weight(words, rare) or 1.0) * (len(stems) or 1))
            rows[index, 1] = shared / (weight(words, rare) or 1.0)
            rows[index, 6] = lengths[index] - sum(lengths) / len(lengths)
        if self._index is not None:
            vectorizer, vectors = self._index
            likeness = (vectorizer.transform([option.text for option in options]) @ vectors.T).toarray()
            for column, voters in ((2, near), (4, far)):
                vote = voters[self._owner]
                rows[:, column] = likeness @ (vote * self._is_right)
                rows[:, column + 1] = likeness @ (vote * (1 - self._is_right))
        return rows
