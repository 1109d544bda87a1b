"""Indexes that find the rules nearest to a text, and follow a playbook at the cost of its changes.

>>> index = HashedSimilarity()
>>> index.add("k1", "Write USD before amounts.")
>>> index.nearest("Write EUR before amounts.", 1)
[('k1', 0.70...)]
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiltyard.optimizers.playbook.following import Follower
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.sentence_models import sentence_model

HASHED = "hashed"
"""The index that needs no model."""

_FEATURES = 1024
"""Of words, and as many of pieces of words. A rule has about 10 of the ones and 50 of the others."""
_WORD_WEIGHT = 2.0
"""What a word counts, where a piece of a word counts 1. Whole numbers: their sums are exact."""
_DIGITS = 6
"""Similarities of sentences are rounded to so many digits: sums of fractions depend on the order of rows."""


class Similarity(Protocol):
    """Texts by key, to be found again by their likeness to another text."""

    def add(self, key: str, text: str) -> None:
        """Put a text in, in place of the one that the key has."""

    def remove(self, key: str) -> None:
        """Take a text out.

        Raises:
            KeyError: There is none with this key.
        """

    def nearest(self, text: str, k: int) -> list[tuple[str, float]]:
        """The keys of the ``k`` texts nearest to a text with their cosines, best first.

        Of equals, the shorter key comes first, then the one earlier in the alphabet: ``k9`` before ``k10``.
        """

    def __len__(self) -> int:
        """How many texts are in."""


_Vector: TypeAlias = tuple[NDArray[np.intp], NDArray[np.float32]]
"""The features that a text has, each once, and their values."""


class _Columns:
    """Vectors side by side in one array: a text asks for the rows of its own features only."""

    def __init__(self, size: int) -> None:
        self._values: NDArray[np.float32] = np.zeros((size, 16), dtype=np.float32)
        self._norms: NDArray[np.float32] = np.zeros(16, dtype=np.float32)
        self._keys: list[str] = []
        self._place: dict[str, int] = {}
        self._vectors: dict[str, _Vector] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, key: str, vector: _Vector) -> None:
        if key in self._place:
            self._clear(key)
        else:
            self._place[key] = len(self._keys)
            self._keys.append(key)
            self._grow()
        self._fill(key, vector)

    def drop(self, key: str) -> None:
        self._clear(key)
        place = self._place.pop(key)
        del self._vectors[key]
        moved = self._keys.pop()
        if moved != key:
            # The last one moves into the gap.
            vector = self._vectors[moved]
            self._clear(moved)
            self._keys[place], self._place[moved] = moved, place
            self._fill(moved, vector)

    def _fill(self, key: str, vector: _Vector) -> None:
        features, values = vector
        self._vectors[key] = vector
        self._values[features, self._place[key]] = values
        self._norms[self._place[key]] = _norm(values)

    def _clear(self, key: str) -> None:
        features, _ = self._vectors[key]
        self._values[features, self._place[key]] = 0

    def nearest(self, vector: _Vector, k: int) -> list[tuple[str, float]]:
        features, values = vector
        count = len(self._keys)
        if k < 1 or not count:
            return []
        norms = self._norms[:count] * _norm(values)
        products = values @ self._values[features, :count]
        cosines = np.round(np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0), _DIGITS)
        if k < count:
            # All that are as near as the last one that is wanted: which it is must not hang on places.
            bound = np.partition(cosines, count - k)[count - k]
            places = np.flatnonzero(cosines >= bound)
        else:
            places = np.arange(count)
        found = [(self._keys[place], float(cosines[place])) for place in places]
        return sorted(found, key=lambda pair: (-pair[1], len(pair[0]), pair[0]))[:k]

    def _grow(self) -> None:
        room = self._norms.size
        if len(self._keys) > room:
            self._values = np.pad(self._values, ((0, 0), (0, room)))
            self._norms = np.pad(self._norms, (0, room))


class HashedSimilarity:
    """Cosine of counted words, pairs of words and pieces of words, each hashed to a number; no model."""

    def __init__(self) -> None:
        self._columns = _Columns(2 * _FEATURES)

    def __len__(self) -> int:
        return len(self._columns)

    def add(self, key: str, text: str) -> None:
        """Put a text in, in place of the one that the key has."""
        self._columns.put(key, _hashed(text))

    def remove(self, key: str) -> None:
        """Take a text out."""
        self._columns.drop(key)

    def nearest(self, text: str, k: int) -> list[tuple[str, float]]:
        """The nearest texts, best first."""
        return self._columns.nearest(_hashed(text), k)


class SentenceSimilarity:
    """Cosine of sentence embeddings. Needs the extra ``embeddings``.

    Args:
        model: A sentence-transformers model, by its name on the Hub or its folder.

    Raises:
        InputError: The extra is not installed, or there is no such model.
    """

    def __init__(self, model: str = "sentence-transformers/all-MiniLM-L6-v2") -> None:
        self._model = sentence_model(model, option="similarity")
        _, values = self._embedded("Any text has as many values.")
        self._columns = _Columns(values.size)

    def __len__(self) -> int:
        return len(self._columns)

    def add(self, key: str, text: str) -> None:
        """Put a text in, in place of the one that the key has."""
        self._columns.put(key, self._embedded(text))

    def remove(self, key: str) -> None:
        """Take a text out."""
        self._columns.drop(key)

    def nearest(self, text: str, k: int) -> list[tuple[str, float]]:
        """The nearest texts, best first."""
        return self._columns.nearest(self._embedded(text), k)

    def _embedded(self, text: str) -> _Vector:
        values = np.asarray(self._model.encode(text, show_progress_bar=False), dtype=np.float32)
        return np.arange(values.size), values


def similarity_named(name: str) -> Similarity:
    """An empty index: ``hashed``, or one of the sentence-transformers model of this name.

    Raises:
        InputError: The model is not to be had, or the extra that it needs.
    """
    return HashedSimilarity() if name == HASHED else SentenceSimilarity(name)


class FollowingIndex:
    """An index that holds the rules of a playbook, as they are now.

    Args:
        similarity: An empty index.
    """

    def __init__(self, similarity: Similarity) -> None:
        self.similarity = similarity
        self._contents: dict[str, str] = {}
        self._follower = Follower()

    def follow(self, playbook: Playbook) -> None:
        """Take over what changed in the playbook since the last time; everything where it is another one."""
        for id, entry in self._follower.changes(playbook):
            if entry is None:
                del self._contents[id]
                self.similarity.remove(id)
            elif self._contents.get(id) != entry.content:
                self._contents[id] = entry.content
                self.similarity.add(id, entry.content)


def _norm(values: NDArray[np.float32]) -> float:
    return math.sqrt(float(values @ values))


@lru_cache(maxsize=8_192)
def _hashed(text: str) -> _Vector:
    words, pieces = (vectorizer.transform([text]) for vectorizer in _vectorizers())
    features = np.concatenate([words.indices, pieces.indices + _FEATURES]).astype(np.intp)
    values = np.concatenate([_WORD_WEIGHT * words.data, pieces.data]).astype(np.float32)
    return features, values


@cache
def _vectorizers() -> Sequence[Any]:
    # Imported here: scikit-learn takes a second to import.
    from sklearn.feature_extraction.text import HashingVectorizer

    shared = {"n_features": _FEATURES, "norm": None, "dtype": np.float32}
    return (
        HashingVectorizer(ngram_range=(1, 2), stop_words="english", token_pattern=r"[^\W_]+", **shared),
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **shared),
    )
