import asyncio
import datetime
import enum
import json
import logging
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import dspy
import pytest
import torch
from dspy.utils.exceptions import AdapterParseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tiltyard.models.constrained_adapter import ConstrainedChatAdapter
from tiltyard.models.constraints import Constrainer, ReplyFormat
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.models.hardware import Placement
from tiltyard.models.reply_grammar import reply_format
from tiltyard.models.tiny_gpt2 import build_random

TOKENIZER = build_random(Placement(device="cpu", dtype="float32", threads=1)).tokenizer
END = TOKENIZER.eos_token_id
CONSTRAINER = Constrainer(TOKENIZER, [END])


class Mood(enum.Enum):
    CALM = "calm"
    CROSS = 2


class Part(BaseModel):
    name: str
    count: int
    weight: float | None = None


class Order(BaseModel):
    parts: list[Part]
    urgent: bool = False
    by: datetime.date | None = None


class RandomWriter(TextEngine):
    """Writes the tokens that random logits choose, under the constraint where a request has one."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.requests = []
        self.completions = []

    def generate(self, request):
        self.requests.append(request)
        constraint = CONSTRAINER.constraint(request)
        written = []
        while len(written) < request.config.max_tokens and END not in written:
            logits = torch.randn(len(TOKENIZER), generator=self.generator) * 3
            token = int((constraint.restrict(logits) if constraint else logits).argmax())
            if constraint:
                constraint.accept(token)
            written.append(token)
        text = TOKENIZER.decode(written, skip_special_tokens=True)
        finish_reason = "stop" if END in written else "length"
        self.completions.append(Completion(text, 1, len(written), finish_reason))
        return self.completions[-1]


@dataclass
class Parrot(TextEngine):
    """Says one thing."""

    text: str
    requests: list = field(default_factory=list)

    def generate(self, request):
        self.requests.append(request)
        return Completion(self.text, 1, 1)


def signature(**outputs):
    fields = {"question": (str, dspy.InputField())}
    return dspy.Signature({**fields, **{name: (kind, dspy.OutputField()) for name, kind in outputs.items()}})


def ask(engine, asked, max_tokens=256, **lm_settings):
    lm = engine_lm("local/writer", engine, max_tokens=max_tokens, temperature=0.0, **lm_settings)
    with dspy.context(lm=lm, adapter=ConstrainedChatAdapter()):
        return dspy.Predict(asked)(question="What is it?")


def is_admitted(form, text):
    """Whether a grammar's language has the text in it."""
    lm = engine_lm("local/writer", engine := Parrot(""))
    lm("Hello", metadata=form.metadata)
    constraint = CONSTRAINER.constraint(engine.requests[0])
    try:
        for token in TOKENIZER(text)["input_ids"]:
            constraint.accept(token)
    except ValueError:
        return False
    return bool(torch.isfinite(constraint.restrict(torch.zeros(len(TOKENIZER)))[END]))


