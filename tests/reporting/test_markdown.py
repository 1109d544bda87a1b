import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.reporting.markdown import Column, code_block, escape, one_line, shorten, table

UNMASKED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")


def test_a_table_is_aligned_in_plain_text_too() -> None:
    columns = (Column("task"), Column("score", right=True))
    assert table(columns, [["tatqa_tiny", "0.667"], ["a|b", "–"]]) == (
        "| task       | score |\n| :--------- | ----: |\n| tatqa_tiny | 0.667 |\n| a\\|b       |     – |"
    )


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_no_text_breaks_a_table(rows: list[tuple[str, str]]) -> None:
    lines = table((Column("a"), Column("b")), rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(len(UNMASKED_PIPE.findall(line)) == 3 for line in lines)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("<img src=x>", "\\<img src=x\\>"),
        ("![x](http://example.org)", "![x\\](http://example.org)"),
        ("&lt; $5 and $7", "&amp;lt; \\$5 and \\$7"),
        ("tatqa_tiny _this_", "tatqa_tiny \\_this\\_"),
        ("two\nlines\x1b[31m", "two lines[31m"),
    ],
)
def test_markup_becomes_text(text: str, masked: str) -> None:
    assert escape(text) == masked


@given(st.text(), st.integers(min_value=1, max_value=20))
def test_a_shortened_text_is_one_line_within_its_limit(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == one_line(short)


def test_code_cannot_close_its_fence() -> None:
    assert code_block("echo ```", "sh") == "````sh\necho ```\n````"
