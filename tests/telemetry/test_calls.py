import re
import threading
from contextlib import closing

import dspy
import pytest
from dspy.lm15 import Config, Message, Request

from tiltyard.models.cached_engine import cached_lm
from tiltyard.models.engine import Completion, TextEngine
from tiltyard.models.response_cache import ResponseCache
from tiltyard.telemetry.calls import SignatureLatency, signature_name
from tiltyard.telemetry.latency import LatencyRecorder


class AnswerQuestion(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class CheckAnswer(dspy.Signature):
    """Check the answer."""

    question: str = dspy.InputField()
    answer: str = dspy.InputField()
    verdict: str = dspy.OutputField()


class FieldEngine(TextEngine):
    """Fills every output field that the prompt asks for."""

    def generate(self, request):
        asked = re.findall(r"\[\[ ## (\w+) ## \]\]", request.messages[-1].parts[-1].text.split("Respond")[-1])
        text = "\n\n".join(f"[[ ## {name} ## ]]\n{'' if name == 'completed' else 'x'}" for name in asked)
        return Completion(text, prompt_tokens=5, completion_tokens=3)


class FailingEngine(TextEngine):
    def generate(self, request):
        raise RuntimeError("out of order")


class GarbageEngine(TextEngine):
    def generate(self, request):
        return Completion("no such format", prompt_tokens=5, completion_tokens=3)


class AnswerThenCheck(dspy.Module):
    def __init__(self):
        super().__init__()
        self.answer = dspy.ChainOfThought(AnswerQuestion)
        self.check = dspy.Predict(CheckAnswer)

    def forward(self, question):
        answer = self.answer(question=question).answer
        return self.check(question=question, answer=answer)


class AsksDirectly(dspy.Module):
    def forward(self, question):
        return dspy.Prediction(answer=dspy.settings.lm(question)[0])


@pytest.fixture
def latencies():
    return LatencyRecorder()


def a_model(engine):
    return dspy.LM("local/test", engine=engine, cache=False, num_retries=0)


def timed(latencies, engine=None, known=(AnswerQuestion, CheckAnswer)):
    callback = SignatureLatency(latencies, known=known)
    return dspy.context(lm=a_model(engine or FieldEngine()), callbacks=[callback])


def counts(latencies):
    return {name: figures["count"] for name, figures in latencies.summary().items()}


def test_a_call_is_filed_under_its_signature(latencies):
    with timed(latencies, known=()):
        dspy.Predict(AnswerQuestion)(question="why?")

    assert counts(latencies) == {"AnswerQuestion": 1}
    assert latencies.summary()["AnswerQuestion"]["success_rate"] == 1
    assert latencies.summary()["AnswerQuestion"]["p50_ms"] > 0


def test_nested_modules_keep_their_signatures_apart(latencies):
    with timed(latencies):
        AnswerThenCheck()(question="why?")

    assert counts(latencies) == {"AnswerQuestion": 1, "CheckAnswer": 1}


def test_parallel_programs_keep_their_signatures_apart(latencies):
    program = AnswerThenCheck()
    with timed(latencies):
        dspy.Parallel(num_threads=4, disable_progress_bar=True)(
            [(program, dspy.Example(question=str(n)).with_inputs("question")) for n in range(20)]
        )

    assert counts(latencies) == {"AnswerQuestion": 20, "CheckAnswer": 20}


def test_overlapping_calls_do_not_take_each_others_time(latencies):
    both_running = threading.Barrier(2, timeout=10)
    slow_may_end = threading.Event()

    class Overlapping(FieldEngine):
        def generate(self, request):
            both_running.wait()
            if "verdict" in request.messages[-1].parts[-1].text:
                slow_may_end.wait(10)
            return super().generate(request)

    def check():
        dspy.Predict(CheckAnswer)(question="q", answer="a")

    def answer():
        dspy.Predict(AnswerQuestion)(question="q")
        slow_may_end.wait(0.1)
        slow_may_end.set()

    with timed(latencies, Overlapping()):
        dspy.Parallel(num_threads=2, disable_progress_bar=True)([(check, {}), (answer, {})])

    summary = latencies.summary()
    assert counts(latencies) == {"AnswerQuestion": 1, "CheckAnswer": 1}
    assert summary["CheckAnswer"]["p50_ms"] > 90 > summary["AnswerQuestion"]["p50_ms"]


def test_a_call_that_raises_is_recorded_as_failed(latencies):
    with timed(latencies, FailingEngine()), pytest.raises(dspy.utils.exceptions.LMError):
        dspy.Predict(AnswerQuestion)(question="why?")

    assert counts(latencies) == {"AnswerQuestion": 1}
    assert latencies.summary()["AnswerQuestion"]["success_rate"] == 0


def test_an_unparsable_answer_is_a_successful_call(latencies):
    with timed(latencies, GarbageEngine()), pytest.raises(dspy.utils.exceptions.AdapterParseError):
        dspy.Predict(AnswerQuestion)(question="why?")

    assert counts(latencies) == {"AnswerQuestion": 2}  # DSPy asks once more, for JSON
    assert latencies.summary()["AnswerQuestion"]["success_rate"] == 1


def test_calls_without_a_signature(latencies):
    with timed(latencies):
        AsksDirectly()(question="why?")
        dspy.settings.lm("and outside any module?")

    assert counts(latencies) == {"AsksDirectly": 1, "lm": 1}


@pytest.fixture
def kept(tmp_path, latencies):
    """A model whose answers are kept, and timed."""
    with closing(ResponseCache(tmp_path, 100)) as cache:
        lm = cached_lm(a_model(FieldEngine()), cache, "one model").copy(temperature=0.0)
        yield lm.copy(callbacks=[SignatureLatency(latencies, known=[AnswerQuestion])])


def test_a_call_that_the_response_cache_answered_is_filed_apart(latencies, kept):
    with dspy.context(lm=kept):
        for question in ("why?", "why?", "who?"):
            dspy.ChainOfThought(AnswerQuestion)(question=question)

    assert counts(latencies) == {"AnswerQuestion": 2, "AnswerQuestion.cached": 1}


def test_a_typed_request_that_the_response_cache_answered_is_filed_apart(latencies, kept):
    request = Request(
        model=kept.model, messages=(Message.user("[[ ## answer ## ]]"),), config=Config(temperature=0.0)
    )
    kept(request)
    kept(request)

    assert counts(latencies) == {"lm": 1, "lm.cached": 1}


def test_threads_that_share_a_model_keep_cached_calls_apart(latencies, kept):
    predict = dspy.Predict(AnswerQuestion)
    with dspy.context(lm=kept):
        for number in range(10):
            predict(question=f"known {number}")
        asked = [f"{kind} {number}" for number in range(10) for kind in ("known", "new")]
        runs = [(predict, dspy.Example(question=question).with_inputs("question")) for question in asked]
        dspy.Parallel(num_threads=4, disable_progress_bar=True)(runs)

    assert counts(latencies) == {"AnswerQuestion": 20, "AnswerQuestion.cached": 10}


def test_the_callback_of_one_lm_covers_its_copies(latencies):
    lm = a_model(FieldEngine()).copy(callbacks=[SignatureLatency(latencies)])
    with dspy.context(lm=lm.copy()):
        dspy.Predict(AnswerQuestion)(question="why?")

    assert counts(latencies) == {"AnswerQuestion": 1}


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        (AnswerQuestion, "AnswerQuestion"),
        (dspy.ChainOfThought(AnswerQuestion).predict.signature, "AnswerQuestion"),
        (AnswerQuestion.with_instructions("Answer like a pirate."), "AnswerQuestion"),
        (CheckAnswer.with_instructions("Be strict."), "CheckAnswer"),
        (dspy.Signature("question, context -> answer: int"), "AnswerQuestion"),
        (dspy.Signature("table, cell -> formula"), "table_cell_to_formula"),
    ],
)
def test_names_survive_derivation(signature, name):
    assert signature_name(signature, known=[AnswerQuestion, CheckAnswer]) == name


def test_a_known_signature_without_a_name_lends_the_name_of_its_fields():
    known = dspy.Signature("question, context -> answer")
    derived = dspy.ChainOfThought(known).predict.signature
    assert signature_name(derived, known=[known]) == "question_context_to_answer"
    assert signature_name(known) == "question_context_to_answer"
