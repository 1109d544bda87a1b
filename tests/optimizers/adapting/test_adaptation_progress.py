from tiltyard.optimizers.adapting import progress as module
from tiltyard.optimizers.adapting.progress import progress


def test_the_bar_is_on_stderr_and_tells_answers_score_and_entries(capsys):
    with progress(total=4, label="ACE", show=True) as advance:
        advance(3, score=0.5, entries=7)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("ACE", "3/4", "entries 7", "score 0.500"):
        assert part in shown.err


def test_elsewhere_a_line_now_and_then_goes_to_the_log(capsys, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress(total=4, label="ACE") as advance:
        advance(2, score=None, entries=1)
        advance(2, score=0.25, entries=2)
    assert [record.getMessage() for record in caplog.records] == [
        "ACE: 2 of 4 answers, entries 1",
        "ACE: 4 of 4 answers, entries 2  score 0.250",
    ]
    assert capsys.readouterr() == ("", "")


def test_lines_are_rare(caplog):
    caplog.set_level("INFO")
    with progress(total=100, label="ACE") as advance:
        for _ in range(100):
            advance(1, score=None, entries=0)
    assert not caplog.records
