import io
import logging
import sys

import pytest

from tiltyard.evaluation.progress import report_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    return Terminal()


def run(show=None):
    with report_progress(3, "tatqa_tiny", show) as advance:
        advance(1.0, False)
        advance(0.5, False)
        advance(0.0, True)


def test_a_terminal_gets_a_bar(terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", terminal)
    run()

    shown = terminal.getvalue()
    assert "tatqa_tiny" in shown
    assert "3/3" in shown
    assert "failed 1" in shown
    assert "score 0.500" in shown
    assert capsys.readouterr().out == ""


def test_the_bar_can_be_turned_off(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    run(show=False)

    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_drawn(capsys):
    run()

    assert capsys.readouterr() == ("", "")


def test_a_long_run_without_a_terminal_leaves_log_lines(monkeypatch, caplog):
    monkeypatch.setattr("tiltyard.evaluation.progress.SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO, logger="tiltyard"):
        run()

    assert caplog.messages[-1] == "tatqa_tiny: 3 of 3 done, 1 failed, score 0.500"


def test_a_short_run_without_a_terminal_leaves_none(caplog):
    with caplog.at_level(logging.INFO, logger="tiltyard"):
        run()

    assert caplog.messages == []
