from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tiltyard.errors import InputError
from tiltyard.evaluation.paired import holm
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.bounds import Outcome
from tiltyard.reporting.gate import CheckFailedError, check, run_gate, summed_up, to_markdown
from tiltyard.reporting.thresholds import Thresholds, read_thresholds
from tiltyard.tracking.reader import TrackedRun

Stored = Callable[..., TrackedRun]
Read = Callable[[str], Thresholds]


@pytest.fixture
def stored(make_run: Callable[..., TrackedRun], make_row: Callable[..., Row], tmp_path: Path) -> Stored:
    """Makes a finished run whose rows stand on disk: an example per digit, each with a context of its own."""

    def make(
        run_id: str, optimizer: str, scores: str = "", *, first: int = 0, **options: object
    ) -> TrackedRun:
        params = {"seed": "0", "optimizer.k": "None", **options.pop("params", {})}  # type: ignore[dict-item]
        metrics = options.pop("metrics", {})
        sweep, status = str(options.pop("sweep", "s1")), str(options.pop("status", "FINISHED"))
        run = make_run(run_id, params=params, metrics=metrics, **options)
        tags = {**run.tags, "tiltyard.optimizer": optimizer, "tiltyard.sweep": sweep}
        folder = tmp_path / "artifacts" / run_id
        if scores:
            rows = [
                make_row(f"q{n}", float(score), context=f"c{n}")
                for n, score in enumerate(scores, start=first)
            ]
            write_rows(folder / "predictions.csv", rows)
        return replace(run, tags=tags, status=status, _artifacts=folder.as_uri())

    return make


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(text: str) -> Thresholds:
        (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
        return read_thresholds(tmp_path / "t.yaml")

    return of


def verdicts(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.verdict for outcome in outcomes]


@pytest.mark.parametrize(
    ("demand", "holds"),
    [
        ("at_least: 0.6", True),
        ("at_least: 0.600001", False),
        ("at_most: 0.6", True),
        ("at_most: 0.59", False),
        ("low_at_least: 0.4", True),
        ("low_at_least: 0.41", False),
        ("high_at_least: 0.8", True),
        ("high_at_least: 0.81", False),
        ("at_least: 0.1\n    at_most: 0.5", False),
    ],
)
def test_bounds_are_of_the_value_or_of_an_end_of_its_interval(
    stored: Stored, read: Read, demand: str, holds: bool
) -> None:
    run = stored("r", "none", metrics={"score": 0.6, "score.low": 0.4, "score.high": 0.8})
    [outcome] = check(read(f"bounds:\n  - where: {{}}\n    {demand}\n"), [run])
    assert outcome.verdict == ("pass" if holds else "FAIL")
    assert bool(outcome.remark) is not holds
    assert (outcome.run, outcome.found, outcome.line) == ("r r", "0.600 [0.400, 0.800]", 2)


def test_a_metric_that_is_no_number_keeps_no_bound(stored: Stored, read: Read) -> None:
    run = stored("r", "none", metrics={"value": float("nan")})
    text = "bounds:\n  - {metric: value, at_least: 0}\n  - {metric: value, at_most: 9}\n"
    assert verdicts(check(read(text), [run])) == ["FAIL", "FAIL"]


def test_runs_are_found_by_axes_and_params(stored: Stored, read: Read) -> None:
    runs = [
        stored("aa", "none", metrics={"score": 1.0}),
        stored("bb", "ace", metrics={"score": 1.0}, params={"optimizer.k": "4", "model.cached": "True"}),
        stored("cc", "ace", metrics={"score": 1.0}, params={"optimizer.k": "0.5", "seed": "1"}, task="iot"),
    ]

    def found(where: str) -> list[str]:
        outcomes = check(read(f"bounds:\n  - where: {where}\n    at_least: 0\n"), runs)
        return [outcome.run.split()[-1] for outcome in outcomes if outcome.verdict == "pass"]

    assert found("{}") == ["aa", "bb", "cc"]
    assert found("{optimizer: ace}") == ["bb", "cc"]
    assert found("{optimizer: [none, ace], task: tatqa_tiny}") == ["aa", "bb"]
    assert found("{optimizer.k: 4}") == ["bb"]
    assert found("{optimizer.k: 4.0}") == ["bb"]
    assert found("{optimizer.k: 0.5}") == ["cc"]
    assert found("{optimizer.k: null}") == ["aa"]
    assert found("{model.cached: true}") == ["bb"]
    assert found("{seed: 1}") == ["cc"]
    assert found("{run: b}") == ["bb"]
    assert found("{sweep: s1}") == ["aa", "bb", "cc"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bounds: [{where: {task: gsm8k}, at_least: 0}]", "no run has task=gsm8k; there are: tatqa_tiny"),
        (
            "bounds: [{where: {optimizr: none}, at_least: 0}]",
            "no run has 'optimizr'; did you mean 'optimizer'?",
        ),
        ("bounds: [{where: {optimizer: none, seed: 1}, at_least: 0}]", "no run has seed=1; there are: 0"),
        ("bounds: [{where: {optimizer: none, optimizer.k: 4}, at_least: 0}]", "all of this together"),
        ("bounds: [{metric: scor, at_least: 0}]", "no metric 'scor'; did you mean 'score'?"),
        ("bounds: [{metric: value, low_at_least: 0}]", "'value' has no interval"),
        ("regressions: [{where: {task: gsm8k}, reference: {optimizer: none}}]", "no run has task=gsm8k"),
        (
            "regressions: [{where: {optimizer: none}, reference: {optimizer: none}}]",
            "every run that fits is a reference itself",
        ),
        (
            "regressions: [{where: {optimizer: ace}, reference: {optimizer: gepa}}]",
            "there is no reference: no run",
        ),
        ("regressions: [{where: {optimizer: ace}, reference: {seed: 7}}]", "no run has seed=7"),
        ("regressions: [{where: {optimizer: ace}, baseline: gone.csv}]", "gone.csv (No such file"),
        ("regressions: [{where: {optimizer: ace}, baseline: t.yaml}]", "is no predictions.csv"),
    ],
)
def test_a_check_that_is_about_nothing_is_never_passed(
    stored: Stored, read: Read, tmp_path: Path, text: str, told: str
) -> None:
    metrics = {"score": 1.0, "value": 1.0}
    runs = [
        stored("a", "none", "11111111", metrics=metrics),
        stored("b", "ace", "11111111", metrics=metrics, params={"optimizer.k": "4"}),
    ]
    outcomes = check(read(text), runs)
    assert set(verdicts(outcomes)) == {"not checked"}
    assert told in outcomes[-1].remark
    with pytest.raises(InputError, match=r"could not be made: .*t\.yaml:1: "):
        run_gate(read(text), runs, tmp_path, source="here")


