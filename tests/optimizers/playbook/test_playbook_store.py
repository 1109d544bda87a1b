import copy
import json

import pytest

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry, tokens
from tiltyard.optimizers.playbook.operations import Add, Merge, Remove, Tag, Unreadable, Update
from tiltyard.optimizers.playbook.playbook import Playbook, difference


@pytest.fixture
def playbook():
    playbook = Playbook()
    playbook.apply(Add("Amounts", "Write USD\nbefore  amounts."), step=0, sources=["e1", "e1"])
    playbook.apply(Add("dates", "Use dots."), step=1, sources=["e2"])
    playbook.apply(Add("", "Round doses."), step=2)
    return playbook


def test_an_addition_is_one_line_with_an_id_and_its_sources(playbook):
    assert playbook["k1"] == Entry("k1", "amounts", "Write USD before amounts.", sources=("e1",))
    assert playbook["k3"].section == "general"
    assert playbook.contents() == {
        "k1": "Write USD before amounts.",
        "k2": "Use dots.",
        "k3": "Round doses.",
    }


def test_half_a_character_of_a_model_does_no_harm(playbook):
    playbook.apply(Add("x\ud800", "Write \udfff first."), step=3)
    assert playbook["k4"].content == "Write ? first."
    assert Playbook.loads(playbook.dumps().encode().decode()) == playbook


def test_an_update_keeps_id_section_and_counts(playbook):
    playbook.apply(Tag("k1", "helpful"), step=3)
    outcome = playbook.apply(Update("k1", "Write EUR before amounts."), step=3, sources=["e9"])
    assert (outcome.applied, outcome.id) == (True, "k1")
    assert playbook["k1"] == Entry(
        "k1", "amounts", "Write EUR before amounts.", helpful=1, sources=("e1", "e9")
    )


def test_a_merger_sums_counts_and_unites_sources(playbook):
    playbook.credit("k1", "helpful", step=3)
    playbook.credit("k2", "helpful", step=3)
    playbook.credit("k2", "harmful", step=3)
    playbook.shown(["k1", "k2"], step=3)
    playbook.shown(["k2"], step=5)
    outcome = playbook.apply(Merge(("k2", "k1"), "Both."), step=6, sources=["e3"])
    assert outcome.id == "k1"
    assert playbook["k1"] == Entry(
        "k1",
        "amounts",
        "Both.",
        helpful=2,
        harmful=1,
        uses=3,
        created=0,
        last_used=5,
        sources=("e1", "e2", "e3"),
    )
    assert list(playbook.contents()) == ["k1", "k3"]


@pytest.mark.parametrize(
    "operation",
    [
        Add("x", " \n"),
        Update("k9", "Round."),
        Update("k1", ""),
        Merge(("k1", "k9"), "Both."),
        Merge(("k1", "k1"), "Both."),
        Merge(("k1", "k2"), " "),
        Remove("k9"),
        Tag("k9", "helpful"),
        Tag("k1", "splendid"),
    ],
)
def test_what_cannot_be_applied_changes_nothing_and_is_recorded(playbook, operation):
    before, events = playbook.copy(), len(playbook.history)
    outcome = playbook.apply(operation, step=3)
    assert not outcome.applied
    assert outcome.reason
    assert playbook == before
    assert len(playbook.history) == events + 1


def test_ids_are_never_used_again(playbook):
    playbook.apply(Remove("k3"), step=3)
    playbook.credit("k1", "helpful", step=3)
    assert playbook.apply(Add("x", "New."), step=3).id == "k4"
    playbook.prune("k4", "why", step=3)
    loaded = Playbook.loads(playbook.dumps())
    assert loaded.apply(Add("x", "Newer."), step=0).id == "k5"


def test_ids_do_not_collide_with_those_it_starts_with():
    playbook = Playbook([Entry("k7", "x", "Seven."), Entry("k2", "x", "Two.")])
    assert [entry.id for entry in playbook.entries] == ["k2", "k7"]
    assert playbook.apply(Add("x", "New."), step=0).id == "k8"
    with pytest.raises(ValueError, match="one id"):
        Playbook([Entry("k7", "x", "Seven."), Entry("k7", "x", "Other.")])


def test_use_counts_each_entry_once(playbook):
    playbook.shown(["k1", "k1"], step=4)
    assert (playbook["k1"].uses, playbook["k1"].last_used) == (1, 4)
    assert playbook["k2"].last_used is None
    with pytest.raises(KeyError):
        playbook.shown(["k2", "k9"], step=5)
    assert playbook["k2"].uses == 0


