"""What the lexical reader sees in an input, and what it makes of types, instructions and lists."""

from typing import Literal

import dspy
import pytest
from pydantic import BaseModel

from tiltyard.models.lexical import lexical
from tiltyard.models.lexical.declared import declared
from tiltyard.models.lexical.passages import Option, read_passage
from tiltyard.models.lexical.series import series_terms

ADAPTERS = {
    "chat": dspy.ChatAdapter(use_json_adapter_fallback=False),
    "json": dspy.JSONAdapter(),
    "xml": dspy.XMLAdapter(use_json_adapter_fallback=False),
}
REPORT = """\
| (in millions) | Year ended June 30, | |
| --- | --- | --- |
| | 2019 | 2018 |
| Product revenue: | | |
| Licences | 41.0 | 37.5 |
| Services revenue | 12.5 | 11.0 |

Licences grew because two customers renewed early."""


def ask(signature, demos=(), adapter="chat", **inputs):
    predictor = dspy.Predict(signature)
    predictor.demos = list(demos)
    with dspy.context(lm=lexical(), adapter=ADAPTERS[adapter]):
        return predictor(**inputs)


def test_a_cell_knows_its_section_and_all_headings_above_it():
    cells = {cell.text: cell for cell in read_passage(REPORT).cells}
    assert cells["41.0"].kind == "cell"
    assert cells["41.0"].row == "Product revenue: Licences"
    assert cells["41.0"].column == "Year ended June 30, 2019"
    assert cells["Licences"].kind == "heading"
    assert cells["2018"].kind == "column"


@pytest.mark.parametrize(
    "text",
    [
        "A. red\nB. blue",
        "(a) red\n(b) blue",
        '{"A": "red", "B": "blue"}',
        "Which? A) red B) blue",
        "1. red\n2. blue",
    ],
)
def test_options_are_found_however_they_are_written(text):
    options = read_passage(text).options
    assert [option.text for option in options] == ["red", "blue"]
    assert isinstance(options[0], Option)


def test_no_options_are_seen_in_ordinary_text():
    assert read_passage("A pump runs. B. Smith repaired it.\nIt is (c) new.").options == ()


def test_names_and_values_are_found():
    assert ("limit", "80 C") in read_passage("limit: 80 C, mode = auto").settings


def test_a_log_is_described_by_how_its_numbers_move_and_where_they_end():
    log = "Limits: oil 20-60 C, level 3-5 m\n" + "".join(
        f"{number} oil {oil} C, level 4.2 m\n" for number, oil in enumerate((58.0, 61.0, 66.0))
    )
    assert {"oil rising", "oil above", "level same", "level inside"} <= set(series_terms(log))


@pytest.mark.parametrize("text", ["", "One 1.\nTwo words.", REPORT, "- - -\n" * 9])
def test_what_is_no_log_has_no_series(text):
    assert series_terms(text) == []


def test_respective_values_are_cells_of_one_row_in_the_order_of_the_question():
    said = "What were the respective licences in {} and {}?"
    forward = ask("context, question -> answer", context=REPORT, question=said.format(2018, 2019))
    backward = ask("context, question -> answer", context=REPORT, question=said.format(2019, 2018))
    assert (forward.answer, backward.answer) == ("37.5; 41.0", "41.0; 37.5")


def test_a_reason_follows_its_cue():
    assert ask("context, question -> answer", context=REPORT, question="Why did licences grow?").answer == (
        "two customers renewed early"
    )


class Part(BaseModel):
    name: str
    count: int


class Nested(dspy.Signature):
    """List what the note holds."""

    note: str = dspy.InputField()
    kinds: list[Literal["pump", "valve", "hose"]] = dspy.OutputField()
    flags: list[bool] = dspy.OutputField()
    part: Part = dspy.OutputField()
    parts: list[Part] = dspy.OutputField()
    grade: Literal[1, 2] = dspy.OutputField()
    odd: Literal["a (b)", "it's; so", " padded"] = dspy.OutputField()
    table: dict[str, int] = dspy.OutputField()


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shown", [0, 2])
def test_nested_types_are_parsed(adapter, shown):
    values = {
        "kinds": ["valve"],
        "flags": [False],
        "part": Part(name="gate", count=3),
        "parts": [Part(name="seat", count=2)],
        "grade": 2,
        "odd": "it's; so",
        "table": {"gate": 3},
    }
    demos = [dspy.Example(note=f"gate {number}", **values) for number in range(shown)]
    prediction = ask(Nested, demos, adapter, note="The hose leaks at 4 bar & <more>.")
    assert isinstance(prediction.part, Part)
    assert all(isinstance(part, Part) for part in prediction.parts)
    if shown:
        assert (prediction.kinds, prediction.flags, prediction.grade) == (["valve"], [False], 2)
        assert (prediction.odd, prediction.table) == ("it's; so", {"gate": 3})
    else:
        assert prediction.kinds == ["hose"]


@pytest.mark.parametrize("odd", ["a (b)", " padded"])
@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_a_literal_with_brackets_or_blanks_survives(adapter, odd):
    signature = dspy.Signature(
        {"note": (str, dspy.InputField()), "odd": (Literal["x", "a (b)", " padded"], dspy.OutputField())}
    )
    demos = [dspy.Example(note="gate", odd=odd)] * 3
    assert ask(signature, demos, adapter, note="gate").odd == odd


def test_instructions_that_name_a_value_beside_words_of_the_input_count():
    signature = dspy.Signature(
        "log -> label: Literal['amber', 'cobalt']",
        "Grinding noise at the spindle means cobalt. Falling coolant pressure means amber.",
    )
    assert ask(signature, log="grinding noise, spindle stopped").label == "cobalt"
    assert ask(signature, log="coolant low, pressure falling").label == "amber"


def test_values_that_a_description_lists_are_a_choice():
    signature = dspy.Signature("note -> mood").with_updated_fields("mood", desc="one of: calm|angry|glad")
    assert ask(signature, note="The customer was angry.").mood == "angry"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("str", "text"),
        ("Optional[int]", "integer"),
        ("Union[float, NoneType]", "number"),
        ("list[bool]", "list"),
        ("dict[str, Any]", "object"),
        ("Literal['it', \"it's\"]", "choice"),
        ("Annotated[int, Ge(ge=1)]", "integer"),
        ("Unheard", "unknown"),
        ("not an annotation", "unknown"),
    ],
)
def test_annotations_are_read_as_they_are_printed(annotation, kind):
    assert declared(annotation).kind == kind
