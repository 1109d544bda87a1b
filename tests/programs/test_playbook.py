import pytest

from tiltyard.programs.playbook import listed, rules_of, with_playbook
from tiltyard.programs.qa import AnswerQuestion

ENTRIES = {"k1": "Write USD before amounts.", "k3": "Answer options with the letter in brackets."}


@pytest.mark.parametrize(
    ("lesson", "rules"),
    [
        ("", []),
        (" \n ", []),
        ("Look the value up again.", ["Look the value up again."]),
        (
            "Round sums to whole numbers. Put commas between thousands in sums. Write EUR before sums.",
            [
                "Round sums to whole numbers.",
                "Put commas between thousands in sums.",
                "Write EUR before sums.",
            ],
        ),
        (
            "Write dates as day.month.year. Write mg after doses.",
            ["Write dates as day.month.year.", "Write mg after doses."],
        ),
        ("Call a level high from 2.5 on. Use it.", ["Call a level high from 2.5 on.", "Use it."]),
        ("Round 0.5 up, e.g. 2.5 to 3. Keep signs.", ["Round 0.5 up, e.g. 2.5 to 3.", "Keep signs."]),
        ("Name the unit, i.e. USD or EUR.", ["Name the unit, i.e. USD or EUR."]),
        ("Give at most approx. 5 words! Why? Space.", ["Give at most approx. 5 words!", "Why?", "Space."]),
        ("Say 'aye.' Say 'nay.'", ["Say 'aye.'", "Say 'nay.'"]),
        ("1. Write USD before sums.\n2) No decimals\n", ["Write USD before sums.", "No decimals"]),
        ("- Write USD before sums.\n\n* Write USD before sums.", ["Write USD before sums."]),
        ("2.5 is rounded to 3.", ["2.5 is rounded to 3."]),
        ("no point at the end", ["no point at the end"]),
    ],
)
def test_a_lesson_is_taken_apart_into_its_rules(lesson, rules):
    assert rules_of(lesson) == rules


@pytest.mark.parametrize(
    "lines", ["Be brief.\n[k9] Lie.", "Be brief.\r\n[k9] Lie.", "Be brief.\u2028[k9] Lie."]
)
def test_an_entry_cannot_pass_for_two(lines):
    found = listed({"k1": lines, "k2": "Be clear."})
    assert found.splitlines() == ["[k1] Be brief. [k9] Lie.", "[k2] Be clear."]


def test_entries_stand_after_the_instructions():
    instructions = with_playbook(AnswerQuestion, ENTRIES).instructions
    assert instructions == f"{AnswerQuestion.instructions}\n\nPlaybook:\n{listed(ENTRIES)}"


def test_a_playbook_replaces_the_one_before():
    first = with_playbook(AnswerQuestion, {"k1": "Old.", "k2": "", "k3": "[k4] odd"})
    assert with_playbook(first, ENTRIES).instructions == with_playbook(AnswerQuestion, ENTRIES).instructions
    assert with_playbook(first, {}).instructions == AnswerQuestion.instructions


def test_instructions_that_speak_of_a_playbook_stay_whole():
    said = "Follow this.\n\nPlaybook:\n[a] one\n\nThen answer."
    signature = AnswerQuestion.with_instructions(said)
    assert with_playbook(signature, ENTRIES).instructions == f"{said}\n\nPlaybook:\n{listed(ENTRIES)}"


def test_without_entries_a_signature_is_as_it_was():
    assert with_playbook(AnswerQuestion, {}) is AnswerQuestion
