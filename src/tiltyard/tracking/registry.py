"""Finds versions of registered programs in a store of runs.

>>> version = find_version(LocalTracking().connect(create=False), "models:/conventions.lexical.ace/latest")
>>> version.uri
'models:/conventions.lexical.ace/3'
>>> state = state_of(connection, version)          # DSPy's state JSON of its program
"""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltyard.errors import InputError, JobError
from tiltyard.optimizers.registered import SCHEME
from tiltyard.tracking.connection import Connection, StoreFailureError

STATE_FILE = "program.json"
"""The file of a registered program that holds its state."""
LATEST = "latest"
SHOWN = 12
"""How many names a message lists."""
_FORM = re.compile(rf"{SCHEME}(?P<name>[^/]+?)(?:/(?P<version>\d+|{LATEST})|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class Version:
    """A version of a registered program."""

    name: str
    number: int

    @property
    def uri(self) -> str:
        """The reference that always names this version."""
        return f"{SCHEME}{self.name}/{self.number}"


def find_version(connection: Connection, reference: str) -> Version:
    """The version that a reference names at this moment.

    Args:
        connection: The store.
        reference: ``models:/NAME/NUMBER``, ``models:/NAME/latest`` or ``models:/NAME@ALIAS``.

    Raises:
        InputError: It is no such reference, or there is no such version; the message lists what there is.
        JobError: The store failed.
    """
    form = _FORM.fullmatch(reference)
    if form is None:
        raise InputError(
            f"'{reference}' names no version of a registered program",
            f"write {SCHEME}NAME/NUMBER, {SCHEME}NAME/{LATEST} or {SCHEME}NAME@ALIAS",
        )
    name, version, alias = form["name"], form["version"], form["alias"]
    try:
        aliases = _aliases(connection, name)
        if aliases is None:
            raise InputError(
                f"no program is registered as '{name}' in {connection.place}",
                f"registered there: {_names(connection)}",
            )
        numbers = _numbers(connection, name)
    except StoreFailureError as failure:
        raise _unread(connection, failure) from failure
    wanted: int | None
    if alias:
        wanted = aliases.get(alias)
    else:
        wanted = max(numbers, default=None) if version == LATEST else int(version)
    if wanted is None or wanted not in numbers:
        there = f"versions there: {_listed([str(number) for number in sorted(numbers)])}"
        if alias:
            there += f"; aliases: {_listed(sorted(aliases))}"
        raise InputError(f"there is no {reference} in {connection.place}", there)
    return Version(name, wanted)


def state_of(connection: Connection, version: Version) -> dict[str, Any]:
    """The state of a version's program.

    Raises:
        InputError: The version holds no program that Tiltyard or DSPy saved as JSON.
        JobError: The store failed.
    """
    from mlflow.artifacts import download_artifacts

    client = connection.client
    try:
        source = connection.call(
            lambda: client.get_model_version_download_uri(version.name, str(version.number))
        )
    except StoreFailureError as failure:
        raise _unread(connection, failure) from failure
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = connection.call(
                lambda: download_artifacts(
                    artifact_uri=f"{source}/{STATE_FILE}", dst_path=folder, tracking_uri=client.tracking_uri
                )
            )
            state = json.loads(Path(path).read_text(encoding="utf-8"))
        except (StoreFailureError, ValueError) as error:
            connection.probe()
            raise InputError(
                f"{version.uri} holds no {STATE_FILE} that can be read ({error})",
                "name a version that a run registered",
            ) from error
    return state if isinstance(state, dict) else {}


def _aliases(connection: Connection, name: str) -> dict[str, int] | None:
    """The aliases of a registered program; None where there is no such program."""
    try:
        model = connection.call(lambda: connection.client.get_registered_model(name))
    except StoreFailureError as failure:
        if getattr(failure.__cause__, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return {alias: int(number) for alias, number in model.aliases.items()}


def _numbers(connection: Connection, name: str) -> set[int]:
    quote = '"' if "'" in name else "'"
    wanted = f"name = {quote}{name}{quote}"
    found = connection.call(lambda: connection.client.search_model_versions(wanted))
    return {int(version.version) for version in found}


def _names(connection: Connection) -> str:
    found = connection.call(lambda: connection.client.search_registered_models(max_results=SHOWN + 1))
    return _listed(sorted(model.name for model in found))


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])]) or "none"


def _unread(connection: Connection, failure: StoreFailureError) -> JobError:
    return JobError(f"{connection.place}: could not read its programs ({failure})", "try again")
