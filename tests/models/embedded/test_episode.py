import dspy
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.embedded.curriculum import training_episode
from tiltyard.models.embedded.episode import (
    Conversation,
    Episode,
    Message,
    PromptEpisode,
    Turn,
    answer_text,
)
from tiltyard.programs.qa import AnswerQuestion

EPISODE = Episode(
    "amount/plain",
    AnswerQuestion,
    (
        Turn({"question": "What was rent?", "context": "rent | 5"}, {"answer": "5"}, learn=False),
        Turn({"question": "What was debt?", "context": "debt | 7"}, {"answer": "7"}),
    ),
)


@settings(deadline=None)
@given(index=st.integers(0, 10**6))
def test_every_answer_is_read_back_as_it_was_meant(index):
    episode = training_episode(index, seed=1)
    messages = episode.messages()
    assert messages[-1].role == "assistant"
    if not isinstance(episode, Episode):
        return
    adapter = dspy.ChatAdapter()
    written = [message.content for message in messages if message.role == "assistant"]
    assert len(written) == len(episode.turns)
    for turn, text in zip(episode.turns, written, strict=True):
        assert adapter.parse(episode.signature, text) == dict(turn.outputs)


def test_a_call_is_laid_out_as_dspy_does_it():
    seen = []

    class Engine:
        def complete(self, request):
            seen.append(request)
            return dspy.lm15.Response(
                id=None,
                model=request.model,
                message=dspy.lm15.Message(
                    role="assistant", parts=(dspy.lm15.TextPart("[[ ## answer ## ]]\n7"),)
                ),
                finish_reason="stop",
                usage=dspy.lm15.Usage(input_tokens=1, output_tokens=1),
            )

    program = dspy.Predict(EPISODE.signature)
    program.demos = EPISODE.demos
    with dspy.context(lm=dspy.LM("local/seen", engine=Engine(), cache=False), adapter=dspy.ChatAdapter()):
        program(**EPISODE.asked.inputs)
    (request,) = seen
    system = request.system if isinstance(request.system, str) else request.system[0].text
    asked = [Message("system", system, False)]
    asked += [Message(one.role, one.parts[0].text, False) for one in request.messages]
    assert [(one.role, one.content) for one in EPISODE.messages()[:-1]] == [
        (one.role, one.content) for one in asked
    ]


def test_only_turns_to_learn_are_learnt():
    learnt = [message.learn for message in EPISODE.messages()]
    assert learnt == [False, False, False, False, True]
    assert EPISODE.messages()[-1].content == answer_text(AnswerQuestion, {"answer": "7"})


def test_a_prompt_is_one_message_and_its_reply():
    episode = PromptEpisode("propose/gepa", "Improve this.", "```\nBetter.\n```")
    assert episode.messages() == [
        Message("user", "Improve this.", False),
        Message("assistant", "```\nBetter.\n```", True),
    ]


def test_a_conversation_is_learnt_reply_by_reply():
    assert Conversation(
        "recall", (("valve 7\n\nvalve?", "7"), ("And the boiler?", "unknown"))
    ).messages() == [
        Message("user", "valve 7\n\nvalve?", False),
        Message("assistant", "7", True),
        Message("user", "And the boiler?", False),
        Message("assistant", "unknown", True),
    ]