def test_a_significant_drop_fails_and_a_rise_or_chance_does_not(stored: Stored, read: Read) -> None:
    runs = [
        stored("none", "none", "1" * 20),
        stored("worse", "ace", "0" * 8 + "1" * 12),
        stored("noise", "gepa", "000" + "1" * 17),
        stored("zero", "none", "0" * 20, params={"seed": "1"}),
        stored("better", "ace", "0" * 8 + "1" * 12, params={"seed": "1"}),
    ]
    outcomes = check(read("regressions:\n  - reference: {optimizer: none}\n"), runs)
    assert [(outcome.run, outcome.verdict) for outcome in outcomes] == [
        ("worse worse vs none", "FAIL"),
        ("noise noise vs none", "pass"),
        ("better better vs zero", "pass"),
    ]
    # 8, 3 and 12 examples that differ, all one way: exact McNemar, adjusted for three comparisons.
    adjusted = holm([2 * 0.5**8, 2 * 0.5**3, 2 * 0.5**12])
    assert [f"p={p:.3f}" for p in adjusted] == [outcome.found.split()[-1] for outcome in outcomes]
    assert "-0.400" in outcomes[0].found
    assert "20 examples" in outcomes[1].remark


def test_holm_is_over_all_regressions_of_the_file(stored: Stored, read: Read) -> None:
    runs = [stored("a", "none", "1" * 20), stored("b", "ace", "0" * 6 + "1" * 14)]
    one = "  - {where: {optimizer: ace}, reference: {optimizer: none}}\n"
    assert verdicts(check(read(f"regressions:\n{one}"), runs)) == ["FAIL"]  # p=0.031
    assert verdicts(check(read(f"regressions:\n{one}{one}"), runs)) == ["pass", "pass"]


