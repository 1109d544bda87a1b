import pytest

from tiltyard.optimizers.playbook.quality import refusal, vagueness

SPECIFIC = [
    "Write USD before amounts.",
    "Round readings to whole numbers.",
    "Write zorib instead of yes.",
    "Call a level high from 51 on.",
    "Write yes instead of no.",
    "Write zorib before sums.",
    "Answer options with the letter in brackets.",
    "Answer options with their text, not the letter.",
    "Options: write the text, not the letter.",
    "No decimals in doses; round them.",
    "Write IT before sums.",
    "Write dates as day.month.year.",
    "Answer with the number only.",
    "Give the text of an option, not its letter.",
    "Runde Messwerte auf ganze Zahlen.",
]
GENERIC = [
    "Be careful.",
    "Read the question twice.",
    "Always double-check your answer.",
    "ALWAYS DOUBLE-CHECK YOUR ANSWER!",
    "Look the value up again.",
    "Think step by step before answering.",
    "Make sure to provide accurate answers.",
    "Use the text to answer the question.",
    "Consider all relevant information carefully.",
    "Make no mistakes.",
    "It depends.",
    "...",
    "",
]


@pytest.mark.parametrize("rule", SPECIFIC)
def test_short_and_specific_rules_are_let_in(rule):
    assert refusal(rule) is None


@pytest.mark.parametrize("rule", GENERIC)
def test_advice_for_every_question_is_refused(rule):
    assert vagueness(rule) == 1.0
    assert repr(rule) in refusal(rule)


def test_vagueness_is_a_share_with_a_threshold_of_ones_own():
    rule = "Always carefully check and verify the units."
    assert 0.5 < vagueness(rule) < 1.0
    assert refusal(rule, max_vagueness=1.0) is None
    assert "vague" in refusal(rule, max_vagueness=0.5)
    assert vagueness("Write USD before amounts.") < vagueness(rule)


@pytest.mark.parametrize("rule", ["Write souk" + "ou" * 40, "Use LE " * 12, "Put commas" + "!" * 12])
def test_a_rule_that_does_not_find_its_end_is_refused(rule):
    assert "over and over" in refusal(rule, max_vagueness=1.0)
