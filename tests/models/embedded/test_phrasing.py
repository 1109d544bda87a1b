from hypothesis import given
from hypothesis import strategies as st

from tiltyard.models.embedded.phrasing import phrasings

WORD = st.text("abcdef ", max_size=4)


def test_alternatives_are_all_taken():
    assert set(phrasings("<Give|Name> the <owner|author>.")) == {
        "Give the owner.", "Give the author.", "Name the owner.", "Name the author.",
    }  # fmt: skip


def test_an_alternative_may_be_empty_and_a_field_stays():
    assert set(phrasings("Give <|the >{row}.")) == {"Give {row}.", "Give the {row}."}


@given(st.lists(st.lists(WORD, min_size=1, max_size=4), min_size=1, max_size=3), WORD)
def test_the_first_stays_first_and_each_comes_once(groups, more):
    template = "".join(f"<{'|'.join(group)}>" for group in groups)
    found = phrasings(template, more)
    assert found[0] == "".join(group[0] for group in groups)
    assert len(set(found)) == len(found)
    assert more in found


def test_the_order_of_the_others_is_not_that_of_the_template():
    found = phrasings("a <1|2|3|4|5|6|7|8|9>")
    assert found[0] == "a 1"
    assert list(found) != sorted(found)
