"""``tiltyard cache``: what the cache folder holds, and how to empty it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tiltyard.arguments import CommandParser
from tiltyard.checkpoints import FOLDER, clear_checkpoints, kept_checkpoints
from tiltyard.config import CacheConfig
from tiltyard.errors import JobError
from tiltyard.models.response_cache import ResponseCache, cache_folder, response_folder

PARTS = ("responses", "checkpoints", "all")
"""What can be emptied."""


def cache(arguments: list[str]) -> None:
    """Say what the caches hold, or empty them.

    Args:
        arguments: The command line after ``tiltyard cache``.

    Raises:
        InputError: An argument is wrong.
        JobError: A cache cannot be read, or not be emptied.
    """
    parser = CommandParser(
        prog="tiltyard cache",
        description="What is kept: responses of models, and checkpoints of runs that did not end.",
    )
    parser.add_argument(
        "--clear",
        nargs="?",
        choices=PARTS,
        const="responses",
        metavar="WHAT",
        help="delete every kept response; with 'checkpoints' or 'all' the checkpoints of interrupted runs, "
        "too, but for those of runs that are under way",
    )
    parser.add_argument(
        "--folder", metavar="FOLDER", help="default: $TILTYARD_CACHE_DIR, else the user's cache folder"
    )
    chosen = parser.parse_args(arguments)
    _responses(response_folder(chosen.folder), clear=chosen.clear in ("responses", "all"))
    _checkpoints(cache_folder(chosen.folder) / FOLDER, clear=chosen.clear in ("checkpoints", "all"))


def _responses(folder: Path, *, clear: bool) -> None:
    with closing(ResponseCache(folder, CacheConfig().size_limit_mb)) as responses:
        try:
            if clear:
                responses.clear()
            print(f"{responses.contents()} in {folder}")  # noqa: T201 - this was asked for
        except (sqlite3.Error, OSError) as error:
            remedy = "check its permissions" if clear else "tiltyard cache --clear empties it"
            raise JobError(f"the response cache in {folder} cannot be used ({error})", remedy) from error


def _checkpoints(folder: Path, *, clear: bool) -> None:
    try:
        if clear:
            clear_checkpoints(folder)
        print(f"{kept_checkpoints(folder)} in {folder}")  # noqa: T201 - this was asked for
    except OSError as error:
        raise JobError(
            f"the checkpoints in {folder} cannot be used ({error})", "check its permissions"
        ) from error
