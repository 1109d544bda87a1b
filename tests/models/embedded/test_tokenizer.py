import dspy
import pytest
from dspy.lm15 import Message as SentMessage
from dspy.lm15 import Request, TextPart
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig

from tiltyard.models.embedded.episode import Episode, Message, PromptEpisode, Turn
from tiltyard.models.embedded.tokenizer import (
    END,
    PAD,
    SMALLEST_VOCABULARY,
    SPECIAL_TOKENS,
    encode_episode,
    train_tokenizer,
)
from tiltyard.models.prompt import Prompt

TEXTS = [
    "Answer the question from the table.\n\n[[ ## question ## ]]\nWhat is the total revenue of 2024?",
    "[[ ## answer ## ]]\n412.5\n\n[[ ## completed ## ]]\n",
    "What is the total revenue? The total is 88.",
] * 3


class Conversation:
    def __init__(self, *messages):
        self._messages = messages

    def messages(self):
        return self._messages


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, size=320)


@pytest.fixture(scope="module")
def loaded(tokenizer, tmp_path_factory):
    """The tokenizer as a user of the model gets it."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(folder)
    LlamaConfig().save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens_come_first(loaded):
    assert loaded.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert (loaded.pad_token, loaded.pad_token_id) == (PAD, 0)
    assert loaded.eos_token == END
    assert loaded.bos_token is None
    assert loaded.model_max_length == 2048


def test_the_vocabulary_is_at_most_as_large_as_asked(tokenizer):
    assert len(tokenizer) <= 320
    assert len(train_tokenizer([], size=SMALLEST_VOCABULARY)) == SMALLEST_VOCABULARY


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    again = train_tokenizer(iter(TEXTS), size=320)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_each_digit_is_a_token_wherever_it_stands(loaded):
    for text in ("2024", "x2024", "revenue 2024.", "(2024)", "\n2024"):
        tokens = [loaded.decode([one]).strip() for one in loaded(text)["input_ids"]]
        assert [token for token in tokens if any(map(str.isdigit, token))] == ["2", "0", "2", "4"]


def test_a_word_is_the_same_tokens_within_a_line_and_at_the_start_of_one(loaded):
    within, line = loaded("it is 412 bar")["input_ids"], loaded("is\n412 bar")["input_ids"]
    assert within[-5:] == line[-5:]


def test_frequent_words_are_fewer_tokens_than_letters(loaded):
    assert len(loaded("What is the total revenue?")["input_ids"]) < 15


@given(st.text())
def test_any_text_comes_back(loaded, text):
    assert loaded.decode(loaded(text)["input_ids"]) == text


@pytest.mark.parametrize("text", ["two  spaces .", " leading", "trailing \n", "naïve – 漢字 🏇 ½", "don 't"])
def test_awkward_texts_come_back(loaded, text):
    assert loaded.decode(loaded(text)["input_ids"]) == text


CONVERSATIONS = [
    Conversation(Message("user", "2 + 2?", False), Message("assistant", "4", True)),
    Conversation(
        Message("system", "Be short. \n", False),
        Message("user", "\n 2 + 2? ", False),
        Message("assistant", "\n4\n", True),
    ),
    Conversation(
        Message("system", "", False),
        Message("user", "a", False),
        Message("assistant", " b", False),
        Message("user", " c ", False),
        Message("assistant", "", True),
    ),
    PromptEpisode("propose", "Write better instructions:\n```\nold\n```\n", "```\nnew\n```"),
    Episode(
        "sum",
        dspy.Signature("question, table -> answer", "Answer."),
        (
            Turn({"question": "total?", "table": "a | 1\n"}, {"answer": "1"}),
            Turn({"question": "revenue? ", "table": " b | 2"}, {"answer": "2 EUR"}),
        ),
    ),
]


@pytest.mark.parametrize("episode", CONVERSATIONS)
def test_training_reads_what_the_chat_template_writes(loaded, episode):
    turns = [{"role": message.role, "content": message.content} for message in episode.messages()]
    ids = encode_episode(loaded, episode).ids
    prompt = loaded.apply_chat_template(turns[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert loaded.apply_chat_template(turns, return_dict=True)["input_ids"] == ids
    assert ids[: len(prompt)] == prompt
    assert loaded.decode(ids[len(prompt) :]) == turns[-1]["content"] + END


@pytest.mark.parametrize("episode", CONVERSATIONS)
def test_training_reads_what_the_local_engine_sends(loaded, episode):
    messages = list(episode.messages())
    system = messages.pop(0).content if messages[0].role == "system" else None
    sent = tuple(SentMessage(one.role, (TextPart(one.content),)) for one in messages[:-1])
    prompt = Prompt(loaded).encode(Request(model="embedded", messages=sent, system=system or None))
    ids = encode_episode(loaded, episode).ids
    if system == "":  # DSPy sends no empty system text
        ids = ids[2:]
    assert ids[: len(prompt)] == prompt


def test_answers_to_learn_are_marked_with_their_end(loaded):
    episode = Conversation(
        Message("user", "a", False),
        Message("assistant", "no", False),
        Message("user", "b", False),
        Message("assistant", "yes 7", True),
    )
    ids, answer = encode_episode(loaded, episode)
    assert len(ids) == len(answer)
    assert loaded.decode([one for one, learnt in zip(ids, answer, strict=True) if learnt]) == f"yes 7{END}"


LINES = ("Answer from the table, in one word or number.", "[[ ## completed ## ]]")
LAYOUT = f"{LINES[0]}\n\n{{question}}\n{LINES[1]}\n"


@pytest.fixture(scope="module")
def with_layout():
    return train_tokenizer(TEXTS, size=320, layouts=[LAYOUT])


def test_long_lines_of_a_layout_are_tokens(with_layout):
    assert all(len(with_layout(line)["input_ids"]) == 1 for line in LINES)
    assert len(with_layout) <= 320


@pytest.mark.parametrize(
    "text", [LAYOUT, f"  {LAYOUT} x", LINES[0] + LINES[0], LINES[0][:-1], f"é{LINES[1]}é"]
)
def test_texts_with_lines_of_a_layout_come_back(with_layout, text):
    assert with_layout.decode(with_layout(text)["input_ids"]) == text
