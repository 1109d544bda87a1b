import io
import sys

import pytest
from rich.text import Text

from tiltyard.reporting.console import Field, grid, show, table, text


def test_a_pipe_gets_plain_lines_as_long_as_their_content(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        table([Field("name", ["x" * 300, "b"]), Field("n", ["1", "22"], right=True)]),
        Text("bold", "bold red"),
    )
    assert capsys.readouterr().out == f"{'name':300}   n\n{'x' * 300}   1\n{'b':300}  22\nbold\n"


def test_a_grid_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    show(grid([["score", "0.5"], ["examples", "3"]], indent=2))
    assert capsys.readouterr().out == "  score     0.5\n  examples  3\n"


def test_data_is_neither_markup_nor_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    show(text("[bold]x[/bold] :smile: \x1b[31m sk-abcdefghijklmnop"))
    assert capsys.readouterr().out == "[bold]x[/bold] :smile: [31m ***\n"


def test_an_output_without_unicode_gets_what_it_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show(text("p50 – 5 µs…"))
    assert raw.getvalue() == b"p50 - 5 ?s...\n"


def test_a_terminal_gets_colour_and_its_own_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show(grid([["why", "word " * 30]]), Text("red", "red"))
    out = capsys.readouterr().out
    assert "\x1b[31mred" in out
    assert max(len(line) for line in out.split("\n")[:-2]) <= 60
