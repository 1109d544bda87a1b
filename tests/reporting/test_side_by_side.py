import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tiltyard.errors import InputError
from tiltyard.evaluation.rows import Row
from tiltyard.reporting.one_run import OneRun
from tiltyard.reporting.side_by_side import Changed, Differing, side_by_side
from tiltyard.reporting.side_by_side_report import show_side_by_side, to_markdown

MakeRow = Callable[..., Row]
Frame = Callable[..., pd.DataFrame]
METRICS = {"score": 0.5, "score.low": 0.2, "score.high": 0.8}


def one(rows: pd.DataFrame | None, run_id: str, **values: object) -> OneRun:
    plain: dict[str, object] = {
        "given": run_id,
        "name": "iot_tiny/lexical/none/s0",
        "run_id": run_id,
        "status": "FINISHED",
        "params": {},
        "metrics": METRICS,
        "tags": {},
        "rows": rows,
    }
    return OneRun(**(plain | values))  # type: ignore[arg-type]


@pytest.fixture
def rows(make_row: MakeRow, frame: Frame) -> Callable[[str], pd.DataFrame]:
    """Rows of examples with a context each, one per digit: tenths of the score, x for 1."""

    def of(scores: str) -> pd.DataFrame:
        made = [
            make_row(f"q{n}", 1.0 if s == "x" else int(s) / 10, context=f"c{n}", pred=f"said {s}")
            for n, s in enumerate(scores)
        ]
        return frame(*made)

    return of


def test_every_difference_is_b_less_a(rows: Callable[[str], pd.DataFrame]) -> None:
    found = side_by_side(one(rows("xxxx0000"), "a"), one(rows("0xxxxx00"), "b"))
    assert found.score is not None
    assert found.score.mean == pytest.approx(1 / 8)
    assert (found.score.test, found.score.examples, found.shared) == ("mcnemar", 8, 8)
    assert found.score.p == 1.0
    assert found.unpaired == ""
    assert "8 examples" in found.power
    assert [(flip.sample_id, flip.kind) for flip in found.flips] == [
        ("q0", "right to wrong"),
        ("q4", "wrong to right"),
        ("q5", "wrong to right"),
    ]
    assert (found.flips[0].answer_a, found.flips[0].answer_b) == ("said x", "said 0")
    back = side_by_side(found.b, found.a)
    assert back.score is not None
    assert back.score.mean == -found.score.mean
    assert Counter(flip.kind for flip in back.flips) == {"right to wrong": 2, "wrong to right": 1}


def test_partial_scores_flip_too(rows: Callable[[str], pd.DataFrame]) -> None:
    found = side_by_side(one(rows("x0552"), "a"), one(rows("9x725"), "b"))
    kinds = {flip.sample_id: flip.kind for flip in found.flips}
    assert kinds == {
        "q0": "right to wrong",
        "q1": "wrong to right",
        "q2": "better",
        "q3": "worse",
        "q4": "better",
    }
    assert [flip.kind for flip in found.flips] == [
        "right to wrong",
        "wrong to right",
        "worse",
        "better",
        "better",
    ]


def test_configs_metrics_and_origins_are_told_apart(rows: Callable[[str], pd.DataFrame]) -> None:
    same = rows("xx00")
    a = one(
        same,
        "a",
        params={"seed": "0", "limit": "None", "optimizer.k": "4", "tracking.folder": "mlruns"},
        metrics=METRICS | {"tokens.prompt": 10.0, "examples": 4.0, "f1": 0.5},
        tags={"tiltyard.fingerprint": "aa", "tiltyard.package.torch": "2.13.0", "tiltyard.sweep": "s1"},
    )
    b = one(
        same,
        "b",
        params={"seed": "0", "limit": "3", "tracking.folder": "other"},
        metrics=METRICS | {"tokens.prompt": 20.0, "examples": 4.0, "value": 0.1},
        tags={"tiltyard.fingerprint": "bb", "tiltyard.package.torch": "2.14.0", "tiltyard.sweep": "s2"},
    )
    found = side_by_side(a, b)
    assert found.config == [Differing("limit", "None", "3"), Differing("optimizer.k", "4", None)]
    assert found.config_apart == [Differing("tracking.folder", "mlruns", "other")]
    assert found.origins == [
        Differing("fingerprint", "aa", "bb"),
        Differing("package.torch", "2.13.0", "2.14.0"),
    ]
    assert found.metrics == [
        Changed("f1", 0.5, None),
        Changed("value", None, 0.1),
        Changed("tokens.prompt", 10.0, 20.0),
    ]
    assert found.equal_metrics == 1
    assert found.remarks == []
    assert found.flips == []


