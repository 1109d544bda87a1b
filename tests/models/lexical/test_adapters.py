"""The lexical reader answers what DSPy's adapters ask, in the format that they parse, and always the same."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Optional

import dspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltyard.models.lexical import lexical

# Without the fallback, an answer that does not parse is an error instead of a second request as JSON.
ADAPTERS = {
    "chat": dspy.ChatAdapter(use_json_adapter_fallback=False),
    "json": dspy.JSONAdapter(),
    "xml": dspy.XMLAdapter(use_json_adapter_fallback=False),
}
SCALES = ("", "thousand", "million")
CONTEXT = """\
| Item | 2019 | 2018 |
| --- | --- | --- |
| Total sales | 1,200 | 900 |
| Operating costs | 640 | 510 |

The plant in Ghent employs 340 people. The boiler runs at 80 °C."""
QUESTION = "How many people does the plant in Ghent employ?"


class Reading(dspy.Signature):
    """Answer from the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    text: str = dspy.OutputField()
    count: int = dspy.OutputField()
    amount: float = dspy.OutputField()
    holds: bool = dspy.OutputField()
    scale: Literal["", "thousand", "million"] = dspy.OutputField()
    names: list[str] = dspy.OutputField()
    note: Optional[str] = dspy.OutputField()  # noqa: UP045 - printed otherwise than str | None
    rank: int | None = dspy.OutputField()


VALUES = {
    "text": "340",
    "count": 340,
    "amount": 2.5,
    "holds": False,
    "scale": "million",
    "names": ["Ghent", "boiler"],
    "note": "none",
    "rank": 1,
}


def demonstration(number, **outputs):
    context = f"The plant in Town{number} employs {number} people and runs {number + 1} boilers."
    return dspy.Example(context=context, question=f"How many people work in Town{number}?", **outputs)


def ask(predictor, adapter, lm=None, **inputs):
    with dspy.context(lm=lm or lexical(), adapter=ADAPTERS[adapter]):
        return predictor(**inputs)


def assert_typed(prediction):
    assert isinstance(prediction.text, str)
    assert isinstance(prediction.count, int)
    assert not isinstance(prediction.count, bool)
    assert isinstance(prediction.amount, float)
    assert isinstance(prediction.holds, bool)
    assert prediction.scale in SCALES
    assert isinstance(prediction.names, list)
    assert all(isinstance(name, str) for name in prediction.names)
    assert prediction.note is None or isinstance(prediction.note, str)
    assert prediction.rank is None or isinstance(prediction.rank, int)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
@pytest.mark.parametrize("context", [CONTEXT, ""], ids=["context", "empty"])
def test_every_output_type_is_parsed(adapter, module, context):
    lm = lexical()
    prediction = ask(module(Reading), adapter, lm, context=context, question=QUESTION)
    assert_typed(prediction)
    assert len(lm.history) == 1
    if context:
        assert (prediction.text, prediction.count, prediction.amount) == ("340", 340, 340.0)
    if module is dspy.ChainOfThought:
        assert prediction.reasoning
        if context:
            assert "The plant in Ghent employs 340 people." in prediction.reasoning


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_complete_and_incomplete_demonstrations_are_read(adapter):
    complete = [demonstration(number, **VALUES) for number in (3, 4, 5)]
    incomplete = [demonstration(7, text="7"), demonstration(8, scale="million"), demonstration(9)]
    for demos in (complete, incomplete, complete + incomplete):
        predictor = dspy.Predict(Reading)
        predictor.demos = demos
        prediction = ask(predictor, adapter, context=CONTEXT, question=QUESTION)
        assert_typed(prediction)
        assert prediction.text == "340"
        if demos is not incomplete:
            assert (prediction.holds, prediction.scale) == (False, "million")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_demonstration_without_an_answer_says_nothing(adapter):
    labels = dspy.Predict("log -> kind, label")
    labels.demos = [
        dspy.Example(log=f"pump {number} leaks", kind="wet", label="fault") for number in (1, 2, 3)
    ]
    labels.demos += [dspy.Example(log="fan hums", kind="wet")]
    assert ask(labels, adapter, log="fan hums").label == "fault"


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("scale", SCALES)
def test_each_literal_can_be_answered(adapter, scale):
    predictor = dspy.Predict(Reading)
    predictor.demos = [demonstration(number, **VALUES | {"scale": scale}) for number in (3, 4, 5, 6)]
    assert ask(predictor, adapter, context=CONTEXT, question=QUESTION).scale == scale


