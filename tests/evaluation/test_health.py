import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.config import HealthLimits
from tiltyard.errors import JobError
from tiltyard.evaluation.failures import Failure
from tiltyard.evaluation.health import (
    CHECKS,
    constant_rate,
    duplicate_rate,
    exceeded,
    health,
    position_skew,
    refuse_unhealthy,
)
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import COLUMNS, Row
from tiltyard.evaluation.trial import Trial
from tiltyard.telemetry.usage import Usage


def row(gold="a", pred="a", error="", finish_reason="stop"):
    blank = {**dict.fromkeys(COLUMNS, ""), "cached": 0}
    score = float(gold == pred and not error)
    found = {"gold": gold, "pred": pred, "error": error, "finish_reason": finish_reason}
    return Row(**{**blank, **found, "score": score, "correct": int(score)})


def trial(kind=None, **values):
    failure = Failure("", "generate", "1", kind, "", "") if kind else None
    error = f"{kind}: it did" if kind else ""
    found = {**values, **({"pred": ""} if kind else {})}
    return Trial(row(**found, error=error), Usage(calls=1), {}, failure)


def asked(question, **more):
    return dspy.Example(id=question, question=question, **more).with_inputs("question")


def choice(question, gold, letters="ABCD"):
    choices = {letter: f"{letter} of {question}" for letter in letters}
    options = "\n".join(f"{letter}. {text}" for letter, text in choices.items())
    fields = {"question": question, "options": options, "choices": choices, "answer": gold}
    return dspy.Example(id=question, **fields).with_inputs("question", "options")


def test_every_check_has_a_rate_and_a_limit():
    trials = [
        trial(pred="a", finish_reason="length"),
        trial("parse", finish_reason="length"),
        trial("timeout"),
        trial("metric"),
        trial(pred=" "),
        *[trial(gold=gold, pred="b") for gold in ("a", "b", "c", "d", "e")],
    ]
    found = health(
        Evaluation.of(trials, seconds=1.0), [choice("Why", "A"), asked("How?")], seen=[asked("Why?")]
    )
    assert found == {
        "health.truncated": 0.2,
        "health.unparsed": 0.1,
        "health.error": 0.2,
        "health.empty": 0.1,
        "health.constant": 1.0 * 4 / 5,  # b five times; of five others with another gold, one got a
        "health.duplicates": 0.0,
    }
    names = set(HealthLimits.__dataclass_fields__)
    assert (
        names
        == {check.name for check in CHECKS}
        == {*(n.partition(".")[2] for n in found), "gold_position_skew"}
    )


@pytest.mark.parametrize(
    ("pairs", "rate"),
    [
        ([("yes", "yes"), ("yes", "yes"), ("no", "yes")], 1.0),  # blind: it says yes to the only no as well
        ([("yes", "yes"), ("yes", "yes"), ("no", "no")], 0.0),
        ([("yes", "yes"), ("yes", "yes")], 0.0),  # a constant that is right everywhere
        ([("yes", "Yes."), ("no", "yes"), ("no", "no")], 0.5),
        ([("a", "x"), ("b", "y"), ("c", "z")], 0.0),  # nothing was said twice
        ([("a", "x"), ("b", "x"), ("c", "z")], 2 / 3),
        ([("a", ""), ("b", "")], 0.0),  # no answer is no constant
        ([], 0.0),
    ],
)
def test_a_constant_answer_by_hand(pairs, rate):
    assert constant_rate([row(gold, pred) for gold, pred in pairs]) == pytest.approx(rate)


def test_a_constant_that_was_right_stands_for_its_gold_in_any_form():
    right = Row(**{**vars(row("1200", "$1,200")), "correct": 1})
    assert constant_rate([right, right, row("1200", "$1,200"), row("7", "8")]) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=20))
def test_rates_are_shares(pairs):
    assert 0.0 <= constant_rate([row(gold, pred) for gold, pred in pairs]) <= 1.0


def test_duplicates_are_found_by_their_words():
    test = [asked("What is 5 + 5?"), asked("What is 6?"), asked("Who?")]
    assert duplicate_rate(test, [asked(" what IS 5+5 "), asked("Where?")]) == pytest.approx(1 / 3)
    assert duplicate_rate(test, []) == duplicate_rate([], test) == 0.0
    # Other inputs with the same words are others.
    context = dspy.Example(id="1", question="", context="Who?").with_inputs("question", "context")
    assert duplicate_rate([asked("Who?")], [context]) == 0.0


def test_a_choice_with_its_options_in_another_order_is_the_same():
    one, other = choice("Why?", "A"), choice("Why?", "A")
    swapped = {
        "A": other.choices["B"],
        "B": other.choices["A"],
        "C": other.choices["C"],
        "D": other.choices["D"],
    }
    text = "\n".join(f"{letter}. {option}" for letter, option in swapped.items())
    reordered = dspy.Example(**{**dict(other), "choices": swapped, "options": text, "answer": "B"})
    assert duplicate_rate([one], [reordered.with_inputs("question", "options")]) == 1.0
    assert duplicate_rate([one], [choice("Why?", "A", "ABC")]) == 0.0


@pytest.mark.parametrize(
    ("golds", "skew"),
    [("ABCD", 0.0), ("AAAA", 0.75), ("AABC", 0.25), ("AABB", 0.25), ("A" * 3 + "BCDBCDBCD", 0.0)],
)
def test_the_skew_of_gold_positions_by_hand(golds, skew):
    examples = [choice(f"q{number}", gold) for number, gold in enumerate(golds)]
    assert position_skew(examples) == pytest.approx(skew)


def test_questions_with_fewer_options_expect_their_own_share():
    # Half have two options: A is expected in (1/2 + 1/4) / 2 = 3/8 of all, and stands in one half.
    examples = [choice("p", "A", "AB"), choice("q", "C"), choice("r", "B", "AB"), choice("s", "A")]
    assert position_skew(examples) == pytest.approx(1 / 2 - 3 / 8)
    assert position_skew([asked("Why?")]) is None
    assert position_skew([]) is None


def test_a_run_fails_by_every_limit_that_it_exceeds_and_by_no_other():
    rates = {"health.truncated": 0.3, "health.unparsed": 0.2, "health.error": 0.0}
    limits = HealthLimits(truncated=0.1, unparsed=0.2, error=0.0, gold_position_skew=0.1)
    assert exceeded(rates, limits) == {"truncated": (0.3, 0.1)}
    with pytest.raises(JobError) as failed:
        refuse_unhealthy({**rates, "health.error": 0.125}, limits)
    told = str(failed.value)
    assert "truncated is 0.3, above evaluation.fail_on.truncated=0.1" in told
    assert "error is 0.125, above evaluation.fail_on.error=0" in told
    assert "unparsed" not in told
    assert told.endswith("its results are complete and recorded")
    refuse_unhealthy(rates, HealthLimits())