WORDS = st.text("abc xyz-'\"\\é漢🙂[]#", min_size=1, max_size=8).filter(
    lambda word: word == word.strip() and "[[ ##" not in word
)
OPTIONS = st.lists(WORDS, min_size=1, max_size=4, unique=True).map(lambda words: Literal[tuple(words)])
SCALARS = st.sampled_from([str, int, float, bool, Mood, dspy.Reasoning, datetime.date, Any]) | OPTIONS
KINDS = st.recursive(
    SCALARS | st.sampled_from([Part, Order, int | None, str | None, str | int, bool | float, Literal[1, 2]]),
    lambda inner: (
        inner.filter(lambda kind: kind is not dspy.Reasoning).map(lambda kind: list[kind])
        | inner.filter(lambda kind: kind is not dspy.Reasoning).map(lambda kind: dict[str, kind])
    ),
    max_leaves=2,
)
NAMES = st.lists(
    st.sampled_from(["answer", "reasoning", "scale", "items", "note", "x1"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def signatures(draw):
    return signature(**{name: draw(KINDS) for name in draw(NAMES)})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=signatures(), seed=st.integers(0, 2**31))
def test_whatever_random_logits_write_parses(asked, seed):
    engine = RandomWriter(seed)

    prediction = ask(engine, asked, max_tokens=600)

    assert len(engine.requests) == 1
    assert engine.completions[0].text.endswith("[[ ## completed ## ]]")
    assert set(prediction.keys()) == set(asked.output_fields)


def is_written(annotation, value):
    """Whether a reply may have a value of a type."""
    llguidance = pytest.importorskip("llguidance")
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, reply_format(signature(answer=annotation)).grammar)
    tokens = tokenizer.tokenize_str(f"[[ ## answer ## ]]\n{json.dumps([value])}\n\n[[ ## completed ## ]]")
    return matcher.validate_tokens(tokens) == len(tokens)


@given(st.integers(0, 9999), st.integers(0, 13), st.sampled_from([0, 1, 28, 29, 30, 31, 32]))
@settings(deadline=None)
def test_a_date_may_be_written_if_it_exists(year, month, day):
    try:
        datetime.date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert is_written(list[datetime.date], f"{year:04}-{month:02}-{day:02}") is exists


@pytest.mark.parametrize(
    ("annotation", "value", "exists"),
    [
        (datetime.date, "2024-02-29", True),
        (datetime.date, "2023-02-29", False),
        (datetime.date, "1900-02-29", False),
        (datetime.datetime, "2024-02-29T23:59:59.5Z", True),
        (datetime.datetime, "2023-02-29T10:00:00Z", False),
        (datetime.datetime, "2024-01-01T23:59:60Z", False),
        (datetime.time, "23:59:59+02:00", True),
        (datetime.time, "23:59:60Z", False),
        (datetime.timedelta, "P1DT2H", True),
        (datetime.timedelta, "P999999999999D", False),
    ],
)
def test_times_that_pydantic_refuses_are_not_written(annotation, value, exists):
    assert is_written(list[annotation], value) is exists


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), limit=st.integers(140, 300))
def test_a_reply_is_finished_within_its_limit(seed, limit):
    asked = signature(reasoning=str, label=Literal["yes", "no"], tags=list[str], answer=str)
    engine = RandomWriter(seed)

    ask(engine, asked, max_tokens=limit)

    assert engine.completions[0].finish_reason == "stop"


VALUES = {
    str: st.text(max_size=60).filter(lambda text: "[[ ##" not in text),
    int: st.integers(-(10**14), 10**14),
    bool: st.booleans(),
    Literal["", "thousand", 'a "quoted" word', "percent"]: st.sampled_from(
        ["", "thousand", 'a "quoted" word', "percent"]
    ),
    list[str]: st.lists(st.text("abc \"\\\n'é漢🙂{}[]", max_size=10), max_size=4),
    dict[str, int]: st.dictionaries(st.text("abc", max_size=5), st.integers(-1000, 1000), max_size=3),
    Part: st.builds(Part, name=st.text("abc é", max_size=8), count=st.integers(0, 99), weight=st.just(0.25)),
    int | None: st.none() | st.integers(0, 9),
    float: st.floats(-1e6, 1e6).filter(lambda number: not 0 < abs(number) < 1e-9),
}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kinds=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3))
def test_the_replies_that_demonstrations_show_are_admitted(data, kinds):
    """A grammar that forbade them would force a model off what its prompt shows."""
    asked = signature(**{f"field{number}": kind for number, kind in enumerate(kinds)})
    outputs = {f"field{number}": data.draw(VALUES[kind]) for number, kind in enumerate(kinds)}
    shown = ConstrainedChatAdapter().format_assistant_message_content(asked, outputs)

    assert is_admitted(reply_format(asked), shown.removesuffix("\n"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "forty-two"),
        (int, "1\n2"),
        (bool, "maybe"),
        (bool, "true"),
        (Literal["yes", "no"], "yes, indeed"),
        (list[str], '["a"'),
        (Part, '{"name": "bolt"}'),
        (Part, '{"name": "bolt", "count": 1, "colour": "red"}'),
        (Mood, "2"),
        (str, "one\n\n[[ ## other ## ]]\ntwo"),
    ],
)
def test_what_would_not_parse_is_not_admitted(kind, value):
    form = reply_format(signature(answer=kind))

    assert not is_admitted(form, f"[[ ## answer ## ]]\n{value}\n\n[[ ## completed ## ]]")


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Mood, "CROSS", Mood.CROSS),
        (Mood, "calm", Mood.CALM),
        (Literal[1, "two", True], "two", "two"),
        (Literal["a\nb"], "a\nb", "a\nb"),
        (Literal[" padded"], '" padded"', " padded"),
        (int | None, "None", None),
        (float, "-1.5e-07", -1.5e-07),
        (Decimal, "12.50", Decimal("12.5")),
        (str | None, "None", "None"),
        (datetime.date, '"2026-11-20"', datetime.date(2026, 11, 20)),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (set[int], "[1, 2, 2]", {1, 2}),
    ],
)
def test_a_value_is_written_as_it_is_read(kind, value, read):
    asked = signature(answer=kind)
    reply = f"[[ ## answer ## ]]\n{value}\n\n[[ ## completed ## ]]"

    assert is_admitted(reply_format(asked), reply)
    assert ask(Parrot(reply), asked).answer == read