class Lists(dspy.Signature):
    """Answer from the context."""

    context: str = dspy.InputField()
    flags: list[bool] = dspy.OutputField()
    colours: list[Literal["red", "blue"]] = dspy.OutputField()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_list_of_declared_values_holds_such_values(adapter):
    predictor = dspy.Predict(Lists)
    without = ask(predictor, adapter, context="The pump is red.")
    assert all(isinstance(flag, bool) for flag in without.flags)
    assert without.colours == ["red"]
    predictor.demos = [
        dspy.Example(context=f"Pump {number} is red.", flags=[True, False], colours=["blue"])
        for number in range(3)
    ]
    taught = ask(predictor, adapter, context="The pump is red.")
    assert set(taught.flags) == {True, False}
    assert taught.colours == ["blue"]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("huge", [10**400, -(10**400), float("inf")])
def test_a_number_too_large_for_a_float_teaches_nothing(adapter, huge):
    predictor = dspy.Predict("context -> amount: float")
    predictor.demos = [dspy.Example(context="It holds much.", amount=huge)]
    assert ask(predictor, adapter, context="It holds 5 litres.").amount == 5.0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_answer_with_markup_comes_back_as_it_was(adapter):
    options = "A. a <b> & c]]> d\nB. nothing"
    predictor = dspy.Predict("question, options -> answer")
    predictor.demos = [dspy.Example(question=f"Which {n}?", options=options, answer="nothing") for n in "xy"]
    predictor.demos += [dspy.Example(question="Which c?", options=options, answer="a <b> & c]]> d")] * 4
    assert ask(predictor, adapter, question="Which c?", options=options).answer == "a <b> & c]]> d"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_bounded_number_stays_within_its_bounds(adapter):
    signature = dspy.Signature("context, question -> answer").append(
        "score", dspy.OutputField(ge=1, le=5), type_=int
    )
    prediction = ask(dspy.Predict(signature), adapter, context=CONTEXT, question=QUESTION)
    assert 1 <= prediction.score <= 5


def test_a_very_long_context_is_answered():
    filler = "\n".join(f"Room {number} holds shelf {number * 3}." for number in range(20_000))
    context = f"{filler}\nThe plant in Ghent employs 340 people.\n{filler}"
    assert len(context) > 1_000_000
    prediction = ask(dspy.Predict("context, question -> answer"), "chat", context=context, question=QUESTION)
    assert prediction.answer == "340"


@pytest.mark.parametrize(
    "prompt", ["What is 80 °C in this boiler?", "", "?", "| a | b |\n| 1 | 2 |", "[[ ## x ## ]]"]
)
def test_a_bare_prompt_gets_a_bare_text(prompt):
    (answer,) = lexical()(prompt)
    assert isinstance(answer, str)
    assert answer


def test_messages_without_a_known_format_are_answered():
    (answer,) = lexical()(
        messages=[
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": "The boiler runs at 80 °C. How hot does the boiler run?"},
        ]
    )
    assert answer


def test_equal_requests_get_equal_answers():
    predictor = dspy.Predict(Reading)
    predictor.demos = [demonstration(number, **VALUES) for number in range(3, 9)]
    first, second = (
        ask(predictor, "chat", lm, context=CONTEXT, question=QUESTION).toDict()
        for lm in (lexical(), lexical())
    )
    again = ask(predictor, "chat", context=CONTEXT, question=QUESTION, config={"temperature": 1.0}).toDict()
    assert first == second == again


def test_threads_get_the_answers_that_one_thread_gets():
    predictors = []
    for offset in (0, 40):  # two programs at once: their lessons must not mix
        predictor = dspy.Predict(Reading)
        predictor.demos = [
            demonstration(offset + number, **VALUES | {"text": str(offset + number)}) for number in range(8)
        ]
        predictors.append(predictor)
    jobs = [(predictor, demonstration(number)) for number in range(90, 98) for predictor in predictors]
    lm = lexical()

    def answer(job):
        predictor, example = job
        return ask(predictor, "chat", lm, **example.toDict()).toDict()

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, jobs))
    assert together == [answer(job) for job in jobs]


