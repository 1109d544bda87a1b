import asyncio
import copy
import json

import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram

QUESTION = "question -> answer"


class Obedient(TextEngine):
    """Answers with the rules that its instructions hold, and keeps what it was asked."""

    def __init__(self):
        super().__init__()
        self.prompts = []

    def generate(self, request):
        system = request.system if isinstance(request.system, str) else message_text(request.messages[0])
        user = "\n".join(message_text(message) for message in request.messages)
        self.prompts.append((system, user))
        rules = [line for line in system.splitlines() if line.strip().startswith("[k")]
        text = " / ".join(rule.strip() for rule in rules) or "nothing"
        return Completion(
            f"[[ ## reasoning ## ]]\nSo it is.\n\n[[ ## answer ## ]]\n{text}\n\n[[ ## completed ## ]]", 1, 1
        )


@pytest.fixture
def engine():
    return Obedient()


@pytest.fixture(autouse=True)
def model(engine):
    with dspy.context(lm=engine_lm("local/obedient", engine), adapter=None):
        yield


@pytest.fixture
def playbook():
    playbook = Playbook()
    for rule in ("Write USD before amounts.", "Round doses.", "Write dates as day.month.year."):
        playbook.apply(Add("x", rule), step=0)
    return playbook


ALL = "[k1] Write USD before amounts. / [k2] Round doses. / [k3] Write dates as day.month.year."
KINDS = pytest.mark.parametrize("kind", [dspy.Predict, dspy.ChainOfThought])


@KINDS
def test_the_playbook_stands_in_the_instructions_and_nowhere_else(kind, engine, playbook):
    program = PlaybookProgram(kind(QUESTION), playbook)
    assert program(question="How much?").answer == ALL
    ((system, user),) = engine.prompts
    assert "Playbook:" in system
    assert "Playbook:" not in user
    assert "USD" not in user
    assert "Playbook" not in program.predictors()[0].signature.instructions


def test_without_entries_it_is_the_program(engine):
    PlaybookProgram(dspy.Predict(QUESTION))(question="How much?")
    dspy.Predict(QUESTION)(question="How much?")
    assert engine.prompts[0] == engine.prompts[1]


def test_a_rule_that_is_added_is_there_at_the_next_call(playbook):
    program = PlaybookProgram(dspy.Predict(QUESTION), playbook)
    playbook.apply(Add("x", "Use commas."), step=1)
    assert program(question="How much?").answer.endswith("[k4] Use commas.")


@KINDS
def test_predictors_and_traces_are_those_of_the_program(kind, playbook):
    inner = kind(QUESTION)
    program = PlaybookProgram(inner, playbook)
    names = [name for name, _ in program.named_predictors()]
    assert names == ["program" if kind is dspy.Predict else "program.predict"]
    assert program.predictors()[0] is inner.predictors()[0]
    with dspy.context(trace=[]):
        prediction = program(question="How much?")
        ((predictor, inputs, output),) = dspy.settings.trace
    assert predictor is program.predictors()[0]
    assert (inputs, output.answer) == ({"question": "How much?"}, prediction.answer)


@KINDS
@pytest.mark.parametrize(
    "selection", [{}, {"selection": "relevant", "k": 1}, {"selection": "relevant", "shown_tokens": 20}]
)
def test_dspys_state_brings_it_back(kind, selection, playbook, tmp_path):
    playbook.credit("k2", "helpful", step=3)
    program = PlaybookProgram(kind(QUESTION), playbook, **selection)
    program.predictors()[0].demos = [dspy.Example(question="One?", answer="1")]
    program.save(tmp_path / "program.json")
    loaded = PlaybookProgram(kind(QUESTION))
    loaded.load(tmp_path / "program.json")
    assert loaded.playbook == playbook
    assert loaded.dump_state() == program.dump_state()
    for question in ("Which dose?", "Which date?"):
        assert loaded(question=question).answer == program(question=question).answer
    assert loaded.playbook.apply(Add("x", "New."), step=0).id == "k4"


def test_a_playbook_within_a_larger_program_is_saved_too(playbook, tmp_path):
    class Larger(dspy.Module):
        def __init__(self, playbook=None):
            super().__init__()
            self.reader = PlaybookProgram(dspy.ChainOfThought(QUESTION), playbook)

        def forward(self, question):
            return self.reader(question=question)

    Larger(playbook).save(tmp_path / "larger.json")
    loaded = Larger()
    loaded.load(tmp_path / "larger.json")
    assert loaded(question="How much?").answer == ALL


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("entries"),
        lambda state: state["entries"].append(state["entries"][0]),
        lambda state: state["entries"][0].update(content=7),
        lambda state: state.update(selection="some"),
        lambda state: state.update(next="four"),
    ],
)
def test_a_damaged_state_is_refused_and_nothing_is_loaded(damage, playbook):
    state = json.loads(json.dumps(PlaybookProgram(dspy.Predict(QUESTION), playbook).dump_state()))
    damage(state["playbook"])
    program = PlaybookProgram(dspy.Predict(QUESTION))
    before = program.dump_state()
    with pytest.raises(InputError):
        program.load_state(state)
    assert program.dump_state() == before


def test_a_whole_program_can_be_saved_as_well(playbook, tmp_path):
    program = PlaybookProgram(dspy.Predict(QUESTION), playbook, selection="relevant", k=1)
    answer = program(question="Which dose?").answer
    program.save(tmp_path / "whole", save_program=True)
    assert dspy.load(str(tmp_path / "whole"), allow_pickle=True)(question="Which dose?").answer == answer


