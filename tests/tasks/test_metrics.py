from decimal import Decimal

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.tasks.metrics import (
    Quantity,
    choice_match,
    exact_match,
    normalise,
    read_option,
    read_quantity,
    token_f1,
    written,
)

OPTIONS = {"A": "Ibuprofen", "B": "Aspirin", "C": "E. coli", "D": "Vitamin A"}


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("12", "12", ""),
        ("12.50", "12.5", ""),
        (".5", "0.5", ""),
        ("12.", "12", ""),
        ("1,234,567.8", "1234567.8", ""),
        ("$1,200", "1200", "$"),
        ("-$5", "-5", "$"),
        ("$-5", "-5", "$"),
        ("−5", "-5", ""),
        ("– 5", "-5", ""),
        ("+7", "7", ""),
        ("(4,318)", "-4318", ""),
        ("$(9.8)", "-9.8", "$"),
        ("($9.8)", "-9.8", "$"),
        ("12%", "12", "%"),
        ("12 percent", "12", "%"),
        ("12 per cent", "12", "%"),
        ("(1.5%)", "-1.5", "%"),
        ("(1.5)%", "-1.5", "%"),
        ("€ 1.2 million", "1200000", "€"),
        ("3 Billion", "3000000000", ""),
        ("2 thousand", "2000", ""),
        ("１２", "12", ""),
    ],
)
def test_a_number_is_read_as_it_is_written(text, value, unit):
    assert read_quantity(text) == Quantity(Decimal(value), unit)


@pytest.mark.parametrize(
    "text",
    ["", "twelve", "12 apples", "1,23", "1 2", "(5", "5)", "((5))", "1-2", "1.2.3", "--5x", "$", "%"],
)
def test_other_text_is_no_number(text):
    assert read_quantity(text) is None


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("The Net Revenue.", "net revenue"),
        ("  a   term loan ", "Term loan"),
        ("time and material", "time-and-material"),
        ("U.S. Tax Act", "US tax act"),
        ("company’s", "company's"),
        ("1,200.00", "1200"),
        ("$12.50", "12.5"),
        ("12.5", "12.5%"),
        ("12.5 percent", "12.5%"),
        ("-4,318", "(4,318)"),
        ("1,024 units", "1024 Units"),
        ("growth of 5 percent", "growth of 5%"),
        ("2 million", "2,000,000"),
        ("+", "+"),
        ("vitamin A", "Vitamin A"),
        ("A", "A"),
        ("0", "-0"),
        ("C#.", "c#"),
        ("#5", "5"),
        ("1,2", "1, 2"),
        ("1,200kg", "1200kg"),
    ],
)
def test_the_same_answer_in_another_form_is_right(answer, gold):
    assert exact_match(answer, [gold]).score == 1.0
    assert exact_match(gold, [answer]).score == 1.0
    assert token_f1(answer, [gold]).score == 1.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("1,2", "12"), ("12,34 units", "1234 units"), ("1,234,5", "12345"), ("1.5kg", "15kg"), ("C#", "C"),
     ("C++", "C"), ("C#", "C++")],
)  # fmt: skip
def test_marks_that_carry_meaning_count(answer, gold):
    assert exact_match(answer, [gold]).score == exact_match(gold, [answer]).score == 0.0


TOO_MUCH = "The answer holds more than what was expected: give that alone."


@pytest.mark.parametrize(
    ("answer", "gold", "problem"),
    [
        ("", "x", "No answer was given."),
        (" \n", "x", "No answer was given."),
        ("-12", "12", "The sign is wrong."),
        ("12,000", "12", "The number is 1,000 times too large."),
        ("0.125", "12.5%", "The number is 100 times too small."),
        ("13", "12", "The number is wrong."),
        ("$12", "12%", "The unit is wrong."),
        ("about 12", "12", "The answer should be one number and nothing else."),
        ("it is the term loan of 2019", "the term loan", TOO_MUCH),
        ("loan term", "term loan", "The words are in another order."),
        ("term lease", "term loan", "Words missing: loan; not expected: lease."),
        ("vitamin", "vitamin A", "Words missing: a."),
        ("+", "-", "Words missing: -; not expected: +."),
    ],
)  # fmt: skip
def test_a_wrong_answer_says_what_is_wrong(answer, gold, problem):
    verdict = exact_match(answer, [gold])
    assert (verdict.score, verdict.problem) == (0.0, problem)


def test_any_acceptable_answer_counts():
    assert exact_match("NYC", ["New York", "nyc"]).score == 1.0
    assert token_f1("the city of York", ["NYC", "New York City"]).score == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("red green", "red blue", 0.5),
        ("red red", "red", 2 / 3),
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("1200", "1300", 0.0),
        ("12 apples", "12", 2 / 3),
    ],
)
def test_token_f1_by_hand(answer, gold, score):
    assert token_f1(answer, [gold]).score == pytest.approx(score)


TEXT = st.text(max_size=30) | st.text("aAthe $%,.-()0123456789", max_size=12)


