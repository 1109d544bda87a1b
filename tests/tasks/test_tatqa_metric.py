import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.tasks.tatqa_metric import (
    SCALES,
    Agreement,
    Number,
    difference,
    evaluate,
    read_number,
    read_scale,
    read_spans,
    write_spans,
)


@pytest.mark.parametrize(
    ("predicted", "scale", "gold", "gold_scale", "exact", "f1"),
    [
        # Numbers: value times scale.
        (["12.6"], "million", ["12.6"], "million", 1, 1),
        (["$ 1,496.5"], "million", ["$1,496.5"], "million", 1, 1),
        (["1496.5"], "million", ["$1,496.5"], "million", 1, 1),
        (["1,496,500"], "thousand", ["$1,496.5"], "million", 1, 1),
        (["1,496,500,000"], "", ["$1,496.5"], "million", 1, 1),
        (["1.4965"], "billion", ["$1,496.5"], "million", 0, 0),  # rounded to 1.50 before scaling
        (["1.5"], "billion", ["$1,500"], "million", 1, 1),
        (["12.6"], "", ["12.6"], "million", 0, 0),
        (["12.6"], "thousand", ["12.6"], "million", 0, 0),
        (["12.7"], "million", ["12.6"], "million", 0, 0),
        (["2019"], "", ["2019"], "", 1, 1),
        # Rounding to two decimals.
        (["12.604"], "million", ["12.6"], "million", 1, 1),
        (["12.61"], "million", ["12.6"], "million", 0, 0),
        (["-0.001"], "", ["0"], "", 1, 1),
        # Percent.
        (["23.42"], "percent", ["23.42"], "percent", 1, 1),
        (["23.42%"], "", ["23.42"], "percent", 1, 1),
        (["23.42%"], "percent", ["23.42"], "percent", 1, 1),
        (["23.42 percent"], "", ["23.42"], "percent", 1, 1),
        (["0.2342"], "", ["23.42"], "percent", 1, 1),
        (["0.2342"], "percent", ["23.42"], "percent", 0, 0),
        (["0.2342"], "thousand", ["23.42"], "percent", 0, 0),
        (["23.42"], "", ["23.42"], "percent", 0, 0),
        (["13%"], "", ["13.0%"], "", 1, 1),
        # Negative numbers.
        (["-134"], "", ["(134)"], "", 1, 1),
        (["(1,234)"], "thousand", ["-1234"], "thousand", 1, 1),
        (["−298"], "", ["-298"], "", 1, 1),
        (["-$5"], "", ["$-5"], "", 1, 1),
        (["(12.5%)"], "", ["-12.5"], "percent", 1, 1),
        (["(12.5)%"], "", ["-12.5"], "percent", 1, 1),
        (["134"], "", ["(134)"], "", 0, 0),
        # A scale inside the answer.
        (["$1.2 million"], "", ["1.2"], "million", 1, 1),
        (["1.2 millions"], "", ["1,200"], "thousand", 1, 1),
        (["2 hundred"], "", ["200"], "", 1, 1),
        (["$1.2 million"], "million", ["1.2"], "million", 0, 0),
        # A full stop or an article beside a number.
        (["36%."], "", ["36"], "percent", 1, 1),
        (["$85.1 million."], "", ["85.1"], "million", 1, 1),
        (["(19)."], "", ["-19"], "", 1, 1),
        (["the 36%"], "", ["36"], "percent", 1, 1),
        (["the 2.93"], "", ["2.93"], "", 1, 1),
        (["The $2.93."], "million", ["2.93"], "million", 1, 1),
        (["--33.56"], "", ["-33.56"], "", 0, 0),
        (["2.5"], "", ["2.5 years"], "", 0, 0.67),
        # Words.
        (["the Fixed-Price type."], "", ["Fixed-price type"], "", 1, 1),
        (["fixed price"], "", ["fixed price type"], "", 0, 0.8),
        (["red"], "", ["blue"], "", 0, 0),
        (["about $480"], "", ["approximately 480"], "", 0, 0.5),
        (["in 64,"], "", ["in 64"], "", 1, 1),
        (["or 1,234,567 units"], "", ["or 1,234,568 units"], "", 0, 0.67),
        (["net sales"], "million", ["net sales"], "", 0, 0.8),  # a scale is one more word: 2·2/(3+2)
        (["net sales"], "million", ["net sales"], "million", 1, 1),
        # Several spans.
        (["a b", "c d"], "", ["c d", "a b"], "", 1, 1),
        (["b x"], "", ["b x", "c d"], "", 0, 0.5),
        (["b x", "c d", "e f"], "", ["b x", "c d"], "", 0, 0.67),
        (["b x", "c"], "", ["c d", "b x"], "", 0, 0.83),  # (1 + 2/3) / 2
        (["b x c d"], "", ["b x", "c d"], "", 0, 0.33),  # one span fits one: 2·2/(4+2) / 2
        (["2,000", "2,000"], "thousand", ["2000", "2000"], "thousand", 1, 1),
        (["2,000"], "thousand", ["2000", "2000"], "thousand", 0, 0.5),
        (["b", "b", "c"], "", ["b", "c", "c"], "", 0, 0.67),
        (["57,768", "73,260"], "thousand", ["73,260", "57,768"], "thousand", 1, 1),
        (["57,768", "73,260"], "", ["73,260", "57,768"], "thousand", 0, 0),
        (["57,768", "1"], "thousand", ["73,260", "57,768"], "thousand", 0, 0.5),
        # The best alignment, (0.4 + 0.667) / 2, is not the greedy one, (0.8 + 0) / 2.
        (["b c d", "b"], "", ["b c", "d x"], "", 0, 0.53),
        # Nothing.
        ([], "", ["x"], "", 0, 0),
        ([" "], "million", ["x"], "", 0, 0),
        (["x", ""], "", ["x"], "", 1, 1),
        (["x"], "", ["x", " "], "", 1, 1),
        (["?"], "", ["x"], "", 0, 0),
    ],
)
def test_by_hand(predicted, scale, gold, gold_scale, exact, f1):
    assert evaluate(predicted, scale, gold, gold_scale) == Agreement(exact, f1)


