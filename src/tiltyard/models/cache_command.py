"""``tiltyard cache``: what the response cache holds, and how to empty it."""

import sqlite3
from contextlib import closing

from tiltyard.arguments import CommandParser
from tiltyard.config import CacheConfig
from tiltyard.errors import JobError
from tiltyard.models.response_cache import ResponseCache, response_folder


def cache(arguments: list[str]) -> None:
    """Say what the cache holds, or empty it.

    Args:
        arguments: The command line after ``tiltyard cache``.

    Raises:
        InputError: An argument is wrong.
        JobError: The cache cannot be read, or not be emptied.
    """
    parser = CommandParser(prog="tiltyard cache", description="What the response cache holds.")
    parser.add_argument("--clear", action="store_true", help="delete every kept response")
    parser.add_argument(
        "--folder", metavar="FOLDER", help="default: $TILTYARD_CACHE_DIR, else the user's cache folder"
    )
    chosen = parser.parse_args(arguments)
    folder = response_folder(chosen.folder)
    with closing(ResponseCache(folder, CacheConfig().size_limit_mb)) as responses:
        try:
            if chosen.clear:
                responses.clear()
            print(f"{responses.contents()} in {folder}")  # noqa: T201 - this was asked for
        except (sqlite3.Error, OSError) as error:
            remedy = "check its permissions" if chosen.clear else "tiltyard cache --clear empties it"
            raise JobError(f"the response cache in {folder} cannot be used ({error})", remedy) from error
