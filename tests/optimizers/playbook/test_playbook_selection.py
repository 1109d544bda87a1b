import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.citations import cited_ids
from tiltyard.optimizers.playbook.operations import Add, Remove, Update
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.selection import Selector

RULES = [
    "Round doses to one decimal.",
    "Write USD before amounts.",
    "Write dates as day.month.year.",
    "Call a level high from 51 on.",
    "Write the letter of an option in brackets.",
]


@pytest.fixture
def playbook():
    playbook = Playbook()
    for rule in RULES:
        playbook.apply(Add("x", rule), step=0)
    return playbook


def ids(entries):
    return [entry.id for entry in entries]


def test_all_shows_all(playbook):
    assert ids(Selector("all").select(playbook, "What is the dose?")) == ["k1", "k2", "k3", "k4", "k5"]


@pytest.mark.parametrize(
    ("question", "id"),
    [
        ("What dose of nikol does she take?", "k1"),
        ("Which amount was paid?", "k2"),
        ("On which date did it happen?", "k3"),
        ("Give the level of the drill.", "k4"),
        ("Which option is right?", "k5"),
    ],
)
def test_the_relevant_entry_is_found(playbook, question, id):
    assert ids(Selector("relevant", k=1).select(playbook, question)) == [id]


def test_chosen_entries_stand_by_their_numbers(playbook):
    chosen = ids(Selector("relevant", k=2).select(playbook, "level, then dose"))
    assert chosen == ["k1", "k4"]


@given(st.text("aeglov dmnt", max_size=30), st.integers(1, 7), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_limits_hold_for_every_question(question, k, tokens):
    playbook = Playbook()
    for rule in RULES:
        playbook.apply(Add("x", rule), step=0)
    chosen = Selector("relevant", k=k, tokens=tokens).select(playbook, question)
    assert len(chosen) <= k
    assert sum(entry.tokens for entry in chosen) <= tokens
    assert ids(chosen) == sorted(ids(chosen))
    left_out = [entry for entry in playbook.entries if entry not in chosen]
    if len(chosen) < min(k, len(playbook)) and tokens >= 60:
        room = tokens - sum(entry.tokens for entry in chosen)
        assert all(entry.tokens > room for entry in left_out)


def test_an_entry_that_does_not_fit_makes_room_for_one_that_does(playbook):
    playbook.apply(Update("k1", "Round doses to one decimal, " + "and so on, " * 20), step=1)
    room = playbook["k2"].tokens
    assert ids(Selector("relevant", tokens=room).select(playbook, "What dose is the amount?")) == ["k2"]


def test_a_selector_sees_every_change_and_other_playbooks(playbook):
    selector = Selector("relevant", k=1)
    assert ids(selector.select(playbook, "the dose")) == ["k1"]
    playbook.apply(Update("k2", "Write mg after a dose, the dose first."), step=1)
    assert ids(selector.select(playbook, "the dose first after mg")) == ["k2"]
    playbook.apply(Remove("k2"), step=1)
    assert ids(selector.select(playbook, "the dose")) == ["k1"]
    other = Playbook()
    other.apply(Add("x", "Another."), step=0)
    assert ids(selector.select(other, "the dose")) == ["k1"]
    assert selector.select(Playbook(), "the dose") == []


def test_a_copied_selector_works(playbook):
    selector = Selector("relevant", k=1)
    selector.select(playbook, "the dose")
    assert ids(copy.deepcopy(selector).select(playbook, "Which amount?")) == ["k2"]


def test_threads_choose_as_one_does(playbook):
    selector = Selector("relevant", k=2)
    questions = [rule.lower() for rule in RULES] * 20
    alone = [ids(Selector("relevant", k=2).select(playbook, question)) for question in questions[:5]] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda question: ids(selector.select(playbook, question)), questions)) == alone


@pytest.mark.parametrize(
    ("how", "limits"),
    [("relevant", {}), ("all", {"k": 3}), ("all", {"tokens": 9}), ("relevant", {"k": 0}), ("some", {})],
)
def test_limits_that_do_not_go_with_the_selection_are_refused(how, limits):
    with pytest.raises(InputError):
        Selector(how, **limits)


def test_texts_and_lists_of_texts_are_searched():
    prediction = {"reasoning": "By [k2] and (K04); not pack1.", "answer": "USD 5", "used": ["k1"]}
    assert cited_ids(prediction.values()) == {"k1", "k2", "k4"}


def test_ids_are_read_in_every_dress():
    assert cited_ids(["[k1], K2. (k3) 'k4' k05:", 7, None]) == {"k1", "k2", "k3", "k4", "k5"}
    assert cited_ids(["pk1 k1x k-2 k0 5k 3k1 mk1.5"]) == set()
