import json
from pathlib import Path
from typing import Annotated

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, TypeAdapter, ValidationError

from tiltyard.errors import InputError
from tiltyard.tasks.data_file import file_digest
from tiltyard.tasks.split_files import divide, existing_files, files_digest, files_of_splits, read_splits
from tiltyard.tasks.splits import FRACTIONS, Entry


@pytest.fixture
def write(in_folder):
    def write_files(*names):
        for number, name in enumerate(names):
            path = in_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"number": number}) + "\n")

    return write_files


def found(path, name="sums"):
    return {split: Path(file).name for split, file in files_of_splits(path, name).items()}


def test_a_folder_has_a_file_for_each_split(write):
    write("d/sums_train_subset_500.jsonl", "d/sums_val_x.jsonl", "d/sums_test.jsonl", "d/other_test.jsonl")
    write("d/sums_testing.jsonl", "d/sums_test.txt", "d/README.md", "d/train.jsonl")
    assert found("d") == {
        "train": "sums_train_subset_500.jsonl",
        "validation": "sums_val_x.jsonl",
        "test": "sums_test.jsonl",
    }


def test_files_without_the_name_of_the_data_set_are_taken_where_none_has_it(write):
    write("d/train.jsonl", "d/Dev.jsonl", "d/test.csv", "d/other_train.jsonl")
    assert found("d") == {"train": "train.jsonl", "validation": "Dev.jsonl", "test": "test.csv"}
    write("d/sums-test.json")
    assert found("d") == {"test": "sums-test.json"}


def test_one_file_is_taken_whatever_its_name(write):
    write("d/anything.jsonl")
    assert found("d/anything.jsonl") == {None: "anything.jsonl"}
    assert files_of_splits("pkg://tiltyard.tasks.data/iot_tiny.jsonl", "sums") == {
        None: "pkg://tiltyard.tasks.data/iot_tiny.jsonl"
    }


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ([], "d", "there is no such file"),
        (["d/a.txt"], "d/a.txt", "the extension should be one of"),
        (["d/sums_train.jsonl"], "d", r"the folder has no file 'sums_test\*'"),
        (["d/sums_test.jsonl", "d/sums_test_2.jsonl"], "d",
         "the folder has several files for test: 'sums_test.jsonl' and 'sums_test_2.jsonl'"),
        (["d/sums_test.jsonl", "d/sums_val.jsonl", "d/sums_dev.jsonl"], "d", "several files for validation"),
        ([], "~no_such_user/d", "there is no such home folder"),
        ([], "pkg://no_such_package/d", "there is no package"),
        ([], "x" * 300, "cannot be read|there is no such file"),
    ],
)  # fmt: skip
def test_a_path_without_a_data_set_is_refused(write, files, path, message):
    write(*files)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Annotated[str, AfterValidator(existing_files("sums"))]).validate_python(path)
    with pytest.raises(InputError, match=message):
        read_splits(path, "sums")
    with pytest.raises(InputError, match=message):
        files_digest("sums")(path)


def test_records_know_the_split_of_their_file(write):
    write("d/sums_train.jsonl", "d/sums_val.jsonl", "d/sums_test.jsonl")
    read = [(split, record.values["number"]) for split, record in read_splits("d", "sums")]
    assert read == [("train", 0), ("validation", 1), ("test", 2)]
    assert [split for split, _ in read_splits("d/sums_val.jsonl", "sums")] == [None]


def test_a_data_set_is_known_by_its_content(write, in_folder):
    digest = files_digest("sums")
    write("a/sums_train.jsonl", "a/sums_test.jsonl")
    write("b/sums_train_500.jsonl", "b/sums_test.jsonl", "b/unrelated.jsonl")
    assert digest("a") == digest("b")
    (in_folder / "b/sums_test.jsonl").write_text("{}")
    assert digest("a") != digest("b")
    assert digest("a/sums_test.jsonl") == file_digest("a/sums_test.jsonl")


def entry(number, split, group=None):
    return Entry(
        example=dspy.Example(id=f"{split}-{number}"),
        place=f"record {number}",
        content=f"{split} {number}",
        group=group or f"{split} {number}",
        split=split,
    )


def sizes(splits):
    return len(splits.train), len(splits.validation), len(splits.test)


def divided(entries, seed=0, limit=None, fractions=FRACTIONS):
    return divide(entries, fractions=fractions, seed=seed, limit=limit, source="d")


def test_a_missing_validation_split_is_taken_from_train():
    entries = [entry(n, "train") for n in range(60)] + [entry(n, "test") for n in range(10)]
    first, again, other = divided(entries), divided(entries), divided(entries, seed=1)
    assert sizes(first) == sizes(other) == (40, 20, 10)
    assert first == again
    assert {e.id for e in first.validation} != {e.id for e in other.validation}
    assert all(e.id.startswith("train") for e in first.train + first.validation)
    assert all(e.id.startswith("test") for e in first.test)
    assert [e.id for e in divided(entries, limit=5).train] == [e.id for e in first.train[:5]]


def test_validation_stays_empty_where_its_fraction_is_0():
    entries = [entry(n, "train") for n in range(6)] + [entry(n, "test") for n in range(2)]
    fractions = {"train": 0.5, "validation": 0.0, "test": 0.5}
    assert sizes(divided(entries, fractions=fractions)) == (6, 0, 2)


def test_declared_and_undeclared_splits_are_left_to_the_usual_division():
    declared = [entry(n, "train") for n in range(6)] + [entry(0, "validation"), entry(0, "test")]
    assert sizes(divided(declared)) == (6, 1, 1)
    assert sizes(divided([entry(n, None) for n in range(10)])) == (4, 2, 4)
    assert sizes(divided([entry(n, "test") for n in range(3)])) == (0, 0, 3)
    with pytest.raises(InputError, match="field 'split' is missing"):
        divided([entry(0, "train"), entry(1, None), entry(2, "test")])


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 99))
def test_what_is_taken_from_train_leaves_groups_whole(groups, seed):
    train = [entry(n, "train", group=f"g{group}") for n, group in enumerate(groups)]
    splits = divided([*train, entry(0, "test")], seed=seed)
    group_of = {one.example.id: one.group for one in train}
    sides = [{group_of[e.id] for e in part} for part in (splits.train, splits.validation)]
    assert not sides[0] & sides[1]
    assert sorted(e.id for e in splits.train + splits.validation) == sorted(group_of)
    assert splits.train
    assert bool(splits.validation) == (len(set(groups)) > 1)
