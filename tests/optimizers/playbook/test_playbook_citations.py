"""Asking which rules an answer follows: what is sent, what is read, and what stays out of the prediction."""

import asyncio

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.playbook.citations import cited_ids, citing, listed_ids
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import STATE, PlaybookProgram

FIELD = "[[ ## followed_rules ## ]]"


class Citing(TextEngine):
    """Answers, and fills the field for citations where it is asked to and has something to say."""

    def __init__(self, says="k2"):
        self.says = says
        self.prompts = []

    def generate(self, request):
        self.prompts.append(f"{request.system}\n{message_text(request.messages[-1])}")
        cites = self.says is not None and FIELD in self.prompts[-1]
        said = f"{FIELD}\n{self.says}\n\n" if cites else ""
        return Completion(
            f"{said}[[ ## reasoning ## ]]\nSo it is.\n\n[[ ## answer ## ]]\n5\n\n[[ ## completed ## ]]", 9, 3
        )


def playbook_of(*rules):
    playbook = Playbook()
    for rule in rules:
        playbook.apply(Add("x", rule), step=0)
    return playbook


def program(kind=dspy.Predict, rules=("Write USD first.", "Round doses."), **options):
    options = {"ask_for_citations": True, **options}
    return PlaybookProgram(kind("question -> answer"), playbook_of(*rules), **options)


def asked(module, engine):
    """What comes of a call: the prediction, what it cited, and the trace."""
    with dspy.context(lm=engine_lm("local/citing", engine), adapter=None, trace=[]), citing() as cited:
        prediction = module(question="How much?")
        return prediction, cited, list(dspy.settings.trace)


@pytest.mark.parametrize("kind", [dspy.Predict, dspy.ChainOfThought])
def test_the_field_stands_before_the_others_and_stays_out_of_the_prediction(kind):
    engine = Citing()
    prediction, cited, [(_, _, traced)] = asked(program(kind), engine)
    assert cited == {"k2"}
    expected = {"answer"} | ({"reasoning"} if kind is dspy.ChainOfThought else set())
    assert set(prediction.keys()) == set(traced.keys()) == expected
    [prompt] = engine.prompts
    assert prompt.index(FIELD) < prompt.index("[[ ## answer ## ]]")
    assert kind is dspy.Predict or prompt.index(FIELD) < prompt.index("[[ ## reasoning ## ]]")


@pytest.mark.parametrize("module", [program(ask_for_citations=False), program(rules=())])
def test_nothing_is_asked_where_it_is_off_or_there_is_no_rule(module):
    engine = Citing()
    _, cited, _ = asked(module, engine)
    assert cited == set()
    assert FIELD not in engine.prompts[0]


def test_a_reply_without_the_field_is_an_answer_all_the_same():
    engine = Citing(says=None)
    prediction, cited, _ = asked(program(), engine)
    assert prediction.answer == "5"
    assert cited == set()
    assert len(engine.prompts) == 1  # it was not asked again


def test_a_loaded_program_asks_as_well(tmp_path):
    program(selection="relevant", k=1).save(tmp_path / "program.json")
    loaded = PlaybookProgram(dspy.Predict("question -> answer"))
    loaded.load(tmp_path / "program.json")
    assert asked(loaded, Citing())[1] == {"k2"}


def test_a_program_of_before_there_were_citations_does_not_ask():
    state = program().dump_state()
    del state[STATE]["ask_for_citations"]
    loaded = program()
    loaded.load_state(state)
    assert asked(loaded, Citing())[1] == set()


def test_asynchronous_calls_cite_too():
    with dspy.context(lm=engine_lm("local/citing", Citing()), adapter=None), citing() as cited:
        prediction = asyncio.run(program().acall(question="How much?"))
    assert cited == {"k2"}
    assert set(prediction.keys()) == {"answer"}


def test_a_field_of_that_name_of_the_programs_own_stays_its_own():
    own = PlaybookProgram(
        dspy.Predict("question -> followed_rules, answer"), playbook_of("Round."), ask_for_citations=True
    )
    prediction, cited, _ = asked(own, Citing())
    assert prediction.followed_rules == "k2"
    assert cited == set()


@pytest.mark.parametrize(
    ("field", "ids"),
    [
        ("k3, k7", {"k3", "k7"}),
        ("[K03] Write 12 before it.", {"k3"}),
        ("1, 3", {"k1", "k3"}),
        ("rules 1 and 04", {"k1", "k4"}),
        ('["2"]', {"k2"}),
        (["k1", "k2"], {"k1", "k2"}),
        ([1, 2], {"k1", "k2"}),
        ("The rule about 3 doses.", set()),
        ("none", set()),
        ("0", set()),
        ("", set()),
        (None, set()),
    ],
)
def test_the_field_is_read_leniently(field, ids):
    assert listed_ids(field) == ids


@given(st.text(max_size=60))
def test_whatever_stands_there_gives_ids_or_nothing(text):
    found = listed_ids(text)
    assert cited_ids([text]) <= found
    assert all(id.startswith("k") and int(id[1:]) > 0 for id in found)