def test_equal_configs_with_other_fingerprints_are_remarked(rows: Callable[[str], pd.DataFrame]) -> None:
    def run(run_id: str, fingerprint: str, status: str = "FINISHED") -> OneRun:
        tags = {"tiltyard.fingerprint": fingerprint}
        return one(rows("x0"), run_id, params={"seed": "0"}, tags=tags, status=status)

    [remark] = side_by_side(run("a", "aa"), run("b", "bb")).remarks
    assert "versions are not the same" in remark
    [remark] = side_by_side(run("a", "aa"), run("b", "aa")).remarks
    assert "repetitions" in remark
    remarks = side_by_side(run("a", "aa"), run("b", "aa", "KILLED")).remarks
    assert remarks[0].startswith("run B ended as KILLED")


def test_other_examples_are_refused_and_the_rest_still_shown(
    rows: Callable[[str], pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = one(rows("x000"), "a", params={"limit": "4"}, metrics=METRICS | {"f1": 0.25})
    b = one(rows("0x"), "b", params={"limit": "2"}, metrics=METRICS | {"f1": 0.75})
    found = side_by_side(a, b)
    assert found.score is None
    assert "2 only in" in found.unpaired
    assert found.shared == 2
    show_side_by_side(found, tmp_path)
    out = capsys.readouterr().out
    assert "no paired test: " in out
    assert "limit  4  2" in out
    assert "0.250  0.750  +0.500" in out
    assert "1 right to wrong, 1 wrong to right" in out


@pytest.mark.parametrize("column", ["question", "context", "gold"])
def test_examples_that_share_only_their_ids_are_refused(
    rows: Callable[[str], pd.DataFrame], column: str
) -> None:
    edited = rows("xx00")
    edited.loc[1, column] = "another"
    found = side_by_side(one(rows("00xx"), "a"), one(edited, "b"))
    assert found.score is None
    assert found.unpaired == f"1 of 4 examples differ in their {column}, such as 'q1'"
    assert {flip.sample_id for flip in found.flips} == {"q0", "q2", "q3"}


def test_a_run_without_rows_is_compared_in_all_else(rows: Callable[[str], pd.DataFrame]) -> None:
    found = side_by_side(one(None, "a", without_rows="it has no predictions.csv"), one(rows("x"), "b"))
    assert found.score is None
    assert found.unpaired == "run A has no rows: it has no predictions.csv"
    assert "there are no rows to compare" in to_markdown(found)


def test_a_run_is_not_compared_with_itself(rows: Callable[[str], pd.DataFrame]) -> None:
    with pytest.raises(InputError, match="same run"):
        side_by_side(one(rows("x"), "a"), one(rows("x"), "a"))


def test_files_hold_every_flip_and_no_markup_of_a_models(
    make_row: MakeRow, frame: Frame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nasty = 'a|b <img src=x>,"\n[bold]'
    before = frame(*(make_row(f"q{n}", 1.0, context=f"c{n}") for n in range(80)))
    after = frame(
        *(make_row(f"q{n}", 0.0, context=f"c{n}", pred=nasty) for n in range(79)),
        make_row("q79", 0.0, context="c79", pred="", error="parse: no answer"),
    )
    show_side_by_side(side_by_side(one(before, "a"), one(after, "b")), tmp_path)
    out = capsys.readouterr().out
    assert "right to wrong (80)" in out
    assert "and 75 more" in out
    assert "p<0.001 by McNemar's exact test, 80 examples" in out
    with (tmp_path / "compare.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 80
    assert written[0]["answer_b"] == nasty
    assert written[79]["error_b"] == "parse: no answer"
    markdown = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert r"a\|b \<img src=x\>" in markdown
    assert "and 30 more in compare.csv" in markdown


def test_a_folder_that_cannot_be_written_is_told(rows: Callable[[str], pd.DataFrame], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = side_by_side(one(rows("x"), "a"), one(rows("x"), "b"))
    with pytest.raises(InputError, match="--output"):
        show_side_by_side(found, tmp_path / "file")
