import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.optimizers.cheatsheet.guard import Guard, loss_of, trimmed
from tiltyard.optimizers.playbook.entry import tokens

NOTES = [
    "- Write USD before sums of money.",
    "- Round weights to a whole number of kilograms.",
    "- A date has its day first and no year.",
    "- Shares stand with a space before the percent sign.",
    "- Unknown values are written as three dashes.",
]
SHEET = "\n".join(NOTES)
lines = st.text("abcde 12", max_size=20).map(str.strip)
sheets = st.lists(lines.filter(bool), max_size=12, unique=True).map("\n".join)
guards = st.builds(
    Guard,
    budget_tokens=st.integers(1, 40),
    over_budget=st.sampled_from(["trim", "refuse"]),
    max_loss=st.floats(0, 1),
    guarded_from=st.integers(0, 20),
)


@pytest.mark.parametrize(
    ("new", "lost"),
    [
        (SHEET, 0.0),
        (f"{SHEET}\n- Say yes or no in capitals.", 0.0),
        ("\n".join(reversed(NOTES)), 0.0),
        ("\n".join(note.replace("- ", "* ", 1).upper() for note in NOTES), 0.0),
        (SHEET.replace("- Round weights to a whole number", "4. Round all weights to whole numbers"), 0.0),
        ("", 1.0),
        ("- Be careful with every answer that you give to the people of the house.", 1.0),
    ],
)
def test_what_is_lost_is_told_by_lines_that_stand_there_no_more(new, lost):
    assert loss_of(SHEET, new).lines == lost


def test_lines_weigh_by_their_tokens():
    loss = loss_of("- short\n- " + "very long indeed " * 10, "- short")
    assert loss.lines == pytest.approx(30 / 32, abs=0.05)


def test_words_of_one_old_line_are_looked_for_in_one_new_line():
    scattered = "\n".join(NOTES[0].split())
    assert loss_of(NOTES[0], scattered).lines == 1.0


def test_a_collapse_is_refused():
    ruling = Guard(guarded_from=0).judge(SHEET, NOTES[0])
    assert (ruling.verdict, ruling.sheet) == ("refused", SHEET)
    assert "loses" in ruling.reason
    assert "more than 30%" in ruling.reason


def test_a_sheet_of_the_same_length_and_other_contents_is_a_collapse_too():
    other = "\n".join(f"- {note[::-1]}" for note in NOTES)
    ruling = Guard(guarded_from=0).judge(SHEET, other)
    assert ruling.verdict == "refused"
    assert ruling.loss.tokens < 0.1
    assert ruling.loss.lines == 1.0


def test_how_much_may_be_lost_is_configured():
    fewer = "\n".join(NOTES[:3])
    assert Guard(guarded_from=0, max_loss=0.3).judge(SHEET, fewer).verdict == "refused"
    assert Guard(guarded_from=0, max_loss=0.5).judge(SHEET, fewer).sheet == fewer


def test_a_small_sheet_may_be_replaced_but_not_emptied():
    guard = Guard(guarded_from=64)
    assert guard.judge("- wrong", "- right").sheet == "- right"
    assert guard.judge("- wrong", "").verdict == "refused"


def test_over_the_budget_whole_lines_go_from_the_end():
    budget = tokens(NOTES[0]) + tokens(NOTES[1])
    ruling = Guard(budget).judge(NOTES[0], SHEET)
    assert ruling.sheet == "\n".join(NOTES[:2])
    assert ruling.trimmed_tokens == tokens(SHEET) - budget
    assert Guard(budget, "refuse").judge(NOTES[0], SHEET).sheet == NOTES[0]


def test_what_only_adds_over_the_budget_changes_nothing():
    ruling = Guard(tokens(SHEET)).judge(SHEET, f"{SHEET}\n- one more")
    assert (ruling.verdict, ruling.sheet) == ("unchanged", SHEET)


def test_a_first_line_over_the_budget_is_refused():
    assert Guard(2).judge("", NOTES[0]).verdict == "refused"


@settings(deadline=None)  # the machine may be busy
@given(guards, sheets, sheets)
def test_what_stands_afterwards_is_the_old_sheet_or_a_part_of_the_new_one_that_keeps_the_conditions(
    guard, old, new
):
    old = trimmed(old, guard.budget_tokens)
    ruling = guard.judge(old, new)
    assert tokens(ruling.sheet) <= guard.budget_tokens
    if ruling.verdict == "kept":
        assert new.splitlines()[: len(ruling.sheet.splitlines())] == ruling.sheet.splitlines()
        assert tokens(old) < guard.guarded_from or ruling.loss.share <= guard.max_loss
    else:
        assert ruling.sheet == old
        assert ruling.reason


@settings(deadline=None)
@given(sheets, sheets)
def test_a_loss_is_a_share_and_adding_loses_nothing(old, more):
    loss = loss_of(old, more)
    assert 0 <= loss.tokens <= 1
    assert 0 <= loss.lines <= 1
    assert loss_of(old, f"{old}\n{more}").share == 0
