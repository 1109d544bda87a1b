import dspy
from dspy.lm15 import Message

from tiltyard.models.engine import Completion, TextEngine, max_concurrency, message_text, model_id, provenance


class Echo(TextEngine):
    @property
    def provenance(self):
        return {"weights": "none"}

    def generate(self, request):
        text = message_text(request.messages[-1])
        return Completion(text.upper(), prompt_tokens=3, completion_tokens=2, cached_tokens=1)


def test_a_completion_reaches_dspy_with_its_usage():
    lm = dspy.LM("local/echo", engine=Echo(), cache=False)
    assert lm("hello") == ["HELLO"]
    entry = lm.history[-1]
    assert entry["usage"]["prompt_tokens"] == 3
    assert entry["usage"]["completion_tokens"] == 2
    assert entry["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert entry["response"].finish_reason == "stop"


def test_a_stream_is_the_whole_completion():
    request = dspy.lm15.Request(model="local/echo", messages=(Message.user("hello"),))
    texts = [event.delta.text for event in Echo().stream(request) if event.type == "delta"]
    assert "".join(texts) == "HELLO"


def test_a_model_is_named_without_its_prefix():
    lm = dspy.LM("local/org/name", engine=Echo(), cache=False)
    assert model_id(lm) == "org/name"
    assert provenance(lm) == {"weights": "none"}
    assert model_id(dspy.LM("openai/gpt-4o")) == "openai/gpt-4o"
    assert provenance(dspy.LM("openai/gpt-4o")) == {}


class OneByOne(Echo):
    @property
    def max_concurrency(self):
        return 1


def test_an_engine_says_how_many_requests_it_works_on_at_once():
    assert max_concurrency(dspy.LM("local/echo", engine=OneByOne(), cache=False)) == 1
    assert max_concurrency(dspy.LM("local/echo", engine=Echo(), cache=False)) is None
    assert max_concurrency(dspy.LM("openai/gpt-4o")) is None