def maintenance_answers():
    predictor = dspy.Predict("log, question -> label, names: list[str]")
    predictor.demos = [
        dspy.Example(
            log=f"pump {number} leaks oil at valve {number % 3}",
            question="Which part leaks?",
            label=f"valve {number % 3}",
            names=["oil", "pump"],
        )
        for number in range(6)
    ]
    log = "Pump {} and the tank leak; oil stands near valve {} and the hose."
    questions = ("Which part leaks?", "Where is oil near the hose?")
    return [
        ask(predictor, "chat", log=log.format(number, number % 3), question=question).toDict()
        for number in range(4)
        for question in questions
    ]


def test_answers_do_not_depend_on_the_order_of_sets():
    done = subprocess.run(
        [sys.executable, "-c", "import test_adapters; print(test_adapters.maintenance_answers())"],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(maintenance_answers())


@pytest.mark.parametrize("limit", [1, 3])
def test_max_tokens_cuts_an_answer_off(limit):
    prompt = "Which words are long? The words of this one sentence are long, longer and longest of all words."
    lm = lexical()
    (whole,) = lm(prompt)
    (cut,) = lm(prompt, max_tokens=limit)
    finished, stopped = (entry["response"] for entry in lm.history)
    assert finished.finish_reason == "stop"
    assert stopped.finish_reason == ("length" if finished.usage.output_tokens > limit else "stop")
    assert stopped.usage.output_tokens == min(limit, finished.usage.output_tokens)
    assert whole.startswith(cut)


def test_an_answer_of_exactly_max_tokens_is_not_cut():
    lm = lexical()
    predictor = dspy.Predict("context, question -> answer")
    ask(predictor, "chat", lm, context=CONTEXT, question=QUESTION)
    length = lm.history[-1]["response"].usage.output_tokens
    whole = ask(predictor, "chat", lm, context=CONTEXT, question=QUESTION, config={"max_tokens": length})
    assert lm.history[-1]["response"].finish_reason == "stop"
    assert whole.answer == "340"
    with pytest.raises(dspy.utils.exceptions.AdapterParseError):
        ask(predictor, "json", lm, context=CONTEXT, question=QUESTION, config={"max_tokens": 2})
    assert lm.history[-1]["response"].finish_reason == "length"


FRAGMENTS = st.sampled_from(
    [
        "[[ ## text ## ]]",
        "[[ ## completed ## ]]",
        "</context>",
        "]]>",
        "<text>&</text>",
        '{"A": "red", "B": "blue"}',
        "A. red\nB. blue",
        "1) first\n2) second",
        "| a | b |\n| --- | --- |\n| 1 | (2) |",
        "limit = 80, mode: auto",
        "In adhering to this structure, your objective is:",
        "Respond with a JSON object in the following order of fields: `text`",
        "The pump runs. It is new.",
        "9" * 400,
        "-0.5 % of $1,234.5 million",
        "\x00\x0b\ufffe",
        "“quoted”",
    ]
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(FRAGMENTS, min_size=1, max_size=4).map("\n".join),
)
OUTPUTS = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "count": st.integers(-(10**12), 10**12),
        "amount": st.floats(-1e12, 1e12),
        "holds": st.booleans(),
        "scale": st.sampled_from(SCALES),
        "names": st.lists(TEXTS, max_size=3),
        "note": st.none() | TEXTS,
        "rank": st.none() | st.integers(),
    }
)
DEMONSTRATIONS = st.lists(
    st.builds(
        lambda context, question, outputs: dspy.Example(context=context, question=question, **outputs),
        TEXTS,
        TEXTS,
        OUTPUTS,
    ),
    max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(adapter=st.sampled_from(list(ADAPTERS)), context=TEXTS, question=TEXTS, demos=DEMONSTRATIONS)
def test_any_input_gets_an_answer_that_parses(adapter, context, question, demos):
    predictor = dspy.Predict(Reading)
    predictor.demos = demos
    assert_typed(ask(predictor, adapter, context=context, question=question))


@settings(max_examples=30, deadline=None)
@given(
    adapter=st.sampled_from(list(ADAPTERS)),
    question=TEXTS,
    options=st.lists(
        st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20), min_size=2, max_size=5
    ),
)
def test_a_lettered_question_is_answered_with_one_of_its_letters(adapter, question, options):
    letters = "ABCDE"[: len(options)]
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, options, strict=True))
    prediction = ask(dspy.Predict("question, options -> answer"), adapter, question=question, options=listed)
    assert prediction.answer in letters
