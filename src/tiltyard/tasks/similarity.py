"""How near an answer comes to the expected one in meaning: the cosine of two texts.

>>> similar = similarity_named("hashed")
>>> similar("The pump is blocked.", "A blocked pump")
0.61
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from tiltyard.sentence_models import sentence_model
from tiltyard.tasks.metrics import normalise

Similarity = Callable[[str, str], float]
"""Maps two texts to their likeness in [0, 1]."""

HASHED = "hashed"
"""The measure that needs no model: it compares words and pieces of words, not meanings."""

_FEATURES = 2**18


def similarity_named(name: str) -> Similarity:
    """A measure by its name: ``hashed``, or a sentence-transformers model from the Hub or a folder.

    Texts that are the same when normalised have likeness 1, and a blank text has 0 with any other one. A
    negative cosine is 0.

    Raises:
        InputError: The extra ``embeddings`` is not installed, or there is no such model.
    """
    cosine = _hashed_cosine if name == HASHED else _sentence_cosine(name)

    def similar(one: str, other: str) -> float:
        plain = normalise(one), normalise(other)
        if plain[0] == plain[1]:
            return 1.0
        if not all(plain):
            return 0.0
        return min(1.0, max(0.0, cosine(one, other)))

    return similar


def _hashed_cosine(one: str, other: str) -> float:
    words, pieces = _vectorizers()
    texts = [normalise(one), normalise(other)]
    # The mean of both cosines: words alone know no endings, pieces alone find likeness in any two texts.
    pairs = [kind.transform(texts) for kind in (words, pieces)]
    return float(sum(pair[0].multiply(pair[1]).sum() for pair in pairs)) / len(pairs)


@cache
def _vectorizers() -> Sequence[Any]:
    # Imported here: scikit-learn takes a second to import.
    from sklearn.feature_extraction.text import HashingVectorizer

    shared = {"n_features": _FEATURES, "norm": "l2", "alternate_sign": False}
    return (
        HashingVectorizer(token_pattern=r"[^\W_]+", **shared),
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **shared),
    )


def _sentence_cosine(name: str) -> Similarity:
    model = sentence_model(name, option="task.similarity")
    one_at_a_time = threading.Lock()  # examples are scored in several threads

    @lru_cache(maxsize=4_096)
    def embedded(text: str) -> Any:
        import numpy as np

        with one_at_a_time:
            values = np.asarray(model.encode(text, show_progress_bar=False), dtype=float)
        return values / (np.linalg.norm(values) or 1.0)

    def cosine(one: str, other: str) -> float:
        return float(embedded(one) @ embedded(other))

    return cosine
