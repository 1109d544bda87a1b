import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.redaction import MASK, is_secret_name, redact


@pytest.mark.parametrize(
    "name", ["api_key", "OPENAI_API_KEY", "HF_TOKEN", "model.password", "client_secret", "Authorization"]
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["max_tokens", "tokenizer", "keyword", "pad_token", "sort_key", "answer_key", "max_token"]
)
def test_names_of_ordinary_options(name):
    assert not is_secret_name(name)


def test_values_of_secret_variables_are_masked(monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "abcdef-123456-long")
    assert redact("401: key abcdef-123456-long was refused") == f"401: key {MASK} was refused"


def test_a_secret_that_contains_another_is_masked_whole(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefgh-ijklmnop")
    assert redact("x abcdefgh-ijklmnop y") == f"x {MASK} y"


@pytest.mark.parametrize(
    "text",
    [
        "sk-abcdefghijklmnop",
        "gsk_abcdefghijklmnop",
        "hf_abcdefghijklmnop",
        "Authorization: Bearer abc.def-ghi",
        "https://user:hunter2@example.org/x",
    ],
)
def test_texts_with_the_shape_of_a_key_are_masked(text):
    masked = redact(text)
    assert MASK in masked
    assert "hunter2" not in masked
    assert "abc" not in masked


@pytest.mark.parametrize(
    "text", ["hf-internal-testing/tiny-random-gpt2", "data/hf_validation_questions.jsonl", "task-key_value"]
)
def test_names_that_only_begin_like_a_key_are_left_alone(text):
    assert redact(text) == text


@given(st.text(alphabet="abchfskxi-_/.=:@ 0123456789", max_size=11))
def test_text_too_short_for_a_key_is_left_alone(text):
    assert redact(text.replace("://", "")) == text.replace("://", "")


@given(st.text(alphabet="abcXYZ019", min_size=16, max_size=40))
def test_a_key_never_survives(secret):
    for shape in ("sk-{}", "hf_{}", "Bearer {}", "https://{}@host", "https://host/?api_key={}", "?token={}"):
        assert secret not in redact(f"before {shape.format(secret)} after")


@given(
    st.sampled_from(("\n", "\t", " ", '"', "x: ")),
    st.sampled_from(("sk-proj-abcdefghijklmnop1", "AKIAABCDEFGHIJKLMNOP")),
)
def test_a_key_in_a_line_of_json_is_masked(before, key):
    line = json.dumps({"text": f"a{before}{key}"})
    assert key not in redact(line)
    assert json.loads(redact(line))["text"].startswith("a")


@pytest.mark.parametrize(
    "text", ['api_key="abcdefgh"', "https://host/?key=abcdefgh", 'see "?token=abcdefgh"']
)
def test_an_assigned_secret_is_masked_and_its_quotes_stay(text):
    assert "abcdefgh" not in redact(text)
    assert redact(text).count('"') == text.count('"')
    again = json.loads(redact(json.dumps({"text": text})))["text"]
    assert again == redact(text)
