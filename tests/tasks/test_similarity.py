import sys
import types

import pytest

from tiltyard.errors import InputError
from tiltyard.sentence_models import sentence_model
from tiltyard.tasks.similarity import similarity_named


def test_equal_texts_are_alike_and_texts_without_a_common_word_are_not():
    similar = similarity_named("hashed")
    assert similar("The pump is blocked.", "the pump is BLOCKED") == 1.0
    assert similar("", "pump") == similar("pump", "") == 0.0
    assert similar("xyz", "pump") == 0.0
    nearer, farther = (
        similar("blocked pump", "the pump was blocked"),
        similar("open valve", "the pump was blocked"),
    )
    assert 0.0 <= farther < 0.2 < 0.5 < nearer < 1.0
    assert similar("a b", "b c") == similar("b c", "a b")


class Sentences:
    """Stands in for sentence-transformers: a vector of two counts."""

    def __init__(self, name):
        if name == "missing/model":
            raise OSError("no such model")

    def encode(self, text, show_progress_bar):
        return [text.count("wet"), text.count("damp") + text.count("wet")]


@pytest.fixture
def sentences(monkeypatch):
    package = types.SimpleNamespace(SentenceTransformer=Sentences)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    sentence_model.cache_clear()
    yield
    sentence_model.cache_clear()


@pytest.mark.usefixtures("sentences")
def test_a_sentence_model_compares_meanings():
    similar = similarity_named("some/model")
    assert similar("it is wet", "it is damp") == pytest.approx(0.5**0.5)
    assert similar("it is damp", "how damp") == pytest.approx(1.0)
    assert similar("dry", "damp") == 0.0
    with pytest.raises(InputError, match="there is no sentence-transformers model 'missing/model'"):
        similarity_named("missing/model")


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    sentence_model.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'tiltyard\[embeddings\]'"):
        similarity_named("some/model")