def test_f1_is_exact_match_for_computed_answers():
    assert evaluate(["x y"], "", ["x"], "").f1 == 0.67
    assert evaluate(["x y"], "", ["x"], "", computed=True) == Agreement(0.0, 0.0)
    assert evaluate(["4.0"], "", ["4"], "", computed=True) == Agreement(1.0, 1.0)


@pytest.mark.parametrize(
    ("span", "value", "percent"),
    [
        ("1,023", 1023, False),
        ("$ (9.8) million", -9.8e6, False),
        ("( 114 )", -114, False),
        (".5", 0.5, False),
        ("5.", 5, False),
        ("[7]", 7, False),
        ("12.3456%", 0.1235, True),
        ("5 %", 0.05, True),
        ("a 5%.", 0.05, True),
        ("−5", -5, False),
    ],
)
def test_a_number_is_read(span, value, percent):
    assert read_number(span) == Number(value, percent)


@pytest.mark.parametrize(
    "span",
    [
        "",
        "x",
        "4 million shares",
        "12 apples",
        "1 - 2",
        "13.0 years",
        "£(8.1m)",
        "nan",
        "inf",
        "1e5",
        "--5",
        "-+5",
        "−-5",
        "the",
        ".",
    ],
)
def test_other_spans_are_no_number(span):
    assert read_number(span) is None


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("", ""),
        ("million", "million"),
        (" Millions ", "million"),
        ("in thousands", "thousand"),
        ("%", "percent"),
        ("Percent", "percent"),
        ("none", ""),
        ("units", ""),
    ],
)
def test_a_scale_is_read(text, scale):
    assert read_scale(text) == scale


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        (" \n ", []),
        ("one span", ["one span"]),
        ("Aerospace, defense, oil, and gas", ["Aerospace, defense, oil, and gas"]),
        ("2019; 2018", ["2019", "2018"]),
        ("a;b", ["a;b"]),
        ("a; b | c; d", ["a; b", "c; d"]),
        ("first line\nsecond; line", ["first line", "second; line"]),
        ("- a\n- b c\n", ["a", "b c"]),
        ("1. a\n2. b", ["a", "b"]),
        ("- a\nb", ["- a", "b"]),
        ("-5\n-6", ["-5", "-6"]),
        ('["a; b", "c", 3]', ["a; b", "c", "3"]),
        ("['a', 'b']", ["a", "b"]),
        ("[a, b]", ["[a, b]"]),
        ('[["a"]]', ['[["a"]]']),
        ("[]", []),
        ("[2]", ["2"]),
    ],
)
def test_an_answer_text_is_split_into_spans(text, spans):
    assert read_spans(text) == spans