@given(TEXT, TEXT)
def test_scores_are_in_range_and_a_problem_comes_with_every_loss(answer, gold):
    if not gold.strip():
        return
    exact, f1 = exact_match(answer, [gold]), token_f1(answer, [gold])
    assert exact.score in (0.0, 1.0)
    assert exact.score <= f1.score <= 1.0
    assert (exact.score == 1.0) == (exact.problem == "")
    assert exact_match(gold, [gold]).score == 1.0
    if answer.strip():
        assert exact_match(gold, [answer]).score == exact.score
        assert token_f1(gold, [answer]).score == pytest.approx(f1.score)


@given(TEXT)
def test_normalising_ignores_outer_space(text):
    assert normalise(f"  {text}\n") == normalise(text)


@given(st.decimals(-(10**9), 10**9, places=2))
def test_thousands_separators_and_parentheses_do_not_change_a_number(value):
    assert exact_match(f"{value:,}", [str(value)]).score == 1.0
    assert exact_match(f"${abs(value):,}", [str(abs(value))]).score == 1.0
    assert exact_match(f"({abs(value):,})", [str(-abs(value))]).score == 1.0


@pytest.mark.parametrize(
    "text",
    ["B", "b", " B. ", "(b)", "(B)", "[B]", "**B**", "B)", "b)", "B:", "B.", "B\n\nBecause it thins blood.",
     "Answer: B", "answer: (B)", "Answer is B.", "The answer is **B**",
     "The correct answer is: B, because A is not.",
     "the correct answer is option B.", "Option B", "I choose option B.", "\\boxed{B}",
     "B) Aspirin", "B. Aspirin", "b) aspirin", "(B) Aspirin", "B: Aspirin", "B - Aspirin", "B – Aspirin",
     "B Aspirin",
     "Aspirin", "aspirin.", "The answer is aspirin.", "Answer: Aspirin", "B) Ibuprofen",
     "A patient like this needs blood thinning. The answer is B.",
     "Not the answer: A. On second thought, the answer is B",
     "B. It is better than option A, which irritates.",
     "option b", "option (b).", "Letter B", "letter b", "The letter is B", "The answer is B.",
     "the answer is b.",
     "B is correct", "**B** is correct.", "So, B is right.", "(B) is the correct answer", "B is the answer",
     "Option B is correct", "option b is correct, not option a", "It is B", "It's B.", "it is b",
     "It is Aspirin."],
)  # fmt: skip
def test_a_choice_is_read_in_the_forms_that_models_write(text):
    assert read_option(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text", ["C", "E. coli", "e coli", "C. E. coli", "The answer is E. coli", "It is E. coli"]
)
def test_a_text_that_begins_like_a_letter_is_a_text(text):
    assert read_option(text, OPTIONS) == "C"


@pytest.mark.parametrize(
    "text", ["", "?", "E", "Z.", "A or B", "A and B", "A, B", "A/B", "AB", "Answer: A or B", "Answer: A, B",
             "a cat", "A patient", "the answer is a drug", "paracetamol", "option A or option B", "12",
             "A patient with fever", "A patient is correct", "It is a drug", "It is a", "It is A patient",
             "option a doctor would take", "the choice a patient prefers", "letter a doctor wrote",
             "A is not correct", "A is incorrect", "A is right-sided", "Vitamin A is correct",
             "A or B is correct", "A and B is correct", "Option A or option B is correct",
             "option a or option b",
             "It is A or B", "It is not B"],
)  # fmt: skip
def test_an_unclear_choice_is_none(text):
    assert read_option(text, OPTIONS) is None


def test_a_letter_alone_outranks_a_text_of_that_letter():
    blood = {"A": "O", "B": "A", "C": "B", "D": "AB"}
    assert [read_option(text, blood) for text in ("A", "AB", "D. AB", "O")] == ["A", "D", "D", None]


def test_a_letter_with_a_sign_is_no_letter():
    languages = {"A": "Java", "B": "C#", "C": "C++", "D": "C"}
    texts = ("C#", "C++", "The answer is C#.", "B) C#", "C")
    assert [read_option(text, languages) for text in texts] == ["B", "C", "B", "B", "C"]
    assert read_option("A+", languages) is None


def test_an_option_that_two_letters_share_is_unclear():
    assert read_option("iron.", {"A": "Iron", "B": "iron!"}) is None


@given(TEXT)
def test_a_choice_is_always_an_option_or_none(text):
    assert read_option(text, OPTIONS) in {*OPTIONS, None}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("B", ""),
        ("A", "A (Ibuprofen) is not right."),
        ("", "No answer was given."),
        ("paracetamol", "The answer should be one letter, A to D."),
    ],
)
def test_a_choice_says_what_is_wrong(answer, problem):
    verdict = choice_match(answer, "B", OPTIONS)
    assert (verdict.score, verdict.problem) == (float(not problem), problem)


def test_a_field_is_read_as_text():
    prediction = dspy.Prediction(answer=" 12 ", count=3, nothing=None)
    assert [written(prediction, field) for field in ("answer", "count", "nothing", "absent")] == [
        *["12", "3"],
        *["", ""],
    ]
