from collections.abc import Callable

from tiltyard.reporting.disagreements import ANSWERS, disagreements
from tiltyard.reporting.reading import Evidence
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
EvidenceOf = Callable[..., Evidence]
AXES = ("task", "model", "mode")


def test_examples_that_arms_answer_alike_are_left_out(track: Track, evidence_of: EvidenceOf) -> None:
    evidence = evidence_of(
        track({"a": 1.0, "b": 0.0, "c": 0.0}, pred="one"),
        track({"a": 1.0, "b": 1.0, "c": 0.0}, mode="ace", pred="two"),
    )
    found = disagreements(evidence, AXES)
    assert found.total == 1
    [one] = found.shown
    assert (one.task, one.sample, one.question.text, one.question.gold) == (
        "tatqa_tiny",
        "b",
        "How much?",
        "$5 | $6",
    )
    assert [(answer.line[2], answer.text, answer.score) for answer in one.answers] == [
        ("baseline", "one", 0.0),
        ("ace", "two", 1.0),
    ]
    assert (one.right, one.spread, one.left_out) == (1, 1.0, 0)


def test_examples_of_one_id_and_another_question_are_not_mixed(track: Track, evidence_of: EvidenceOf) -> None:
    evidence = evidence_of(track({"a": 0.0}, question="one?"), track({"a": 1.0}, mode="ace", question="two?"))
    assert disagreements(evidence, AXES).total == 0


def test_every_task_gets_its_share(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [
        track({str(n): score for n in range(20)}, task=task, mode=mode)
        for task in ("a", "b")
        for mode, score in (("baseline", 0.0), ("ace", 1.0))
    ]
    found = disagreements(evidence_of(*runs), AXES, limit=7)
    assert [one.task for one in found.shown] == ["a"] * 4 + ["b"] * 3
    assert found.total == 40


def test_many_arms_are_cut_to_the_best_and_the_worst(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [track({"a": float(n > 0)}, mode=f"mode{n:02}") for n in range(ANSWERS + 5)]
    [one] = disagreements(evidence_of(*runs), AXES).shown
    assert len(one.answers) == ANSWERS
    assert one.left_out == 5
    assert (one.right, one.asked) == (ANSWERS + 4, ANSWERS + 5)  # of all, not of those shown
