"""Programs that carry more than instructions and demonstrations: saved, loaded, served, and refused."""

import json

import dspy
import pandas as pd
import pytest
from dspy.predict.parameter import Parameter

from tiltyard.artifacts.program import UnsavableProgramError, build_program_folder, load_program
from tiltyard.artifacts.wrapping import wrappers_of
from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.cheatsheet.program import CheatsheetProgram
from tiltyard.optimizers.nearest import Known, NearestDemonstrations
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.programs.qa import AnswerQuestion

RULE = "Write USD before amounts."
QUESTION = {"question": "What is the limit?", "context": "The limit is 80 °C."}


class Reader(TextEngine):
    """Answers with whether the rule stands in its prompt."""

    def generate(self, request):
        seen = RULE in f"{request.system}{[message.parts for message in request.messages]}"
        answer = f"[[ ## reasoning ## ]]\nI looked.\n\n[[ ## answer ## ]]\n{seen}\n\n[[ ## completed ## ]]"
        return Completion(answer, 1, 1)


def reader():
    return engine_lm("local/reader", Reader())


def with_rule(program):
    return PlaybookProgram(program, Playbook([Entry("k3", "amounts", RULE, helpful=2)], next_number=4))


class Note(Parameter):
    text = ""

    def reset(self):
        self.text = ""

    def dump_state(self, json_mode=True):
        return {"text": self.text}

    def load_state(self, state):
        self.text = state["text"]


class Mine(dspy.Module):
    """A user's own wrapper."""

    def __init__(self, program):
        super().__init__()
        self.program = program
        self.note = Note()

    def forward(self, **inputs):
        return self.program(**inputs)


class Demanding(Mine):
    """A wrapper that nothing but its optimizer can build."""

    def __init__(self, program, note):
        super().__init__(program)
        self.note.text = note


@pytest.mark.parametrize("factory", [dspy.Predict, dspy.ChainOfThought])
def test_a_playbook_travels_with_its_program(factory, tmp_path, make_origin):
    program = with_rule(factory(AnswerQuestion))
    program.predictors()[0].demos = [dspy.Example(question="q", context="c", answer="a")]
    node = {"_target_": f"dspy.{factory.__name__}", "_partial_": True}
    folder = build_program_folder(tmp_path / "program", program, make_origin(program_node=node))

    loaded = load_program(folder)
    assert type(loaded) is PlaybookProgram
    assert loaded.playbook.contents() == {"k3": RULE}
    assert loaded.playbook.next_number == 4
    assert loaded.predictors()[0].demos[0]["answer"] == "a"
    with dspy.context(lm=reader()):
        assert loaded.program(**QUESTION).answer == "False"
        assert loaded(**QUESTION).answer == "True"
    # DSPy's own way, without metadata.
    plain = PlaybookProgram(factory(AnswerQuestion))
    plain.load(folder / "program.json")
    assert plain.playbook.contents() == {"k3": RULE}


def test_wrappers_stand_in_each_other(tmp_path, make_origin):
    program = CheatsheetProgram(with_rule(dspy.Predict(AnswerQuestion)), "- Be brief.")
    assert [path.rpartition(":")[2] for path in wrappers_of(program)] == [
        "CheatsheetProgram",
        "PlaybookProgram",
    ]
    loaded = load_program(build_program_folder(tmp_path / "program", program, make_origin()))
    assert (loaded.sheet, loaded.program.playbook.contents()) == ("- Be brief.", {"k3": RULE})
    readme = (tmp_path / "program/README.md").read_text()
    assert readme.index("## Cheatsheet") < readme.index("- Be brief.") < readme.index("## Playbook")
    assert readme.index(f"[k3] {RULE}") < readme.index("## Predictor `program.program`")


def test_a_plain_program_has_no_wrappers():
    assert wrappers_of(dspy.Predict(AnswerQuestion)) == ()
    assert wrappers_of(dspy.ChainOfThought(AnswerQuestion)) == ()


def test_a_served_program_reads_its_playbook(tmp_path, make_origin):
    import mlflow

    origin = make_origin(model_node={"_target_": f"{__name__}.reader"}, hardware_node={})
    folder = build_program_folder(tmp_path / "program", with_rule(dspy.Predict(AnswerQuestion)), origin)
    served = mlflow.pyfunc.load_model(str(folder))
    assert list(served.predict(pd.DataFrame([QUESTION]))["answer"]) == ["True"]


class Shown(TextEngine):
    """Answers with the answers of the demonstrations in its prompt."""

    def generate(self, request):
        shown = [str(message.parts) for message in request.messages if message.role == "assistant"]
        seen = " ".join(word for word in ("warm", "cold", "wet") if any(word in one for one in shown))
        return Completion(f"[[ ## answer ## ]]\n{seen}\n\n[[ ## completed ## ]]", 1, 1)


def shown():
    return engine_lm("local/shown", Shown())


def test_a_served_program_shows_the_same_demonstrations_as_in_its_run(tmp_path, make_origin):
    import mlflow

    asked = [{"question": f"How is hall {n}?", "context": f"Hall {n} has {n} doors."} for n in range(3)]
    known = [
        Known(one, {**one, "answer": word}) for one, word in zip(asked, ("warm", "cold", "wet"), strict=True)
    ]
    program = NearestDemonstrations(dspy.Predict(AnswerQuestion), known, k=3)
    origin = make_origin(model_node={"_target_": f"{__name__}.shown"}, hardware_node={})
    folder = build_program_folder(tmp_path / "program", program, origin)
    assert "3 most similar of 3" in (folder / "README.md").read_text()
    with dspy.context(lm=shown()):
        in_its_run = [program(**one).answer for one in asked]
        assert [load_program(folder)(**one).answer for one in asked] == in_its_run
    served = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame(asked))
    # None shows the very question, although MLflow names the context first.
    assert list(served["answer"]) == in_its_run == ["cold wet", "warm wet", "warm cold"]


def test_a_users_own_wrapper_loads_when_it_is_trusted(tmp_path, make_origin):
    program = Mine(dspy.Predict(AnswerQuestion))
    program.note.text = "mine"
    folder = build_program_folder(tmp_path / "program", program, make_origin())
    assert load_program(folder, trusted=True).note.text == "mine"
    with pytest.raises(InputError, match="none of tiltyard's own"):
        load_program(folder)


def test_a_program_that_only_its_optimizer_can_build_is_not_saved(tmp_path, make_origin):
    with pytest.raises(UnsavableProgramError):
        build_program_folder(
            tmp_path / "program", Demanding(dspy.Predict(AnswerQuestion), "x"), make_origin()
        )
    assert not (tmp_path / "program").exists()


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "tiltyard.nowhere:Thing",
        "tiltyard.artifacts.program:dspy.Predict",
        "tiltyard.artifacts.program:load_program",
        "tiltyard.models.cached_engine:CachedEngine",
    ],
)
def test_metadata_cannot_put_what_it_likes_around_a_program(path, tmp_path, make_origin):
    folder = build_program_folder(
        tmp_path / "program", with_rule(dspy.Predict(AnswerQuestion)), make_origin()
    )
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"wrappers": [path]}))
    with pytest.raises(InputError):
        load_program(folder)
