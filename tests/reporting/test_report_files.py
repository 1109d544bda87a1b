from collections.abc import Callable
from pathlib import Path

import pytest

from tiltyard.reporting.analysis import analyse
from tiltyard.reporting.reading import Evidence
from tiltyard.reporting.report_files import write_report
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
EvidenceOf = Callable[..., Evidence]

SCORES = {"a": 0.0, "b": 1.0}


@pytest.fixture
def one_seed(track: Track, evidence_of: EvidenceOf) -> Evidence:
    return evidence_of(track(SCORES))


@pytest.fixture
def two_seeds(track: Track, evidence_of: EvidenceOf) -> Evidence:
    return evidence_of(track(SCORES), track(SCORES, seed=1))


def figures_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").iterdir()}


def test_figures_of_an_earlier_report_go_and_other_files_stay(
    one_seed: Evidence, two_seeds: Evidence, tmp_path: Path
) -> None:
    write_report(analyse(two_seeds), tmp_path, command="")
    assert {"seeds.svg", "seeds.png"} <= figures_in(tmp_path)
    own = {"mine.svg", "differences.png"}  # named as a figure of another report, but of none in this folder
    for name in own:
        (tmp_path / "figures" / name).write_text("mine", encoding="utf-8")
    written = write_report(analyse(one_seed), tmp_path, command="")
    assert figures_in(tmp_path) == own | {path.name for path in written if path.parent.name == "figures"}
    assert "seeds.svg" not in figures_in(tmp_path)


@pytest.mark.parametrize(
    "text", [b"# tatqa_tiny/lexical/none/s0\n\n![Latencies](figures/latency.svg)\n", b"\xff\xfe no text"]
)
def test_a_report_md_of_another_kind_names_nothing_to_remove(
    one_seed: Evidence, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "latency.svg").write_text("a run's", encoding="utf-8")
    (tmp_path / "report.md").write_bytes(text)
    write_report(analyse(one_seed), tmp_path, command="")
    assert "latency.svg" in figures_in(tmp_path)
