import re
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig

from tiltyard.cli import main
from tiltyard.config import check
from tiltyard.errors import InputError
from tiltyard.reporting.thresholds import Thresholds, read_thresholds

DOCS = Path(__file__).parents[2] / "docs"
BOUND = "bounds:\n  - where: {task: a}\n    "


def read(folder: Path, text: str) -> Thresholds:
    (folder / "t.yaml").write_text(text, encoding="utf-8")
    return read_thresholds(folder / "t.yaml")


def test_checks_are_read_with_their_lines(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        bounds:
          - at_least: 0            # of every run
          - where: {task: [a, b], optimizer.k: 4, limit: null, seed: 0}
            metric: latency.generate.p95_ms
            at_most: 2.5
        regressions:
          - {where: {model: m}, reference: {optimizer: none}, alpha: 0.01}
          - {baseline: kept/rows.csv, drop_at_most: 0.1}
        """,
    )
    every, some = found.bounds
    assert (every.where, every.metric, every.at_least, every.at_most) == ({}, "score", 0, None)
    assert some.where == {"task": ["a", "b"], "optimizer.k": 4, "limit": None, "seed": 0}
    assert some.at_most == 2.5
    with_reference, with_baseline = found.regressions
    assert (with_reference.reference, with_reference.alpha) == ({"optimizer": "none"}, 0.01)
    assert (with_baseline.reference, with_baseline.alpha, with_baseline.drop_at_most) == (None, 0.05, 0.1)
    assert found.beside("kept/rows.csv") == tmp_path / "kept/rows.csv"
    checks = [*found.bounds, *found.regressions]
    assert [found.line(each) for each in checks] == [3, 4, 8, 9]


def test_equal_checks_have_lines_of_their_own(tmp_path: Path) -> None:
    found = read(tmp_path, "bounds:\n  - {at_least: 1}\n  - {at_least: 1}\n")
    assert [found.line(each) for each in found.bounds] == [2, 3]


def test_yaml_aliases_are_allowed(tmp_path: Path) -> None:
    found = read(tmp_path, "bounds:\n  - &one {at_least: 1}\n  - <<: *one\n    at_most: 2\n  - *one\n")
    assert [(each.at_least, each.at_most) for each in found.bounds] == [(1, None), (1, 2), (1, None)]
    assert [found.line(each) for each in found.bounds][:2] == [2, 3]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (BOUND + "att_least: 1\n", 3, ["bounds[0].att_least: unknown key", "did you mean 'at_least'?"]),
        ("bound: []\n", 1, ["bound: unknown key", "did you mean 'bounds'?"]),
        (BOUND + "reference: {optimizer: none}\n", 3, ["bounds[0].reference: unknown key"]),
        (BOUND + "at_least: '1'\n", 3, ["bounds[0].at_least: '1' should be a valid number"]),
        (BOUND + "at_least: true\n", 3, ["bounds[0].at_least: True"]),
        (BOUND + "at_least: .nan\n", 3, ["bounds[0].at_least", "finite"]),
        (BOUND + "low_at_least: 15\n", 3, ["bounds[0].low_at_least: 15", "less than or equal to 1"]),
        (BOUND + "metric: score\n", 2, ["bounds[0]: has no bound"]),
        (BOUND + "at_least: 2\n    at_most: 1\n", 2, ["bounds[0]: at_least is above at_most"]),
        (BOUND + "at_least: 2\n    at_least: 1\n", 4, ["bounds[0].at_least stands twice"]),
        ("bounds:\n  - where: {task: {a: b}}\n    at_least: 1\n", 2, ["bounds[0].where.task"]),
        ("bounds:\n  - where: {task: []}\n    at_least: 1\n", 2, ["bounds[0].where.task"]),
        ("bounds: 0.5\n", 1, ["bounds: 0.5 should be a valid list"]),
        ("bounds:\n  -\n", 2, ["bounds[0]: null"]),
        ("bounds: &a\n  - *a\n", 1, ["bounds[0]"]),
        ("bounds: []\n", 1, ["checks nothing"]),
        ("regressions:\n  - where: {task: a}\n", 2, ["regressions[0]: give either reference or baseline"]),
        ("regressions:\n  - {reference: {seed: 0}, baseline: a.csv}\n", 2, ["either reference or baseline"]),
        ("regressions:\n  - reference: {}\n", 2, ["regressions[0].reference"]),
        ("regressions:\n  - {baseline: a.csv, alpha: 0}\n", 2, ["regressions[0].alpha: 0"]),
        ("bounds:\n  - at_least: [\n", 3, ["no YAML"]),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 't.yaml'}:{line}: ")
    assert "\n" not in message
    assert all(part in message for part in told)


@pytest.mark.parametrize("text", ["", "just words\n", "[1, 2]\n", "bounds:\n  - at_least: 2020-13-45\n"])
def test_what_has_no_checks_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml: "):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nowhere.yaml", tmp_path, tmp_path / "binary"):
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_thresholds(path)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_documented_thresholds_are_right(tmp_path: Path) -> None:
    written = (DOCS / "ci/thresholds.yaml").read_text(encoding="utf-8")
    shown = code_blocks(DOCS / "ci.md", "yaml")
    assert written in shown
    read_all = [read(tmp_path, text) for text in shown if "jobs:" not in text]
    assert sum(len(each.bounds) + len(each.regressions) for each in read_all) >= 6


def test_the_documented_workflow_says_what_tiltyard_takes(
    composed: Callable[..., DictConfig], in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (DOCS / "ci/github-actions.yml").read_text(encoding="utf-8")
    assert text in code_blocks(DOCS / "ci.md", "yaml")
    [job] = yaml.safe_load(text)["jobs"].values()
    commands = [
        shlex.split(step["run"]) for step in job["steps"] if step.get("run", "").startswith("tiltyard")
    ]
    (in_folder / "thresholds.yaml").write_bytes((DOCS / "ci/thresholds.yaml").read_bytes())
    sweeps = reports = 0
    for _, *arguments in commands:
        if arguments[0] == "report":
            reports += 1
            assert main(arguments) == 2
            assert "no runs are tracked in mlruns" in capsys.readouterr().err  # all else is right
        else:
            sweeps += 1
            assert arguments.pop(0) == "-m"
            for overrides in product(
                *(
                    [f"{key}={v}" for v in values.split(",")]
                    for key, _, values in (a.partition("=") for a in arguments)
                )
            ):
                check(composed(*overrides))
    assert (sweeps, reports) == (1, 2)
    assert any("GITHUB_STEP_SUMMARY" in step.get("run", "") for step in job["steps"])