@pytest.mark.parametrize(
    ("spans", "text"),
    [
        (["a; b"], "a; b"),
        (["2019", "2018"], "2019; 2018"),
        (["a; b", "c"], "a; b | c"),
        (["a; b", "c | d"], "a; b\nc | d"),
        (["a\nb", "c; d", "e | f"], json.dumps(["a\nb", "c; d", "e | f"])),
    ],
)
def test_spans_are_written_in_the_plainest_form_that_reads_back(spans, text):
    assert write_spans(spans) == text


SPAN = st.text(min_size=1, max_size=12).map(str.strip).filter(bool) | st.sampled_from(
    ["a; b", "a | b", "[1]", "- x"]
)
AMOUNT = st.decimals(-(10**8), 10**8, places=2)
SCALE = st.sampled_from(list(SCALES))


@given(st.lists(SPAN, min_size=2, max_size=4))
def test_what_is_written_is_read_back(spans):
    assert read_spans(write_spans(spans)) == spans


@given(st.lists(SPAN, min_size=1, max_size=4), SCALE, st.lists(SPAN, min_size=1, max_size=4), SCALE)
def test_scores_are_in_range_and_gold_scores_one(predicted, scale, gold, gold_scale):
    agreement = evaluate(predicted, scale, gold, gold_scale)
    assert agreement.exact in (0.0, 1.0)
    assert agreement.exact <= agreement.f1 <= 1.0
    assert evaluate(gold, gold_scale, gold, gold_scale) == Agreement(1.0, 1.0)
    assert evaluate(gold[::-1], gold_scale, gold, gold_scale) == Agreement(1.0, 1.0)
    assert evaluate(predicted[::-1], scale, gold, gold_scale) == agreement


@given(AMOUNT, SCALE)
def test_the_way_a_number_is_written_does_not_matter(value, scale):
    gold = [str(value)]
    forms = [f"{value:,}", f"${value:,}", f"$ {value}", f" {value} ", f"{value}00"]
    if value < 0:
        forms += [f"({-value})", f"$({-value:,})", f"−{-value}"]
    assert {evaluate([form], scale, gold, scale) for form in forms} == {Agreement(1.0, 1.0)}


@given(st.integers(1, 10**6), SCALE, SCALE)
def test_a_wrong_scale_scores_nothing_for_a_number(value, scale, gold_scale):
    same = scale == gold_scale
    assert evaluate([str(value)], scale, [str(value)], gold_scale) == Agreement(float(same), float(same))


TWICE = "The answer states its scale twice: write the number without it."


@pytest.mark.parametrize(
    ("predicted", "scale", "gold", "gold_scale", "problem"),
    [
        (["12.6"], "", ["12.6"], "million", "The answer is right, but the scale should be 'million'."),
        (["net sales"], "million", ["net sales"], "", "The answer is right, but there should be no scale."),
        (["1.2 million"], "million", ["1.2"], "million", TWICE),
        (["-12.6"], "million", ["12.6"], "million", "The sign is wrong."),
        (["0.2342"], "percent", ["23.42"], "percent", "The number is 100 times too small."),
        (["12,600"], "million", ["12.6"], "million", "The number is 1,000 times too large."),
        (["13"], "", ["12.6"], "million", "The number is wrong. Also, the scale should be 'million'."),
        (["about 13"], "", ["13"], "", "The answer should be one number."),
        (["the red car"], "", ["red"], "", "The answer holds more than what was expected: give that alone."),
        (["red car"], "", ["red bus"], "", "Words missing: bus; not expected: car."),
        (["red", "blue"], "", ["Red", "green"], "", "Items missing: green. Items not expected: blue."),
        (["red"], "", ["Red", "green"], "", "Items missing: green."),
    ],
)  # fmt: skip
def test_a_wrong_prediction_says_what_is_wrong(predicted, scale, gold, gold_scale, problem):
    assert not evaluate(predicted, scale, gold, gold_scale).exact
    assert difference(predicted, scale, gold, gold_scale) == problem