def test_tokens_follow_every_change(playbook):
    for operation in (
        Update("k1", "A much longer rule about amounts in thousands."),
        Merge(("k1", "k2"), "Short."),
        Remove("k3"),
        Tag("k1", "helpful"),
    ):
        playbook.apply(operation, step=5)
        assert playbook.tokens == sum(tokens(entry.line) for entry in playbook.entries)


def test_tokens_count_letters_digits_signs_and_wide_characters():
    assert tokens("") == 0
    assert tokens("amounts") == 2
    assert tokens("123456 7") == 3
    assert tokens("(C).") == 4
    assert tokens("料金は") == 3


def test_files_hold_the_playbook(playbook):
    playbook.credit("k2", "harmful", step=3)
    playbook.shown(["k2"], step=4)
    text = playbook.dumps()
    assert json.loads(text.splitlines()[0]) == {"format": 1, "next": 4}
    assert len(text.splitlines()) == 1 + len(playbook)
    assert Playbook.loads(text) == playbook
    assert Playbook.loads(text).tokens == playbook.tokens


def lines(*records):
    return "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)


HEADER = {"format": 1, "next": 3}
GOOD = {"id": "k1", "section": "x", "content": "Rule."}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("nonsense", "line 1"),
        (lines({"format": 2, "next": 1}), "line 1"),
        (lines({"format": 1, "next": 0}), "line 1"),
        (lines({"format": 1}), "line 1"),
        (lines(HEADER, GOOD, "{"), "line 3"),
        (lines(HEADER, GOOD, GOOD), "line 3"),
        (lines(HEADER, {**GOOD, "id": "k3"}), "line 2.*id"),
        (lines(HEADER, {**GOOD, "id": "rule-1"}), "line 2"),
        (lines(HEADER, {**GOOD, "content": "two\nlines"}), "line 2"),
        (lines(HEADER, {**GOOD, "helpful": -1}), "line 2"),
        (lines(HEADER, {**GOOD, "helpful": "1"}), "line 2"),
        (lines(HEADER, {**GOOD, "colour": "red"}), "line 2"),
        (lines(HEADER, {"id": "k1", "section": "x"}), "line 2"),
        (lines(HEADER, [1]), "line 2"),
    ],
)
def test_a_bad_file_names_its_line(text, complaint):
    with pytest.raises(InputError, match=complaint):
        Playbook.loads(text)


def test_a_copy_stands_alone(playbook):
    for other in (playbook.copy(), copy.deepcopy(playbook)):
        assert other == playbook
        other.apply(Remove("k1"), step=0)
        assert "k1" in playbook


def test_a_playbook_is_carried_over_with_its_order(playbook):
    playbook.shown(["k1"], step=9)
    carried = playbook.carried_over()
    assert [(entry.created, entry.last_used) for entry in carried.entries] == [
        (-10, -1),
        (-9, None),
        (-8, None),
    ]
    assert carried.next_number == playbook.next_number
    assert carried.contents() == playbook.contents()
    assert Playbook().carried_over() == Playbook()


def test_people_read_it_by_section(playbook):
    playbook.apply(Add("amounts", "Use commas."), step=3)
    playbook.credit("k4", "helpful", step=3)
    assert playbook.rendered() == (
        "## amounts\n[k1] Write USD before amounts.\n[k4] Use commas.  (helpful 1)\n\n"
        "## dates\n[k2] Use dots.\n\n## general\n[k3] Round doses."
    )


def test_a_difference_shows_what_came_changed_and_went(playbook):
    before = playbook.copy()
    assert difference(before, playbook) == ""
    playbook.apply(Update("k1", "Write EUR before amounts."), step=3)
    playbook.credit("k3", "harmful", step=3)
    playbook.apply(Remove("k2"), step=3)
    playbook.apply(Add("new", "Use commas."), step=3)
    assert difference(before, playbook).splitlines() == [
        "~ [k1] amounts: Write EUR before amounts. (was: Write USD before amounts.)",
        "- [k2] dates: Use dots.",
        "~ [k3] general: Round doses. (harmful 0 → 1)",
        "+ [k4] new: Use commas.",
    ]


def test_what_is_refused_is_recorded_and_changes_nothing(playbook):
    before = playbook.copy()
    outcome = playbook.refuse(Unreadable("?", "no operation"), "no operation", step=3, sources=["e5"])
    assert (outcome.applied, outcome.reason) == (False, "no operation")
    assert playbook == before
    assert "no operation" in playbook.history.dumps()
