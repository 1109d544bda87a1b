import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.operations import Add, Remove, Update
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.similarity import (
    FollowingIndex,
    HashedSimilarity,
    SentenceSimilarity,
    similarity_named,
)
from tiltyard.optimizers.playbook.wording import same_rule

SAME = [
    ("Write USD before amounts.", "Write USD before amounts."),
    ("Write USD before amounts.", "Put 'USD' before the amounts"),
    ("Write USD before amounts.", "You should always write USD before all amounts."),
    ("Write USD before amounts.", "Before amounts, write USD."),
    ("Write zorib instead of yes.", "Instead of yes, say zorib."),
    ("Round readings to whole numbers.", "please round the readings to whole numbers"),
    ("Call a level high from 51 on.", "From 51 on, call the level high."),
]
DIFFERENT = [
    ("Write USD before amounts.", "Write EUR before amounts."),
    ("Write USD before amounts.", "Write USD after amounts."),
    ("Write USD before amounts.", "Write USD before doses."),
    ("Write USD before amounts.", "Write usd before amounts."),
    ("Write USD before amounts.", "Never write USD before amounts."),
    ("Write yes for a rise.", "Write no for a rise."),
    ("Write yes instead of no.", "Write no instead of yes."),
    ("Instead of yes, write no.", "Instead of no, write yes."),
    ("Write zorib instead of yes.", "Write zorib instead of no."),
    ("Write zorib instead of yes.", "Write zoribs instead of yes."),
    ("Call a level high from 51 on.", "Call a level high from 57 on."),
    ("Write IT before sums.", "Write IS before sums."),
    ("Write 'the' before names.", "Write 'a' before names."),
    ("Write unit after doses.", "Write units after doses."),
    ("Call a level high from 51 on.", "Call a level low from 51 on."),
    ("Write dates as day.month.year.", "Write dates as day/month/year."),
    ("Write dates as day.month.year.", "Write dates as month.day.year."),
    ("Write option A.", "Write option B."),
    ("Answer with A.", "Answer with B."),
    ("Write the letter as (C).", "Write the letter as C."),
    ("Separate thousands by ,", "Separate thousands by ."),
    ("Write the type before the sum.", "Write the state before the sum."),
    ("Round doses to one decimal.", "Round doses to whole numbers."),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_rewordings_are_the_same(one, other):
    assert same_rule(one, other)
    assert same_rule(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_one_word_that_matters_makes_another_rule(one, other):
    assert not same_rule(one, other)
    assert not same_rule(other, one)


def test_rules_of_words_that_only_carry_a_sentence_are_compared_as_texts():
    assert same_rule("Please do it.", "Please do it.")
    assert not same_rule("Please do it.", "Do this always.")


def test_the_nearest_come_first():
    index = HashedSimilarity()
    index.add("k1", "Round doses to one decimal.")
    index.add("k2", "Write USD before amounts.")
    index.add("k3", "Write EUR before amounts.")
    found = index.nearest("Write USD before the amounts.", 2)
    assert [key for key, _ in found] == ["k2", "k3"]
    assert 0.9 < found[0][1] <= 1.0
    assert found[1][1] < found[0][1]
    assert index.nearest("anything", 0) == []
    assert HashedSimilarity().nearest("anything", 3) == []


def test_equals_come_by_number_wherever_they_stand():
    for turn in (1, 3, 7, 9, 11, 13, 17, 19):  # no common factor with 40
        index = HashedSimilarity()
        for number in range(40):
            index.add(f"k{1 + number * turn % 40}", "The same.")
        index.remove("k2")
        assert [key for key, _ in index.nearest("The same.", 3)] == ["k1", "k3", "k4"]
        assert [key for key, _ in index.nearest("Nothing alike", 2)] == ["k1", "k3"]


WORDS = st.lists(
    st.sampled_from(["write", "round", "usd", "eur", "dose", "amount", "level"]), min_size=1, max_size=5
)
CHANGES = st.lists(st.tuples(st.integers(1, 25), st.none() | WORDS.map(" ".join)), max_size=60)


@given(CHANGES, WORDS.map(" ".join), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_what_is_found_does_not_depend_on_how_the_index_came_about(changes, question, k):
    index, texts = HashedSimilarity(), {}
    for number, text in changes:
        key = f"k{number}"
        if text is not None:
            index.add(key, text)
            texts[key] = text
        elif key in texts:
            index.remove(key)
            del texts[key]
    fresh = HashedSimilarity()
    for key in sorted(texts):
        fresh.add(key, texts[key])
    assert len(index) == len(texts)
    assert index.nearest(question, k) == fresh.nearest(question, k)
    for key, text in texts.items():
        assert dict(index.nearest(text, len(texts)))[key] == pytest.approx(1.0, abs=1e-5)


def test_an_index_follows_its_playbook_and_changes_to_another():
    playbook, index = Playbook(), FollowingIndex(HashedSimilarity())
    for content in ("One rule.", "Two rules.", "Three rules."):
        playbook.apply(Add("x", content), step=0)
    index.follow(playbook)
    playbook.apply(Update("k1", "USD before amounts."), step=1)
    playbook.apply(Remove("k2"), step=1)
    playbook.apply(Add("x", "Four rules."), step=1)
    playbook.apply(Remove("k4"), step=1)
    index.follow(playbook)
    assert {key for key, _ in index.similarity.nearest("rules", 9)} == {"k1", "k3"}
    assert index.similarity.nearest("USD before amounts.", 1)[0] == ("k1", pytest.approx(1.0))
    other = Playbook()
    other.apply(Add("x", "Another first rule."), step=0)
    index.follow(other)
    assert index.similarity.nearest("Another first rule.", 9) == [("k1", pytest.approx(1.0))]


def test_sentence_embeddings_name_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"tiltyard\[embeddings\]"):
        similarity_named("some/model-that-nobody-loaded")


def test_sentence_embeddings_are_searched_alike(monkeypatch):
    class Lengths:
        """Embeds a text as the numbers of its vowels and of its other signs."""

        def __init__(self, name):
            if name == "no/such":
                raise OSError("not found")

        def encode(self, text, show_progress_bar):
            vowels = sum(letter in "aeiou" for letter in text)
            return np.array([vowels, len(text) - vowels], dtype=np.float32)

    module = types.SimpleNamespace(SentenceTransformer=Lengths)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    index = SentenceSimilarity("a/model-of-vowels")
    index.add("k1", "aaaa")
    index.add("k2", "rhythm")
    assert [key for key, _ in index.nearest("ooo", 2)] == ["k1", "k2"]
    with pytest.raises(InputError, match="no/such"):
        SentenceSimilarity("no/such")
