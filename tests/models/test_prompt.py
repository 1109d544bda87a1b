import pytest
from dspy.lm15 import ImagePart, InvalidRequestError, Message, Request, TextPart, UnsupportedFeatureError

from tiltyard.models.prompt import Prompt

TALK = Request(
    model="m",
    system="Be brief.",
    messages=(Message.user("1 + 1?"), Message.assistant("2"), Message.user("2 + 2?")),
)


def refusing_system(template):
    return "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + template


def dropping_system(template):
    return template.replace("in messages %}", "in messages if m['role'] != 'system' %}")


@pytest.fixture
def tokenizer(llama):
    shipped = llama.tokenizer.chat_template
    yield llama.tokenizer
    llama.tokenizer.chat_template = shipped


def text(tokenizer, request, chat_template="auto"):
    prompt = Prompt(tokenizer, chat_template)
    return tokenizer.decode(prompt.encode(request), clean_up_tokenization_spaces=False)


def test_the_chat_template_makes_the_prompt(tokenizer):
    assert Prompt(tokenizer).format == "tokenizer"
    assert text(tokenizer, TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n1 + 1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\n2 + 2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("without_system", [refusing_system, dropping_system])
def test_system_text_joins_the_user_turn_where_the_template_has_no_place_for_it(tokenizer, without_system):
    tokenizer.chat_template = without_system(tokenizer.chat_template)

    assert text(tokenizer, TALK).startswith("<|im_start|>user\nBe brief.\n\n1 + 1?<|im_end|>\n")


@pytest.mark.parametrize("tokenizer_has_one", [True, False])
def test_the_plain_layout_labels_the_speakers(tokenizer, tokenizer_has_one):
    tokenizer.chat_template = tokenizer.chat_template if tokenizer_has_one else None
    plain = Prompt(tokenizer, "none")

    assert plain.format == "none"
    assert plain.stop == ("\n\nUser:",)
    assert text(tokenizer, TALK, "none") == (
        "System: Be brief.\n\nUser: 1 + 1?\n\nAssistant: 2\n\nUser: 2 + 2?\n\nAssistant:"
    )


def test_a_template_is_known_by_its_digest(tokenizer):
    known = Prompt(tokenizer).digest
    assert len(known) == 12
    tokenizer.chat_template += " "
    assert Prompt(tokenizer).digest not in ("", known)
    assert Prompt(tokenizer, "none").digest == ""


def test_developer_text_is_system_text(tokenizer):
    request = Request(
        model="m", messages=(Message(role="developer", parts=(TextPart("Hm."),)), Message.user("Hi"))
    )

    assert text(tokenizer, request).startswith("<|im_start|>system\nHm.<|im_end|>\n")


def test_the_date_in_a_prompt_does_not_change_from_day_to_day(tokenizer):
    tokenizer.chat_template = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"

    assert text(tokenizer, TALK) == "26 Jul 2024"


def test_a_picture_is_refused_and_not_dropped(tokenizer):
    picture = ImagePart(url="https://example.org/a.png")
    request = Request(model="m", messages=(Message(role="user", parts=(TextPart("What is it?"), picture)),))

    with pytest.raises(UnsupportedFeatureError, match="text only, not a part of type 'image'"):
        Prompt(tokenizer).encode(request)


def test_a_template_that_refuses_the_turns_is_an_invalid_request(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"

    with pytest.raises(InvalidRequestError, match="refuses this conversation: roles must alternate"):
        Prompt(tokenizer).encode(TALK)
