"""Reads records from JSON, JSONL, CSV and Parquet files, and says where a malformed one stands.

>>> for record in read_records("qa.jsonl"):
...     question = record.parse(QuestionRecord)
Traceback (most recent call last):
...
tiltyard.errors.InputError: qa.jsonl, record 7 (line 8): field 'answer' is missing; …
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from tiltyard.errors import InputError
from tiltyard.tasks.data_file import REMEDY, existing, read_bytes

Schema = TypeVar("Schema", bound=BaseModel)


def _as_text(value: object) -> object:
    # True is an int in Python, and "True" is nobody's answer.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _encodable(text: str) -> str:
    # JSON can escape half of a character, which no file, digest or terminal takes.
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds half a character (a lone surrogate); write the character itself")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text.strip()


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


AS_LIST = BeforeValidator(_listed)
"""Marks a schema's list where a record may write its only item without brackets."""
Text = Annotated[str, BeforeValidator(_as_text), AfterValidator(_encodable)]
"""A schema's field of text; a number becomes its digits."""
FilledText = Annotated[Text, AfterValidator(_filled)]
"""A schema's field of text that holds more than white space."""


@dataclass(frozen=True)
class Record:
    """One record of a file."""

    number: int
    """The record's position in the file, from 1."""
    place: str
    """Where the record stands: the file, the record's number, and its line or id where it has one."""
    values: Mapping[str, Any]
    """The fields that hold something; an empty cell and a null count as absent."""

    def error(self, problem: str, remedy: str = "") -> InputError:
        """Make an error that begins with the record's place."""
        return InputError(f"{self.place}: {problem}", remedy)

    def parse(self, schema: type[Schema]) -> Schema:
        """Read the record's fields as the schema declares them.

        Raises:
            InputError: A field is missing or malformed; names the record and the field.
        """
        return parse(self.values, schema, self.place)


def parse(values: Mapping[str, Any], schema: type[Schema], place: str) -> Schema:
    """Check values against a schema.

    Args:
        values: Field names and values.
        schema: A pydantic model; a field's ``description`` is the remedy of its errors.
        place: Where the values stand, for errors.

    Raises:
        InputError: The first field that is missing or malformed.
    """
    try:
        return schema.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        problem, remedy = _explained(first["type"], first["msg"], values)
        declared = schema.model_fields.get(str(first["loc"][0])) if first["loc"] else None
        if declared is not None and declared.description:
            remedy = remedy or declared.description
        field = f"field '{name.removeprefix('.')}' " if name else ""
        raise InputError(_printable(f"{place}: {field}{problem}"), _printable(remedy)) from error


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _explained(kind: str, message: str, values: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "missing":
        return "is missing", f"the fields here are: {', '.join(map(str, values)) or 'none'}"
    if kind == "value_error":
        return message.removeprefix("Value error, "), ""
    _, _, requirement = message.partition(" should ")
    return (f"should {requirement}" if requirement else f"is malformed: {message}"), ""


def read_records(path: str) -> list[Record]:
    """Read every record of a file.

    JSON holds a list of objects, or an object with exactly one list in it. JSONL holds an object a line;
    blank lines are skipped. CSV has commas and a header. Parquet has a row a record.

    Args:
        path: The file, as :data:`tiltyard.tasks.data_file.DataFile` describes it.

    Raises:
        InputError: The file cannot be read, holds no record, or is malformed; names the line or record.
    """
    try:
        existing(path)
        content = read_bytes(path)
        if _suffix(path) == ".parquet":
            return _records(path, _read_parquet(path, content))
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text", "save the file as UTF-8") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}", REMEDY) from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty", "it should hold at least one record")
    return _records(path, _READERS[_suffix(path)](path, text))


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _records(path: str, found: Iterable[tuple[int | None, object]]) -> list[Record]:
    records = [_record(path, number, line, values) for number, (line, values) in enumerate(found, 1)]
    if not records:
        raise InputError(f"{path}: the file holds no record", "it should hold at least one")
    return records


def _record(path: str, number: int, line: int | None, values: object) -> Record:
    marks = [] if line is None else [f"line {line}"]
    if isinstance(values, Mapping) and isinstance(values.get("id"), str | int):
        marks.append(f"id {values['id']}")
    place = f"{path}, record {number}" + (f" ({', '.join(marks)})" if marks else "")
    if not isinstance(values, Mapping):
        raise InputError(
            f"{place}: is {_KINDS[type(values)]}, not an object", "a record is an object with named fields"
        )
    filled = {str(key): value for key, value in values.items() if value is not None}
    return Record(number, place, filled)


_KINDS: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _decode(text: str, path: str, line: int | None = None) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"{path}, line {line or error.lineno}, column {error.colno}"
        raise InputError(f"{where}: not JSON: {error.msg}", "correct the line") from error
    except (ValueError, RecursionError) as error:
        where = path if line is None else f"{path}, line {line}"
        raise InputError(f"{where}: not JSON: {error}", "correct the value") from error


def _read_json(path: str, text: str) -> Iterator[tuple[int | None, object]]:
    content = _decode(text, path)
    if isinstance(content, Mapping):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        if len(lists) != 1:
            found = f"lists under {', '.join(lists)}" if lists else "no list"
            raise InputError(
                f"{path}: the object holds {found}", "a JSON file should hold one list of records"
            )
        content = next(iter(lists.values()))
    if not isinstance(content, list):
        raise InputError(f"{path}: holds {_KINDS[type(content)]}", "it should hold a list of records")
    for values in content:
        yield None, values


def _read_jsonl(path: str, text: str) -> Iterator[tuple[int | None, object]]:
    # Only \n ends a line: splitlines() would also split at characters that JSON strings may contain.
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            yield line, _decode(content, path, line)


def _read_csv(path: str, text: str) -> Iterator[tuple[int | None, object]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    start = 1
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if header is None:
                header = _header(path, cells)
            elif len(cells) > len(header):
                raise InputError(
                    f"{path}, line {line}: has {len(cells)} cells where the header has {len(header)}",
                    "put a cell that contains a comma in double quotes",
                )
            elif any(cell.strip() for cell in cells):
                yield line, {key: cell for key, cell in zip(header, cells, strict=False) if cell.strip()}
    except csv.Error as error:
        raise InputError(f"{path}, line {start}: not CSV: {error}", "correct the line") from error
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: str, content: bytes) -> Iterator[tuple[int | None, object]]:
    from pyarrow import ArrowException, BufferReader
    from pyarrow.parquet import read_table

    try:
        rows = read_table(BufferReader(content)).to_pylist()
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not Parquet: {reason}", "download the file anew") from error
    for values in rows:
        yield None, values


# The module's own limit, 131,072 characters, is less than a report that serves as a context.
_LONGEST_CELL = 2**31 - 1


def _header(path: str, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{path}, line 1: two columns are called '{repeated}'", "rename one of them")
    return header


_READERS: dict[str, Callable[[str, str], Iterator[tuple[int | None, object]]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
