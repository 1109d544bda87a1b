"""Finds the files of a data set that is published as one file for each split.

>>> files_of_splits("data", "formula")
{'train': 'data/formula_train_subset_500.jsonl', 'validation': 'data/formula_val_subset_300.jsonl',
'test': 'data/formula_test.jsonl'}

A path names either one file, which is then divided like any other, or a folder. In a folder, a file's name
says whose it is: the data set's name, then ``train``, ``val``, ``valid``, ``validation``, ``dev`` or
``test``, then anything (``formula_train_subset_500.jsonl``, ``gsm8k-test.jsonl``). Where no file bears the
data set's name, files that begin with the split's (``train.jsonl``) are taken. Of two files for one split,
one whose name says ``gold`` has the answers, and counts. Other files are left alone. A path may also be a
data set of the Hub, see :mod:`tiltyard.tasks.hub`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tiltyard.digests import digest
from tiltyard.errors import InputError
from tiltyard.tasks.data_file import PACKAGED, existing, file_digest
from tiltyard.tasks.hub import EXTENSIONS, fetch, hub_digest, is_on_hub, on_hub, parse_hub
from tiltyard.tasks.records import Record, read_records
from tiltyard.tasks.splits import NAMES, Entry, Fractions, SplitName, split_entries
from tiltyard.tasks.task import Splits

_REMEDY = "name a folder with a file for each split, or one file, which is then divided"
_WORDS: dict[str, SplitName] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def files_of_splits(path: str, *names: str) -> dict[SplitName | None, str]:
    """Find the files behind a path, by split; a single file is under None.

    Args:
        path: A file of records, or a folder.
        names: The data set's names, with which its files begin; the first that any file bears counts.

    Raises:
        ValueError: There is no such file or folder, or the folder has no test file or several for a split.
    """
    try:
        folder = Path(path).expanduser()
        if path.startswith(PACKAGED) or not folder.is_dir():
            return {None: existing(path)}
        there = [
            file for file in sorted(folder.iterdir()) if file.suffix.lower() in EXTENSIONS and file.is_file()
        ]
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    except RuntimeError as error:
        raise ValueError("there is no such home folder") from error
    found: dict[SplitName, list[Path]] = {}
    for prefix in (*(f"{re.escape(name)}[_-]" for name in names), ""):
        pattern = re.compile(rf"{prefix}({'|'.join(_WORDS)})(?![a-z])", re.IGNORECASE)
        for file in there:
            if named := pattern.match(file.name):
                found.setdefault(_WORDS[named[1].lower()], []).append(file)
        if found:
            break
    for split, files in found.items():
        golden = [file for file in files if "gold" in file.stem.lower()]
        if len(golden) == 1:
            found[split] = files = golden
        if len(files) > 1:
            several = " and ".join(f"'{file.name}'" for file in files)
            raise ValueError(f"the folder has several files for {split}: {several}")
    if "test" not in found:
        raise ValueError(f"the folder has no file '{names[0]}_test*'; one file by itself would be divided")
    return {split: str(found[split][0]) for split in NAMES if split in found}


def existing_files(*names: str) -> Callable[[str], str]:
    """A check that returns a path if :func:`files_of_splits` finds the data set there, for pydantic.

    The Hub is not asked.
    """

    def check(path: str) -> str:
        if is_on_hub(path):
            parse_hub(path)
        else:
            files_of_splits(path, *names)
        return path

    return check


def files_digest(*names: str, hub: str = "") -> Callable[[str], str]:
    """A digest of what a path's files hold, whatever they are called, for the run's fingerprint.

    The digest of a single file is that of :func:`tiltyard.tasks.data_file.file_digest`.

    Args:
        names: The data set's names.
        hub: Where its files are in a data set of the Hub.
    """

    def digest_of(path: str) -> str:
        if is_on_hub(path):
            return hub_digest(on_hub(path, hub))
        try:
            files = files_of_splits(path, *names)
        except ValueError as error:
            raise InputError(f"{path}: {error}", _REMEDY) from error
        if None in files:
            return file_digest(files[None])
        return digest({str(split): file_digest(file) for split, file in files.items()})

    return digest_of


def read_splits(path: str, *names: str, hub: str = "") -> list[tuple[SplitName | None, Record]]:
    """Read the records of every file behind a path, each with the split that its file stands for.

    Args:
        path: A file, a folder, or a data set of the Hub.
        names: The data set's names.
        hub: Where its files are in a data set of the Hub, where the path does not say.

    Raises:
        InputError: The files are not there, cannot be read, or are malformed.
    """
    if is_on_hub(path):
        path = fetch(on_hub(path, hub))
    try:
        files = files_of_splits(path, *names)
    except ValueError as error:
        raise InputError(f"{path}: {error}", _REMEDY) from error
    return [(split, record) for split, file in files.items() for record in read_records(file)]


def divide(
    entries: Sequence[Entry], *, fractions: Fractions, seed: int, limit: int | None, source: str
) -> Splits:
    """Divide entries like :func:`tiltyard.tasks.splits.split_entries`; fill an undeclared validation split.

    Where train and test are declared and validation is not, a part of train becomes validation: as much as
    validation's fraction is of train's and validation's together. The seed decides which part; entries of
    one group stay together.

    Raises:
        InputError: As ``split_entries`` does.
    """
    train = [entry for entry in entries if entry.split == "train"]
    share = fractions["validation"] / ((fractions["train"] + fractions["validation"]) or 1)
    if train and share and not any(entry.split in ("validation", None) for entry in entries):
        held_back = split_entries(
            [replace(entry, split=None) for entry in train],
            fractions={"train": 1 - share, "validation": 0.0, "test": share},
            seed=seed,
            limit=None,
            source=source,
        ).test
        chosen = {example.id for example in held_back}
        if len(chosen) < len(train):  # a single group stays what is learned from
            entries = [
                replace(entry, split="validation")
                if entry.split == "train" and entry.example.id in chosen
                else entry
                for entry in entries
            ]
    return split_entries(entries, fractions=fractions, seed=seed, limit=limit, source=source)