def test_a_sample_that_can_show_no_drop_is_not_passed(stored: Stored, read: Read) -> None:
    five = [stored("a", "none", "11111"), stored("b", "ace", "00000")]
    text = "regressions:\n  - {where: {optimizer: ace}, reference: {optimizer: none}"
    [outcome] = check(read(f"{text}}}\n"), five)
    assert outcome.verdict == "not checked"
    assert outcome.remark.startswith("5 examples are too few for any drop to have p<0.05")
    [outcome] = check(read(f"{text}, drop_at_most: 0.5}}\n"), five)
    assert (outcome.verdict, outcome.remark) == ("FAIL", "the score fell by 1, more than 0.5")
    six = [stored("c", "none", "111111"), stored("d", "ace", "000000")]
    assert verdicts(check(read(f"{text}}}\n"), six)) == ["FAIL"]


def test_a_drop_of_exactly_the_limit_is_allowed(stored: Stored, read: Read) -> None:
    runs = [stored("a", "none", "1111100000"), stored("b", "ace", "1110000000")]
    text = "regressions:\n  - {where: {optimizer: ace}, reference: {optimizer: none}, drop_at_most: "
    assert verdicts(check(read(f"{text}0.2}}\n"), runs)) == ["pass"]
    assert verdicts(check(read(f"{text}0.19}}\n"), runs)) == ["FAIL"]


def test_the_reference_is_the_run_that_is_most_alike(stored: Stored, read: Read) -> None:
    text = "regressions:\n  - {where: {optimizer: ace}, reference: {optimizer: none}}\n"
    run = stored("run", "ace", "1" * 8, params={"limit": "8", "optimizer.k": "4"}, sweep="s2", minute=9)
    alike = stored("alike", "none", "1" * 8, params={"limit": "8"}, sweep="s2", minute=1)
    later = stored("later", "none", "1" * 8, params={"limit": "9"}, sweep="s2", minute=2)
    elsewhere = stored("elsewhere", "none", "1" * 8, params={"limit": "8"}, sweep="s1", minute=3)
    other_model = stored("other", "none", "1" * 8, sweep="s2", model="embedded")
    everyone = [other_model, alike, later, elsewhere, run]
    [outcome] = check(read(text), everyone)
    assert outcome.run == "run run vs alike"
    [outcome] = check(read(text), [later, elsewhere, run])
    assert outcome.run == "run run vs later"
    assert "the reference also differs in limit (8, 9)" in outcome.remark
    [outcome] = check(read(text), [other_model, run])
    assert outcome.verdict == "not checked"
    assert "model=lexical" in outcome.remark


def test_an_earlier_sweep_is_looked_for_among_all_runs(stored: Stored, read: Read) -> None:
    before = stored("before", "ace", "1" * 8, sweep="release")
    after = stored("after", "ace", "0" * 8, sweep="today")
    text = "regressions:\n  - {where: {optimizer: ace}, reference: {sweep: release}}\n"
    [outcome] = check(read(text), [after], everyone=lambda: [before, after])
    assert (outcome.run, outcome.verdict) == ("after after vs before", "FAIL")
    assert verdicts(check(read(text), [after])) == ["not checked"]
    [outcome] = check(read(text.replace("sweep: release", "run: befo")), [after], everyone=lambda: [before])
    assert outcome.verdict == "FAIL"


def test_a_baseline_file_stands_beside_the_thresholds(
    stored: Stored, read: Read, make_row: Callable[..., Row], tmp_path: Path
) -> None:
    kept = tmp_path / "baselines/rows.csv"
    kept.parent.mkdir()
    text = "regressions:\n  - baseline: baselines/rows.csv\n"
    ones = [make_row(f"q{n}", 1.0, context=f"c{n}") for n in range(8)]
    write_rows(kept, ones)
    assert verdicts(check(read(text), [stored("a", "ace", "1" * 8)])) == ["pass"]
    [outcome] = check(read(text), [stored("b", "ace", "0" * 8)])
    assert (outcome.check, outcome.verdict) == ("score vs baselines/rows.csv", "FAIL")
    [outcome] = check(read(text), [stored("c", "ace", "1" * 8, first=1)])
    assert outcome.verdict == "not checked"
    assert "1 only in" in outcome.remark
    write_rows(kept, [*ones, replace(ones[0], epoch=1)])
    [outcome] = check(read(text), [stored("d", "ace", "1" * 8)])
    assert "several rows of example 'q0'" in outcome.remark
    write_rows(kept, [replace(row, gold="another") for row in ones])
    [outcome] = check(read(text), [stored("e", "ace", "1" * 8)])
    assert "8 of 8 examples differ in their gold" in outcome.remark


