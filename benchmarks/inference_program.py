"""A DSPy program for the inference benchmark: long instructions that every prompt begins with.

>>> program = MarkedQuestions(tokenizer, shared=540, own=20, seed=0)
>>> program.evaluate(lm, count=64, threads=64)
Answers(seconds=2.4, texts=[…])
"""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Request
from dspy.utils.exceptions import AdapterParseError
from evaluation_overhead import NullTask
from inference_prompts import CLOSING, Source, common_prefix
from inference_systems import Answers, timed

from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.tasks.task import Score, Splits
from tiltyard.telemetry.latency import LatencyRecorder

LEAST_QUESTION = 4
"""Tokens of the shortest questions of which enough are different."""


class AnyAnswer(dspy.ChatAdapter):
    """DSPy's chat format; an answer that does not keep it, such as a random model's, is taken as it is."""

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """The parsed fields, or the whole text as the answer."""
        with suppress(AdapterParseError):
            fields: dict[str, Any] = super().parse(signature, completion)
            return fields
        return {"a": completion}


class Recorder(TextEngine):
    """Keeps the requests that it gets."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def generate(self, request: Request) -> Completion:
        """Keep the request."""
        self.requests.append(request)
        return Completion("-", 0, 0)


class MarkedQuestions(NullTask):
    """Questions under instructions of random text.

    DSPy's chat format writes a reminder behind every question. With it a prompt has more tokens of its own
    than ``own``, however short the question: questions are then :data:`LEAST_QUESTION` tokens long.

    Args:
        tokenizer: Counts the tokens.
        shared: Tokens that all prompts begin with: DSPy's own text and the instructions.
        own: Tokens that each prompt is to have behind these, at the least.
        seed: Decides the text; another seed's prompts share nothing but DSPy's own opening.
        max_tokens: Tokens of an answer.
    """

    def __init__(self, tokenizer: Any, *, shared: int, own: int, seed: int, max_tokens: int) -> None:
        self._source = Source(tokenizer, seed)
        self._question = LEAST_QUESTION
        self._settings = {"temperature": 0.0, "max_tokens": max_tokens}
        form = dspy.Signature("q -> a", "-")
        self.signature = form
        prompts = [tokenizer(rendered(request))["input_ids"] for request in self.requests(8)]
        common = common_prefix(prompts)
        reminder = len(prompts[0]) - common - LEAST_QUESTION
        self._question = max(LEAST_QUESTION, own - reminder)
        self.signature = form.with_instructions(self._source.text(max(1, shared - common)))

    def splits(self, seed: int, limit: int | None) -> Splits:
        """The test split only: ``limit`` questions, all of them different."""
        questions: dict[str, None] = {}
        while len(questions) < (limit or 0):
            questions[self._source.text(self._question)] = None
        test = [
            dspy.Example(id=str(number), q=question, a="").with_inputs("q")
            for number, question in enumerate(questions)
        ]
        return Splits(train=[], validation=[], test=test)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Score:
        """Whether the answers are equal."""
        return Score(float(example.a == prediction.a), "")

    def gold(self, example: dspy.Example) -> str:
        """The gold answer."""
        return str(example.a)

    def answer(self, prediction: dspy.Prediction) -> str:
        """The predicted answer."""
        return str(prediction.a)

    def requests(self, count: int) -> list[Request]:
        """The requests that the program makes for ``count`` questions."""
        recorder = Recorder()
        program = self.program(self.signature)
        with dspy.context(lm=engine_lm("local/benchmark", recorder, **self._settings), adapter=AnyAnswer()):
            for example in self.splits(0, count).test:
                program(**example.inputs())
        return recorder.requests

    def evaluate(self, lm: dspy.LM, *, count: int, threads: int) -> Answers:
        """Run Tiltyard's evaluation on ``count`` questions, with all that it records."""
        examples = self.splits(0, count).test
        lm = lm.copy(**self._settings)

        def run() -> list[str]:
            evaluation = evaluate(
                self.program(self.signature),
                examples,
                self,
                lm=lm,
                labels=RowLabels("random", "benchmark", "baseline"),
                threads=threads,
                latencies=LatencyRecorder(),
                folder=Path(folder),
                progress=False,
            )
            failed = [row.error for row in evaluation.rows if row.error]
            assert not failed, failed[0]
            return [row.pred for row in evaluation.rows]

        with tempfile.TemporaryDirectory() as folder, dspy.context(adapter=AnyAnswer()):
            return timed(run)


def rendered(request: Request) -> str:
    """The text of a request in Tiltyard's plain layout."""
    user = request.messages[0].parts[0].text
    return f"System: {request.system}\n\nUser: {user}{CLOSING}"
