import json

import pytest

from tiltyard.optimizers.playbook.operations import (
    Add,
    Merge,
    Remove,
    Tag,
    Unreadable,
    Update,
    as_record,
    from_record,
    kind_of,
    read_operations,
)


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("ADD amounts: Write USD before amounts.", Add("amounts", "Write USD before amounts.")),
        ("- add [amounts]: 'Write USD before amounts.'", Add("amounts", "Write USD before amounts.")),
        ("1. ADD: Write USD before amounts.", Add("general", "Write USD before amounts.")),
        ("**ADD** options: Options: letter, colon, text.", Add("options", "Options: letter, colon, text.")),
        ("[ADD dates: Use day.month.year.]", Add("dates", "Use day.month.year.")),
        ('ADD labels: Write "ok" instead of "yes"', Add("labels", 'Write "ok" instead of "yes"')),
        (
            "ADD When a level stands at the limit or above it is high: from 51 on",
            Add("general", "When a level stands at the limit or above it is high: from 51 on"),
        ),
        ("UPDATE k3: Round doses.", Update("k3", "Round doses.")),
        ("update [K03] Round doses.", Update("k3", "Round doses.")),
        ("UPDATE: 3: Round doses.", Update("k3", "Round doses.")),
        ("MERGE k1, k2: Round doses.", Merge(("k1", "k2"), "Round doses.")),
        ("MERGE [k1] and [k2], K1: Round doses.", Merge(("k1", "k2"), "Round doses.")),
        ("REMOVE k4", Remove("k4")),
        ("delete (k4).", Remove("k4")),
        ("TAG k1 helpful", Tag("k1", "helpful")),
        ("TAG [k1]: Harmful.", Tag("k1", "harmful")),
        ("tag k1 as neutral", Tag("k1", "neutral")),
    ],
)
def test_a_line_is_read_in_every_dress(line, operation):
    assert read_operations(line) == [operation]


@pytest.mark.parametrize("text", ["", "  \n\n", "NONE", "none.", "- NONE", "```\nNONE\n```"])
def test_nothing_is_asked_for(text):
    assert read_operations(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "I would leave it.",
        "ADD",
        "ADD a rule about dates",
        "ADD dates:",
        "UPDATE k3",
        "UPDATE",
        "MERGE k1: Round doses.",
        "MERGE k1, k2",
        "REMOVE",
        "REMOVE the second one",
        "TAG k1",
        "TAG k1 splendid",
        "TAG k1 helpful because it was",
        "NONE of the entries is right",
        "!!!",
    ],
)
def test_what_is_no_operation_says_why(line):
    (wish,) = read_operations(line)
    assert isinstance(wish, Unreadable)
    assert wish.line == line
    assert wish.reason


def test_readable_lines_are_kept_beside_unreadable_ones():
    text = "Here you are:\n```text\nADD dates: Use dots.\nTAG k2 helpful\n```"
    first, *rest = read_operations(text)
    assert isinstance(first, Unreadable)
    assert rest == [Add("dates", "Use dots."), Tag("k2", "helpful")]


OFFICIAL = {
    "reasoning": "There is a {gap}.",
    "operations": [
        {"type": "ADD", "section": "dates", "content": "Use dots."},
        {"type": "UPDATE", "id": "k1", "content": "Round doses."},
        {"type": "MERGE", "ids": ["k1", "k2"], "content": "Round all."},
        {"type": "DELETE", "bullet_id": "k3"},
        {"type": "TAG", "id": "k4", "tag": "harmful"},
    ],
}
READ = [
    Add("dates", "Use dots."),
    Update("k1", "Round doses."),
    Merge(("k1", "k2"), "Round all."),
    Remove("k3"),
    Tag("k4", "harmful"),
]


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "My operations:\n{}\nThat is all."])
def test_json_is_read(form):
    assert read_operations(form.replace("{}", json.dumps(OFFICIAL, indent=1))) == READ


def test_the_complete_operations_of_json_that_is_cut_off_are_saved():
    whole = json.dumps(OFFICIAL)
    for end in range(len(whole)):
        read = read_operations(whole[:end])
        operations = [wish for wish in read if not isinstance(wish, Unreadable)]
        assert operations == READ[: len(operations)]
    assert len(read_operations(whole[: whole.index('{"type": "TAG"')])) == 4


def test_a_record_without_its_parts_is_unreadable():
    wishes = read_operations('{"operations": [{"type": "ADD"}, {"type": "SING"}, {"type": "REMOVE"}]}')
    assert [kind_of(wish) for wish in wishes] == ["unreadable"] * 3


@pytest.mark.parametrize("wish", [*READ, Merge(("k1", "k2"), "x", "dates"), Unreadable("?", "why")])
def test_records_come_back(wish):
    assert from_record(json.loads(json.dumps(as_record(wish)))) == wish