def test_a_run_that_failed_fails_its_checks(stored: Stored, read: Read) -> None:
    fine = stored("a", "none", metrics={"score": 1.0})
    broken = stored("b", "ace", status="FAILED")
    broken = replace(broken, tags={**broken.tags, "tiltyard.error": "no weights"})
    regressions = "regressions:\n  - {where: {optimizer: ace}, reference: {optimizer: none}}\n"
    text = f"bounds:\n  - at_least: 0.5\n{regressions}"
    outcomes = check(read(text), [fine], failed=[broken])
    assert [(outcome.run, outcome.verdict) for outcome in outcomes] == [
        ("b b", "FAIL"),
        ("a a", "pass"),
        ("b b", "FAIL"),
    ]
    assert outcomes[0].remark == "the run is FAILED: no weights"


def test_the_table_is_printed_written_and_summed_up(
    stored: Stored, read: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored("r", "none", metrics={"score": 0.6, "score.low": 0.4, "score.high": 0.8})
    good = read("bounds:\n  - {name: good|enough, at_least: 0.5}\n")
    run_gate(good, [run], tmp_path / "out", source="experiment tiltyard")
    out = capsys.readouterr().out.split("\n")
    assert out[0].split() == ["check", "run", "found", "wanted", "verdict"]
    assert out[1].split() == ["good|enough", "r", "r", "0.600", "[0.400,", "0.800]", ">=", "0.5", "pass"]
    assert "the check passed" in out
    markdown = (tmp_path / "out/check.md").read_text(encoding="utf-8")
    assert markdown.startswith("## The check passed\n")
    assert r"| good\|enough |" in markdown
    bad = read("bounds:\n  - {at_least: 0.5}\n  - {at_least: 0.7}\n")
    with pytest.raises(CheckFailedError, match="1 of 2 checks failed") as caught:
        run_gate(bad, [run], tmp_path / "out", source="experiment tiltyard")
    assert caught.value.exit_code == 1
    assert "FAIL: score, r r (line 3): 0.6 is below 0.7" in capsys.readouterr().out
    assert (tmp_path / "out/check.md").read_text(encoding="utf-8").startswith("## 1 of 2 checks failed\n")


def test_what_could_not_be_made_outweighs_what_failed(stored: Stored, read: Read, tmp_path: Path) -> None:
    run = stored("r", "none", metrics={"score": 0.6})
    text = "bounds:\n  - {at_least: 0.7}\n  - {metric: f1, at_least: 0.7}\n  - {at_least: 0.1}\n"
    outcomes = check(read(text), [run])
    assert verdicts(outcomes) == ["FAIL", "not checked", "pass"]
    assert summed_up(outcomes) == "1 of 3 checks failed, 1 could not be made"
    assert "- not checked: f1, r r (line 3): " in to_markdown(outcomes, Path("t.yaml"), "here")
    with pytest.raises(InputError, match=r"t\.yaml:3: the run has no metric 'f1'"):
        run_gate(read(text), [run], tmp_path, source="here")


def test_of_repetitions_the_last_counts(stored: Stored, read: Read, tmp_path: Path) -> None:
    old = stored("old", "none", metrics={"score": 0.0}, fingerprint="same")
    new = stored("new", "none", metrics={"score": 1.0}, fingerprint="same", minute=1)
    run_gate(read("bounds:\n  - {at_least: 0.5}\n"), [old, new], tmp_path, source="here")
    with pytest.raises(CheckFailedError):
        run_gate(
            read("bounds:\n  - {at_least: 0.5}\n"),
            [replace(old, started=new.started), replace(new, started=old.started)],
            tmp_path,
            source="here",
        )
