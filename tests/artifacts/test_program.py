import json
import types
from pathlib import Path
from typing import Literal

import dspy
import pytest

from tiltyard.artifacts.metadata import fields_of, read_metadata, type_name, written
from tiltyard.artifacts.program import UnsavableProgramError, build_program_folder, load_program
from tiltyard.errors import InputError
from tiltyard.programs.qa import AnswerFromTable, AnswerQuestion


class Changing(dspy.Signature):
    """Say something."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class TwoSteps(dspy.Module):
    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.draft = dspy.ChainOfThought(signature)
        self.check = dspy.Predict("draft: str -> verdict: bool")

    def forward(self, **inputs: str) -> dspy.Prediction:
        return self.draft(**inputs)


def contents(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("node", "signature"),
    [
        ({"_target_": "dspy.Predict", "_partial_": True}, AnswerQuestion),
        ({"_target_": "dspy.ChainOfThought", "_partial_": True}, AnswerFromTable),
        ({"_target_": f"{__name__}.TwoSteps", "_partial_": True}, AnswerQuestion),
        (
            {"_target_": "dspy.Predict", "_partial_": True},
            AnswerQuestion.with_instructions('Be\n\nbrief. "``"'),
        ),
        (
            {"_target_": "dspy.Predict", "_partial_": True},
            dspy.Signature("n: int, xs: list[str] -> ok: bool, kind: Literal['a', 'b'], maybe: str | None"),
        ),
    ],
)
def test_a_program_loads_as_it_was_saved(tmp_path, make_origin, node, signature):
    factory = {"Predict": dspy.Predict, "ChainOfThought": dspy.ChainOfThought, "TwoSteps": TwoSteps}
    program = factory[node["_target_"].rsplit(".", 1)[-1]](signature)
    for predictor in program.predictors():
        predictor.demos = [
            dspy.Example(question="q", context="c", answer="80 °C", reasoning="r", augmented=True)
        ]
        predictor.signature = predictor.signature.with_instructions("Answer in “one” word.")
    folder = build_program_folder(
        tmp_path / "program", program, make_origin(signature=signature, program_node=node)
    )

    loaded = load_program(folder)
    assert type(loaded) is type(program)
    assert loaded.dump_state() == program.dump_state()
    assert [fields_of(p.signature) for p in loaded.predictors()] == [
        fields_of(p.signature) for p in program.predictors()
    ]
    plain = dspy.Predict(signature)
    if type(program) is dspy.Predict:  # the state is DSPy's own format
        plain.load(str(folder / "program.json"))
        assert plain.dump_state() == program.dump_state()


def test_the_folder_is_text_without_pickle_and_without_the_machine(tmp_path, compiled, make_origin):
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    assert {path.name for path in folder.iterdir()} == {
        "MLmodel",
        "README.md",
        "metadata.json",
        "program.json",
        "python_env.yaml",
        "requirements.txt",
        "serving.py",
    }
    assert str(tmp_path) not in contents(folder)
    assert "pickle" not in contents(folder).replace('"cloudpickle": ', "")  # DSPy notes its version


def test_no_key_is_saved(tmp_path, compiled, make_origin, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "hunter2-hunter2")
    compiled.set_lm(dspy.LM("openai/x", api_key="hunter2-hunter2", api_base="http://a.example"))
    compiled.demos[0].answer = "the key is hunter2-hunter2"
    node = {
        "_target_": "dspy.LM",
        "model": "openai/x",
        "api_key": "hunter3",
        "nested": [{"hf_token": "hunter4"}],
    }
    folder = build_program_folder(tmp_path / "program", compiled, make_origin(model_node=node))
    assert "hunter" not in contents(folder)
    assert "the key is ***" in contents(folder)
    assert compiled.lm.kwargs["api_key"] == "hunter2-hunter2"
    assert load_program(folder).lm is None


def test_metadata_says_where_it_came_from(tmp_path, compiled, make_origin):
    metadata = read_metadata(build_program_folder(tmp_path / "program", compiled, make_origin()))
    assert (metadata.task, metadata.model, metadata.optimizer) == (
        "tatqa_tiny",
        "lexical",
        "labeled_few_shot",
    )
    assert (metadata.seed, metadata.fingerprint, metadata.score.value) == (3, "f00d", 0.75)
    assert metadata.signature.path == "tiltyard.programs.qa:AnswerQuestion"
    assert written(metadata.signature.fields) == "context: str, question: str -> answer: str"
    assert metadata.created.utcoffset().total_seconds() == 0
    assert set(metadata.versions) == {"tiltyard", "dspy", "python"}


def test_the_readme_shows_instructions_and_demonstrations(tmp_path, compiled, make_origin):
    compiled.demos[0].answer = "a ``` fence\nand a line"
    text = (build_program_folder(tmp_path / "p", compiled, make_origin()) / "README.md").read_text("utf-8")
    assert "0.750 (95% interval 0.500 to 0.900)" in text
    assert AnswerQuestion.instructions in text
    assert "````text\na ``` fence\nand a line\n````" in text
    assert "### Demonstration 2" in text
    assert 'program(context="…", question="…")' in text


def test_a_changed_signature_is_refused(tmp_path, make_origin, monkeypatch):
    node = {"_target_": "dspy.Predict", "_partial_": True}
    program = dspy.Predict(Changing)
    folder = build_program_folder(
        tmp_path / "program", program, make_origin(signature=Changing, program_node=node)
    )
    load_program(folder)

    class Changed(dspy.Signature):
        question: str = dspy.InputField()
        answer: Literal["yes", "no"] = dspy.OutputField()

    monkeypatch.setitem(globals(), "Changing", Changed)
    with pytest.raises(
        InputError, match=r"has changed since .*answer: str then, .*answer: Literal\['yes', 'no'\] now"
    ):
        load_program(folder)
    monkeypatch.delitem(globals(), "Changing")
    with pytest.raises(InputError, match=f"there is no signature {__name__}:Changing here"):
        load_program(folder)


def edit(folder: Path, **values: object) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_another_factory_is_refused(tmp_path, compiled, make_origin):
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    edit(folder, program={"_target_": "dspy.ChainOfThought", "_partial_": True})
    with pytest.raises(InputError, match=r"builds another program than it did \(predictors self .*reasoning"):
        load_program(folder)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "command": "touch owned"},
        {"_target_": "dspy.load", "path": "evil", "allow_pickle": True},
        {"_target_": "dspy.Predict", "callbacks": [{"_target_": "os.system", "command": "touch owned"}]},
        {"_target_": "dspy.Predict", "a": {"b": {"_target_": "os.system"}}},
        {},
    ],
)
def test_metadata_cannot_call_what_it_likes(tmp_path, compiled, make_origin, monkeypatch, node):
    monkeypatch.chdir(tmp_path)
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    edit(folder, program=node)
    with pytest.raises(InputError):
        load_program(folder)
    assert not (tmp_path / "owned").exists()


def test_a_folder_without_metadata_or_of_another_format_is_refused(tmp_path, compiled, make_origin):
    with pytest.raises(InputError, match=r"is no saved program: metadata\.json cannot be read"):
        load_program(tmp_path)
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    edit(folder, format=2)
    with pytest.raises(InputError, match="format: Input should be 1; compile the program again"):
        load_program(folder)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(InputError, match="Invalid JSON"):
        load_program(folder)


def test_a_damaged_state_is_refused(tmp_path, compiled, make_origin):
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    for damage in ("{", "{}", "[]"):
        (folder / "program.json").write_text(damage)
        with pytest.raises(InputError, match="cannot be loaded"):
            load_program(folder)


def test_other_versions_are_told_or_refused(tmp_path, compiled, make_origin, caplog):
    folder = build_program_folder(tmp_path / "program", compiled, make_origin())
    load_program(folder, exact_versions=True)
    assert not caplog.records
    edit(folder, versions={"tiltyard": "0.1.9", "dspy": "2.6.1"})
    load_program(folder)
    assert "dspy 2.6.1 then" in caplog.text
    assert "tiltyard" not in caplog.text.split("versions")[1].split("dspy")[0]
    with pytest.raises(InputError, match=r"dspy 2\.6\.1 then"):
        load_program(folder, exact_versions=True)


def test_a_program_that_is_more_than_its_state_is_not_saved(tmp_path, compiled, demonstrations, make_origin):
    patched = compiled.deepcopy()
    patched.forward = types.MethodType(lambda self, **inputs: dspy.Prediction(answer="!"), patched)
    two_steps = {"_target_": f"{__name__}.TwoSteps"}
    frozen = TwoSteps(AnswerQuestion)
    frozen.draft._compiled = True
    frozen.draft.predict.demos = demonstrations
    for program, node in [
        (patched, {"_target_": "dspy.Predict"}),
        (compiled, {"_target_": "dspy.ChainOfThought"}),
        (dspy.ChainOfThought(AnswerQuestion), {"_target_": "dspy.Predict"}),
        (frozen, two_steps),
    ]:
        with pytest.raises(UnsavableProgramError, match="cannot be saved"):
            build_program_folder(tmp_path / "program", program, make_origin(program_node=node))


def test_saving_again_replaces(tmp_path, compiled, make_origin):
    build_program_folder(tmp_path / "program", compiled, make_origin())
    build_program_folder(tmp_path / "program", dspy.Predict(AnswerQuestion), make_origin())
    assert load_program(tmp_path / "program").demos == []


def test_types_are_written_alike_everywhere():
    from typing import Any, Optional, Union

    assert type_name(Optional[int]) == type_name(int | None) == "int | None"  # noqa: UP045
    assert type_name(Union[int, str]) == "int | str"  # noqa: UP007
    assert type_name(list[dict[str, Literal["a", 1]]]) == "list[dict[str, Literal['a', 1]]]"
    assert type_name(Any) == "Any"
    assert type_name(Path) == f"{Path.__module__}.Path"


def test_what_an_optimizer_notes_on_its_program_is_no_hindrance(tmp_path, make_origin):
    program = dspy.Predict(AnswerQuestion)
    tried = [{"score": 0.5, "program": dspy.Predict(AnswerQuestion)}]
    program.candidate_programs = tried
    folder = build_program_folder(tmp_path / "program", program, make_origin())
    assert program.candidate_programs is tried
    assert isinstance(load_program(folder), dspy.Predict)