def test_the_grammar_reaches_the_engine_beside_other_metadata():
    asked = signature(answer=int)
    engine = Parrot("[[ ## answer ## ]]\n7\n\n[[ ## completed ## ]]")

    prediction = ask(engine, asked, metadata={"run": "17"})

    assert prediction.answer == 7
    assert engine.requests[0].config.extensions["metadata"]["run"] == "17"
    assert ReplyFormat.of(engine.requests[0]) == reply_format(asked)


def test_asynchronous_calls_are_constrained_too():
    engine = RandomWriter()
    lm = engine_lm("local/writer", engine, max_tokens=100)

    async def answer():
        with dspy.context(lm=lm, adapter=ConstrainedChatAdapter()):
            return await dspy.Predict(signature(answer=int)).acall(question="What is it?")

    assert isinstance(asyncio.run(answer()).answer, int)


def test_the_prompt_is_that_of_the_chat_adapter():
    asked, inputs = signature(answer=int), {"question": "What is it?"}

    assert ConstrainedChatAdapter().format(asked, [], inputs) == dspy.ChatAdapter().format(asked, [], inputs)


def test_a_constrained_reply_that_does_not_parse_is_not_asked_for_again():
    engine = Parrot("[[ ## answer ## ]]\nfor")

    with pytest.raises(AdapterParseError):
        ask(engine, signature(answer=int))

    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "kind", [dspy.ToolCalls, dspy.Code, list[dspy.Image], dspy.History, Literal["a", "[[ ## b ## ]]"]]
)
def test_what_has_no_written_form_is_not_constrained(kind):
    assert reply_format(signature(reasoning=str, answer=kind)) is None


def test_an_unconstrained_signature_keeps_the_second_call():
    engine = Parrot("nothing that parses")

    with pytest.raises(AdapterParseError):
        ask(engine, signature(answer=dspy.Code))

    assert [ReplyFormat.of(request) for request in engine.requests] == [None, None]


def test_what_cannot_be_enforced_is_not_constrained_and_said_once(caplog):
    asked = signature(answer=dict[Mood, int])

    with caplog.at_level(logging.WARNING):
        forms = [reply_format(asked), reply_format(asked)]

    assert forms == [None, None]
    (message,) = caplog.messages
    assert "not constrained" in message
    assert "propertyNames" in message
    assert "\n" not in message


class SchemaWriter(RandomWriter):
    """Tells DSPy that it keeps to a JSON schema."""

    supported_params = ("response_format",)
    supports_response_schema = True


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_json_adapter_reads_what_its_schema_allowed(seed):
    asked = signature(reasoning=str, label=Literal["yes", "no"], parts=list[Part], note=str | None, count=int)
    engine = SchemaWriter(seed)
    lm = engine_lm("local/writer", engine, max_tokens=500)

    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        prediction = dspy.Predict(asked)(question="What is it?")

    assert len(engine.requests) == 1
    assert prediction.label in ("yes", "no")


def test_chain_of_thought_and_react_are_constrained():
    engine = RandomWriter()
    lm = engine_lm("local/writer", engine, max_tokens=300)

    def search(query: str) -> str:
        """Search for a query."""
        return f"nothing on {query}"

    with dspy.context(lm=lm, adapter=ConstrainedChatAdapter()):
        thought = dspy.ChainOfThought("question -> answer: float")(question="What is it?")
        acted = dspy.ReAct("question -> answer: bool", tools=[search], max_iters=2)(question="What is it?")

    assert isinstance(thought.answer, float)
    assert isinstance(acted.answer, bool)
    assert all(ReplyFormat.of(request) for request in engine.requests)
    assert json.dumps(engine.requests[-1].config.extensions["metadata"])