def test_copies_stand_alone(playbook):
    program = PlaybookProgram(dspy.Predict(QUESTION), playbook, selection="relevant", k=1)
    program(question="Which dose?")
    for other in (program.deepcopy(), copy.deepcopy(program), program.reset_copy()):
        assert other.playbook == playbook
        other.playbook.apply(Add("x", "Which dose? This."), step=0)
        assert other(question="Which dose?").answer == "[k4] Which dose? This."
    assert program(question="Which dose?").answer == "[k2] Round doses."


def test_what_is_shown_can_be_asked_for(playbook):
    program = PlaybookProgram(
        dspy.Predict("question, context -> answer"), playbook, selection="relevant", k=1
    )
    example = dspy.Example(question="Which dose?", context="dates and amounts", answer="1")
    example = example.with_inputs("question", "context")
    before = playbook.dumps()
    assert [entry.id for entry in program.shown_for(example)] == ["k2"]
    assert [entry.id for entry in program.shown_for(example.inputs())] == ["k2"]
    assert [entry.id for entry in program.shown_for({"text": "the dates", "title": "day month"})] == ["k3"]
    assert program(**example.inputs()).answer == "[k2] Round doses."
    assert playbook.dumps() == before


def test_threads_of_an_evaluation_each_read_their_own_entries(playbook):
    program = PlaybookProgram(dspy.ChainOfThought(QUESTION), playbook, selection="relevant", k=1)
    asked = {"Which dose?": "[k2]", "Which amounts in USD?": "[k1]", "Which dates?": "[k3]"}
    examples = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in asked.items()] * 20

    def metric(example, prediction, trace=None):
        return prediction.answer.startswith(example.answer)

    evaluate = dspy.Evaluate(devset=examples, metric=metric, num_threads=8, display_progress=False)
    assert evaluate(program).score == 100.0
    assert dspy.settings.adapter is None


def test_it_works_asynchronously(playbook):
    program = PlaybookProgram(dspy.ChainOfThought(QUESTION), playbook)
    assert asyncio.run(program.acall(question="How much?")).answer == ALL


def test_another_adapter_does_its_work(engine, playbook):
    class Shouting(dspy.ChatAdapter):
        def format_task_description(self, signature):
            return super().format_task_description(signature) + "\nNOW!"

    with dspy.context(adapter=Shouting()):
        PlaybookProgram(dspy.Predict(QUESTION), playbook)(question="How much?")
    system, _ = engine.prompts[0]
    assert "Playbook:" in system
    assert system.rstrip().endswith("NOW!")


def test_of_two_playbooks_the_inner_one_holds(playbook):
    inner = Playbook()
    inner.apply(Add("x", "Use commas."), step=0)
    program = PlaybookProgram(PlaybookProgram(dspy.Predict(QUESTION), inner), playbook)
    assert program(question="How much?").answer == "[k1] Use commas."


@KINDS
def test_few_shot_optimizers_compile_it(kind, engine, playbook):
    program = PlaybookProgram(kind(QUESTION), playbook)
    train = [dspy.Example(question=f"{n}?", answer=ALL).with_inputs("question") for n in range(3)]

    def metric(example, prediction, trace=None):
        return example.answer == prediction.answer

    optimizer = dspy.BootstrapFewShot(metric=metric, max_bootstrapped_demos=2, max_labeled_demos=0)
    compiled = optimizer.compile(program, trainset=train)
    assert compiled.playbook == playbook
    assert [demo["question"] for demo in compiled.predictors()[0].demos] == ["0?", "1?"]
    assert program.predictors()[0].demos == []
    assert compiled(question="last").answer == ALL
    system, user = engine.prompts[-1]
    assert "Playbook:" in system
    assert user.index("0?") < user.index("last")


def test_a_program_that_is_compiled_already_keeps_its_demonstrations(playbook, tmp_path):
    inner = dspy.ChainOfThought(QUESTION)
    inner.predictors()[0].demos = [dspy.Example(question="One?", answer="1")]
    inner._compiled = True
    PlaybookProgram(inner, playbook).save(tmp_path / "program.json")
    loaded = PlaybookProgram(dspy.ChainOfThought(QUESTION))
    loaded.load(tmp_path / "program.json")
    assert loaded.predictors()[0].demos[0]["question"] == "One?"


def test_a_program_of_several_steps_reads_it_in_each(engine, playbook):
    class Twice(dspy.Module):
        def __init__(self):
            super().__init__()
            self.draft = dspy.Predict(QUESTION)
            self.final = dspy.ChainOfThought("question, draft -> answer")

        def forward(self, question):
            return self.final(question=question, draft=self.draft(question=question).answer)

    program = PlaybookProgram(Twice(), playbook)
    assert program(question="How much?").answer == ALL
    assert [name for name, _ in program.named_predictors()] == ["program.draft", "program.final.predict"]
    assert ["Playbook:" in system for system, _ in engine.prompts] == [True, True]


def test_limits_are_checked_at_once(playbook):
    with pytest.raises(InputError, match="no limit"):
        PlaybookProgram(dspy.Predict(QUESTION), playbook, selection="relevant")


def test_what_is_relevant_does_not_depend_on_the_order_of_the_inputs():
    playbook = Playbook()
    for content in ("Write USD before amounts.", "Write dates as day.month.year.", "Round doses."):
        playbook.apply(Add("house", content), step=0)
    program = PlaybookProgram(dspy.Predict("text, topic -> answer"), playbook, selection="relevant", k=1)
    inputs = {"text": "the dates of the fault", "topic": "amounts"}
    assert program.shown_for(inputs) == program.shown_for(dict(reversed(inputs.items())))
