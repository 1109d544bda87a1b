"""Stands in for a run where nothing is recorded: ``tracking=off``."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class UntrackedRun:
    """A run that is not recorded: it takes everything and keeps nothing."""

    run_id: str | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep nothing."""

    def log_curves(self, points: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Keep nothing."""

    def log_folder(self, folder: Path, into: str | None = None) -> None:
        """Keep nothing."""

    def log_file(self, file: Path) -> None:
        """Keep nothing."""

    def log_rows(self, predictions: Path) -> None:
        """Keep nothing."""

    def register_program(
        self, folder: Path, name: str, describe: Callable[[str], str] | None = None
    ) -> str | None:
        """Keep nothing; there is no version."""
        return None

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Keep nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
