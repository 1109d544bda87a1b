from itertools import combinations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tiltyard.errors import InputError
from tiltyard.tasks.splits import (
    FRACTIONS,
    NAMES,
    DeclaredSplit,
    Entry,
    Fractions,
    content_key,
    hold_back,
    split_entries,
)


def entry(identifier, content=None, group=None, split=None):
    content = content or f"content of {identifier}"
    example = dspy.Example(id=str(identifier), question=content).with_inputs("question")
    return Entry(example, f"f.json, record {identifier}", content_key(content), group or content, split)


def ids(examples):
    return [example.id for example in examples]


def divide(entries, *, fractions=FRACTIONS, seed=0, limit=None):
    splits = split_entries(entries, fractions=fractions, seed=seed, limit=limit, source="f.json")
    return {name: ids(getattr(splits, name)) for name in NAMES}


FILES = st.lists(st.integers(0, 8), min_size=1, max_size=40).map(
    lambda groups: [entry(number, group=f"g{group}") for number, group in enumerate(groups)]
)


@given(FILES, st.integers(0, 3))
def test_fractions_divide_every_record_once_and_keep_groups_together(entries, seed):
    divided = divide(entries, seed=seed)
    assert sorted(identifier for name in NAMES for identifier in divided[name]) == sorted(
        ids(e.example for e in entries)
    )
    assert divided["test"]
    groups = {name: {e.group for e in entries if e.example.id in divided[name]} for name in NAMES}
    assert not any(groups[one] & groups[other] for one, other in combinations(NAMES, 2))


@given(FILES, st.integers(0, 3), st.integers(1, 10), st.integers(1, 10))
def test_a_smaller_limit_takes_a_prefix(entries, seed, one, other):
    small, large = sorted([one, other])
    few, more, everything = (divide(entries, seed=seed, limit=limit) for limit in (small, large, None))
    for name in NAMES:
        assert few[name] == more[name][:small]
        assert more[name] == everything[name][:large]


def test_a_seed_gives_the_same_splits_in_every_process():
    # Fixed values: a change here changes what every published score was measured on.
    assert divide([entry(number) for number in range(10)]) == {
        "train": ["5", "0", "1", "6"],
        "validation": ["3", "4"],
        "test": ["8", "9", "7", "2"],
    }


@pytest.mark.parametrize("declared", [False, True])
def test_the_seed_takes_effect(declared):
    entries = [entry(number, split=NAMES[number % 3] if declared else None) for number in range(30)]
    zero, one = divide(entries, seed=0), divide(entries, seed=1)
    assert zero != one
    for name in NAMES:
        assert (sorted(zero[name]) == sorted(one[name])) is declared
        assert zero[name] != one[name]
        assert zero[name] != sorted(zero[name], key=int)
    assert divide(entries[::-1], seed=0) == zero


def test_fractions_are_kept():
    divided = divide([entry(number) for number in range(100)])
    assert {name: len(divided[name]) for name in NAMES} == {"train": 40, "validation": 20, "test": 40}


@pytest.mark.parametrize(("count", "sizes"), [(1, (0, 0, 1)), (2, (1, 0, 1)), (3, (1, 1, 1)), (5, (2, 1, 2))])
def test_a_file_too_small_for_three_splits_fills_test_first(count, sizes):
    divided = divide([entry(number) for number in range(count)])
    assert tuple(len(divided[name]) for name in NAMES) == sizes


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_fraction_of_zero_keeps_a_split_empty(count):
    fractions = {"train": 0.0, "validation": 0.0, "test": 1.0}
    divided = divide([entry(number) for number in range(count)], fractions=fractions)
    assert (divided["train"], divided["validation"], len(divided["test"])) == ([], [], count)


def test_a_record_that_two_splits_hold_is_refused():
    entries = [entry(1, "The  Question", split="train"), entry(2, "the question", split="test")]
    with pytest.raises(InputError, match=r"f.json, record 2: .* in test, and f.json, record 1 .* in train"):
        divide(entries)
    assert divide([entry(1, "x", split="test"), entry(2, "x", split="test")])["test"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(1), entry(1)], "f.json, record 1: the id '1' is taken by f.json, record 1"),
        ([entry(1, split="test"), entry(2)], "f.json, record 2: field 'split' is missing"),
        ([entry(1, split="train")], "f.json: no record declares split 'test'"),
    ],
)
def test_unusable_splits_are_refused(entries, message):
    with pytest.raises(InputError) as error:
        divide(entries)
    assert error.value.what == message


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "validation": 0.2, "test": 0.4}, "should add up to 1, not 1.1"),
        ({"train": 0.5, "test": 0.5}, "has no validation"),
        ({"train": 0.5, "validation": 0.5, "test": 0}, "the test split should not be empty"),
        ({"train": -0.5, "validation": 0.5, "test": 1}, "greater than or equal to 0"),
        ({"train": 0, "validation": 0, "test": 1, "dev": 0}, "should be 'train', 'validation' or 'test'"),
    ],
)
def test_wrong_fractions_are_refused(fractions, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Fractions).validate_python(fractions)


def test_common_names_of_the_validation_split_are_understood():
    read = TypeAdapter(DeclaredSplit).validate_python
    assert [read(name) for name in ("dev", "val", "Valid", "test", " Train ")] == [
        *["validation"] * 3,
        "test",
        "train",
    ]
    with pytest.raises(ValidationError):
        read("holdout")


@given(st.lists(st.integers(0, 8), max_size=40), st.sampled_from([0.1, 1 / 3, 0.5]), st.integers(0, 3))
def test_what_is_held_back_of_train_shares_no_context_with_the_rest(contexts, share, seed):
    train = [dspy.Example(id=str(n), context=f"table {c}" if c else "") for n, c in enumerate(contexts)]
    learnt, chosen = hold_back(train, share=share, seed=seed)
    assert sorted(ids(learnt) + ids(chosen)) == sorted(ids(train))
    assert bool(learnt) == bool(train)
    assert not {e.context for e in learnt if e.context} & {e.context for e in chosen if e.context}
    groups = {example.context or example.id for example in train}
    assert bool(chosen) == (len(groups) > 1)
    assert (learnt, chosen) == hold_back(train, share=share, seed=seed)
