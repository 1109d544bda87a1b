import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import dspy
import pandas as pd
import pytest
from dspy.lm15 import Request

from tiltyard.artifacts.program import build_program_folder
from tiltyard.errors import InputError
from tiltyard.models.engine import LOCAL, Completion, TextEngine, message_text
from tiltyard.models.lexical import lexical


class Sort(dspy.Signature):
    """Sort."""

    words: list[str] = dspy.InputField()
    limit: int = dspy.InputField()
    kind: Literal["short", "long"] = dspy.OutputField()
    count: int = dspy.OutputField()


class Counter(TextEngine):
    """Answers with the number of demonstrations in the prompt."""

    def generate(self, request: Request) -> Completion:
        prompt = "\n".join(message_text(message) for message in request.messages)
        text = f"[[ ## kind ## ]]\nlong\n\n[[ ## count ## ]]\n{prompt.count('[[ ## words ## ]]') - 1}\n\n"
        return Completion(f"{text}[[ ## completed ## ]]", prompt_tokens=1, completion_tokens=1)


def counting(*, hardware: object = None) -> dspy.LM:
    return dspy.LM(f"{LOCAL}counting", engine=Counter(), cache=False)


@pytest.fixture
def folder(tmp_path: Path, compiled: dspy.Module, make_origin: Any) -> Path:
    return build_program_folder(tmp_path / "program", compiled, make_origin())


QUESTIONS = pd.DataFrame(
    {
        "context": ["The limit is 90 °C. It rains.", "It was signed by Bob."],
        "question": ["What is the limit?", "Who signed?"],
    }
)


@pytest.fixture
def expected(compiled: dspy.Module) -> list[str]:
    """What the program itself answers."""
    with dspy.context(lm=lexical()):
        return [compiled(**row).answer for row in QUESTIONS.to_dict("records")]


def test_the_model_predicts_without_pickle_in_a_fresh_process(folder, tmp_path, expected):
    QUESTIONS.to_json(tmp_path / "questions.json", orient="split")
    code = (
        "import sys, pandas as pd, mlflow.pyfunc\n"
        "frame = pd.read_json(sys.argv[2], orient='split')\n"
        "print(mlflow.pyfunc.load_model(sys.argv[1]).predict(frame).to_json(orient='records'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(tmp_path / "questions.json")],
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = pd.read_json(io.StringIO(done.stdout), orient="records")
    assert list(answers.columns) == ["answer"]
    assert list(answers["answer"]) == expected


def test_it_serves_from_any_thread_and_configures_nothing(folder, expected):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder))
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(model.predict(QUESTIONS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [list(answer["answer"]) for answer in answers] == [expected] * 4
    assert dspy.settings.lm is None


def test_types_demonstrations_and_other_columns(tmp_path, make_origin):
    import mlflow.pyfunc

    program = dspy.Predict(Sort)
    program.demos = [dspy.Example(words=["a"], limit=1, kind="short", count=1)] * 3
    origin = make_origin(signature=Sort, model_node={"_target_": f"{__name__}.counting"}, hardware_node={})
    model = mlflow.pyfunc.load_model(str(build_program_folder(tmp_path / "program", program, origin)))
    frame = pd.DataFrame({"unused": [1.0], "words": [["b", "c"]], "limit": [2]})
    assert model.predict(frame).to_dict("records") == [{"kind": "long", "count": 3}]
    with pytest.raises(Exception, match="missing inputs"):
        model.predict(frame.drop(columns="limit"))


def test_another_model_may_answer(folder, monkeypatch):
    import mlflow.pyfunc

    made = []

    def make(name: str, **options: str) -> dspy.LM:
        made.append((name, options))
        return dspy.utils.DummyLM([{"answer": "another"}] * 4)

    model = mlflow.pyfunc.load_model(str(folder))
    monkeypatch.setattr("tiltyard.artifacts.serving.dspy.LM", make)
    chosen = {"model": "openai/x", "api_base": "http://a.example"}
    assert list(model.predict(QUESTIONS, params=chosen)["answer"]) == ["another", "another"]
    model.predict(QUESTIONS, params=chosen)
    assert made == [("openai/x", {"api_base": "http://a.example"})]


def test_a_changed_program_is_not_served(folder):
    import mlflow.pyfunc

    (folder / "metadata.json").unlink()
    with pytest.raises((InputError, OSError)):
        mlflow.pyfunc.load_model(str(folder))


def test_it_answers_over_http_like_any_mlflow_model(folder, expected):
    """MLflow's scoring server accepts JSON with these columns; its own app is asked, without a socket."""
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import init

    fastapi = pytest.importorskip("fastapi.testclient")
    client = fastapi.TestClient(init(mlflow.pyfunc.load_model(str(folder))))
    answer = client.post("/invocations", json={"dataframe_split": QUESTIONS.to_dict("split")})
    assert answer.json() == {"predictions": [{"answer": text} for text in expected]}
