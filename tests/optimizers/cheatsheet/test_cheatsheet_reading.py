import pytest

from tiltyard.optimizers.cheatsheet.reading import read_sheet, salvaged, says_nothing

SHEET = "- one note\n- another note"


@pytest.mark.parametrize(
    "text",
    [
        SHEET,
        f"\n{SHEET}\n\n",
        "- one note   \n\n\n- another note",
        f"```markdown\n{SHEET}\n```",
        f"<cheatsheet>\n{SHEET}\n</cheatsheet>",
        f"Here is it:\n<CHEATSHEET>\n{SHEET}\n</CHEATSHEET>\nGood luck!",
        f"{SHEET}\n[[ ## completed ## ]]",
        f"{SHEET}\n[[ ## answer ## ]]\n42",
        "- one note\n- another note\n- one note",
    ],
)
def test_a_sheet_is_its_lines(text):
    assert read_sheet(text) == SHEET


def test_the_structure_of_a_sheet_stays():
    sheet = "# Forms\n- sums:\n    - USD first\n# Methods\n- add up"
    assert read_sheet(sheet) == sheet


@pytest.mark.parametrize(
    "reply",
    [
        f"<cheatsheet>\n{SHEET}\n</cheatsheet>",
        f"<cheatsheet>\n{SHEET}",
        f"[[ ## Cheatsheet ## ]\n{SHEET}",
        f"[ cheatsheet ]\n{SHEET}\n\n[[ ## completed ## ]]",
        f"**Cheatsheet:**\n{SHEET}",
        f"## Cheatsheet\n{SHEET}",
        f"Sure, I add a note.\n\n{SHEET}",
    ],
)
def test_a_broken_reply_is_searched_for_the_sheet(reply):
    assert salvaged(reply) == SHEET


@pytest.mark.parametrize("reply", ["", "I do not know.", "The answer is 42, and that is right."])
def test_what_is_no_sheet_is_not_taken_for_one(reply):
    assert salvaged(reply) == ""


@pytest.mark.parametrize("text", ["(empty)", "NONE", "No changes.", "unchanged", "- none"])
def test_a_word_for_nothing_is_understood(text):
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["", "- none of the sums has a unit", "- write unchanged sums as they are"])
def test_a_note_is_not_a_word_for_nothing(text):
    assert not says_nothing(text)
