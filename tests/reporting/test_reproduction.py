import pandas as pd

from tiltyard.reporting.one_run import OneRun
from tiltyard.reporting.reproduction import reproduction


def of(run_id: str, rows: dict[str, tuple[str, float]] | None, **content: str) -> OneRun:
    """A run whose rows are an answer and a score by example; ``content`` gives some another question."""
    frame = None
    if rows is not None:
        frame = pd.DataFrame(
            [
                {
                    **{"sample_id": sample, "question": content.get(sample, "q"), "context": "", "gold": "g"},
                    **{"pred": pred, "score": score, "correct": int(score == 1), "error": ""},
                }
                for sample, (pred, score) in rows.items()
            ]
        )
    return OneRun(run_id, "t/m/o/s0", run_id, "FINISHED", {}, {}, {"tiltyard.fingerprint": "f"}, frame)


def test_every_example_is_counted_once_by_what_became_of_it() -> None:
    first = of(
        "1", {"a": ("x", 1), "b": ("x", 1), "c": ("x", 0), "d": ("x", 0), "e": ("x", 1), "f": ("x", 1)}
    )
    again = of(
        "2", {"a": ("x", 1), "b": ("y", 0), "c": ("g", 1), "d": ("y", 0), "e": ("x", 1), "g": ("x", 1)}, e="?"
    )
    found = reproduction(first, again)
    kinds = ["right to wrong", "wrong to right", "other answer", "other content", "not in the rerun"]
    assert [change.kind for change in found.changes] == [*kinds, "only in the rerun"]
    assert [change.sample_id for change in found.changes] == ["b", "c", "d", "e", "f", "g"]
    assert (found.comparable, found.identical) == (4, 1)
    assert [change.kind for change in found.unrepeated] == kinds
    assert any("does not repeat itself" in remark for remark in found.remarks)


def test_a_run_without_rows_has_nothing_to_compare() -> None:
    found = reproduction(of("1", None), of("2", {"a": ("x", 1)}))
    assert (found.comparable, found.changes) == (0, [])
    assert found.counted == "there are no rows to compare"
