from collections.abc import Callable

import pytest

from tiltyard.evaluation.paired import compare, holm
from tiltyard.reporting.arms import axes_of, choose_reference
from tiltyard.reporting.per_axis import PerAxis, per_axis
from tiltyard.reporting.reading import Evidence
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
EvidenceOf = Callable[..., Evidence]

NONE = {str(n): 0.0 for n in range(12)}
ALL = {str(n): 1.0 for n in range(12)}
HALF = {str(n): float(n % 2) for n in range(12)}


def compared(evidence: Evidence, declared: str | None = None) -> PerAxis:
    reference = choose_reference(evidence.runs, declared)
    return per_axis(evidence, axes_of(evidence.runs, reference), reference)


def test_each_arm_is_compared_with_the_reference_of_its_task_and_model(
    track: Track, evidence_of: EvidenceOf
) -> None:
    found = compared(
        evidence_of(
            track(NONE, context=""),
            track(ALL, mode="ace", context=""),
            track(HALF, mode="bootstrap", context=""),
            track(ALL, model="embedded", context=""),
            track(HALF, model="embedded", mode="ace", context=""),
        )
    )
    tests = [compare(ALL, NONE), compare(HALF, NONE), compare(HALF, ALL)]
    by_arm = {one.line[1:]: one for one in found.compared}
    assert list(by_arm) == [("embedded", "ace"), ("lexical", "ace"), ("lexical", "bootstrap")]
    in_order = [tests[2], tests[0], tests[1]]
    assert [one.difference.mean for one in found.compared] == [test.mean for test in in_order]
    assert [one.p_adjusted for one in found.compared] == pytest.approx(holm([test.p for test in in_order]))
    assert [one.verdict for one in found.compared] == ["not told apart", "better", "not told apart"]
    assert by_arm["lexical", "ace"].remark == ""
    assert "examples" in by_arm["embedded", "ace"].remark  # what so few examples could have shown
    assert found.refused == []


def test_any_axis_can_be_compared(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [track(NONE), track(ALL, model="embedded"), track(ALL, mode="ace")]
    found = compared(evidence_of(*runs), "model=lexical")
    assert [(one.line[1], one.difference.mean) for one in found.compared] == [("embedded", 1.0)]


def test_params_can_be_compared(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [
        track(scores, mode="few", params={"optimizer.k": k}) for k, scores in {"1": NONE, "8": ALL}.items()
    ]
    [one] = compared(evidence_of(*runs), "optimizer.k=1").compared
    assert (one.line, one.difference.mean) == (("tatqa_tiny", "lexical", "few", "8"), 1.0)


def test_seeds_are_paired_with_the_same_seed(track: Track, evidence_of: EvidenceOf) -> None:
    [one] = compared(
        evidence_of(
            track(NONE, seed=0),
            track(HALF, seed=1),
            track(ALL, seed=0, mode="ace"),
            track(HALF, seed=1, mode="ace"),
            track(NONE, seed=2, mode="ace"),  # no baseline has this seed
        )
    ).compared
    assert one.by_seed == {"0": 1.0, "1": 0.0}
    assert one.difference.mean == pytest.approx(0.75 - 0.25)
    assert one.difference.examples == 12


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"task": "iot_tiny", "mode": "ace"}, "no run with optimizer=none has the same task and model"),
        ({"seed": 7, "mode": "ace"}, "no run with optimizer=none has the same seed"),
    ],
)
def test_what_has_no_counterpart_is_refused(
    track: Track, evidence_of: EvidenceOf, other: dict[str, str], reason: str
) -> None:
    found = compared(evidence_of(track(NONE), track(ALL, **other)))
    assert found.compared == []
    assert [one.reason for one in found.refused] == [reason]


def test_other_examples_are_refused_with_the_reason(track: Track, evidence_of: EvidenceOf) -> None:
    found = compared(evidence_of(track(NONE), track({"0": 1.0, "x": 1.0}, mode="ace")))
    [refused] = found.refused
    assert refused.line[2] == "ace"
    assert "examples" in refused.reason
    assert found.compared == []


def test_examples_that_were_edited_are_refused(track: Track, evidence_of: EvidenceOf) -> None:
    found = compared(evidence_of(track(NONE, gold="$5"), track(ALL, mode="ace", gold="$6")))
    [refused] = found.refused
    assert refused.reason == "12 of their examples differ in question, context or gold, such as '0'"


def test_each_seed_must_have_been_asked_the_same(track: Track, evidence_of: EvidenceOf) -> None:
    one, other = {"a": 0.0, "b": 0.0}, {"b": 1.0, "c": 1.0}
    found = compared(
        evidence_of(
            *(track(one, seed=0), track(other, seed=1)),
            *(track(other, seed=0, mode="ace"), track(one, seed=1, mode="ace")),
        )
    )
    [refused] = found.refused  # all seeds together were asked the same
    assert refused.reason.startswith("the arms were asked other examples with seed 0")


def test_seeds_that_disagree_are_told(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [track(NONE, seed=0), track(HALF, seed=1)]
    arms = [track(HALF, seed=0, mode="ace"), track(NONE, seed=1, mode="ace")]
    [one] = compared(evidence_of(*runs, *arms)).compared
    assert one.by_seed == {"0": 0.5, "1": -0.5}
    assert one.remark.endswith("its seeds disagree")


def test_a_refusal_names_the_reference(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [track(NONE), track({"0": 1.0}, model="embedded")]
    [refused] = compared(evidence_of(*runs), "model=lexical").refused
    assert refused.reason.startswith(
        "this arm and model=lexical are of different examples: 11 only in model="
    )


def test_without_a_reference_nothing_is_compared(track: Track, evidence_of: EvidenceOf) -> None:
    assert compared(evidence_of(track(ALL, mode="ace"))) == PerAxis(None, [], [])
