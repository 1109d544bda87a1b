"""Stop strings are noticed at the token at which they appear in the whole text, and not before."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiltyard.models.batching.stop_strings import StopStrings
from tiltyard.models.decoding import first_stop, text_of

TEXT = "the cat saw a café, naïve 日本語 text 😀 and the end.\n\nQ: what? A: 42 ## done\n" * 3
UNFINISHED = "\ufffd"


@cache
def byte_level():
    """As GPT-2 and Llama 3 have it: tokens are bytes, so characters fall apart over tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<end>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")


@cache
def metaspace():
    """As Llama 2 and Mistral have it: a leading space falls away, and rare characters are single bytes."""
    pieces = ["<unk>", "<end>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "▁a", "▁the", "▁cat", "the", "cat", "a", "b", "c", ".", "#", "##", "\n", "é"]
    tokenizer = Tokenizer(
        models.BPE({piece: at for at, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<pad>"
    )


def first_seen(tokenizer, tokens, stops):
    """After how many tokens the whole text so far has a stop string in it."""
    for count in range(1, len(tokens) + 1):
        if first_stop(text_of(tokenizer, tokens[:count]), stops) is not None:
            return count
    return None


def noticed(tokenizer, tokens, stops):
    watch = StopStrings(tokenizer, stops)
    return next((count for count, token in enumerate(tokens, start=1) if watch.complete(token)), None)


@st.composite
def byte_level_cases(draw):
    tokenizer = byte_level()
    if draw(st.booleans()):
        tokens = draw(st.lists(st.integers(0, len(tokenizer) - 1), min_size=1, max_size=30))
    else:
        tokens = tokenizer.encode(draw(st.text("the cafénï日本😀 \n#.:", min_size=1, max_size=30)))
    return tokens, draw(stops_in(tokenizer, tokens))


@st.composite
def metaspace_cases(draw):
    tokenizer = metaspace()
    word = st.integers(256 + 3, len(tokenizer) - 1)
    character = st.sampled_from("é日😀").map(
        lambda text: [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in text.encode()]
    )
    special = st.sampled_from([tokenizer.eos_token_id, tokenizer.pad_token_id])
    parts = draw(
        st.lists(
            st.one_of(word.map(lambda one: [one]), character, special.map(lambda one: [one])), max_size=15
        )
    )
    tokens = [token for part in parts for token in part] or [draw(word)]
    return tokens, draw(stops_in(tokenizer, tokens))


@st.composite
def stops_in(draw, tokenizer, tokens):
    """Some from the text itself, so that they are found, and some from elsewhere."""
    whole = text_of(tokenizer, tokens)
    stops = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(whole) - 1)))
        part = whole[start : start + draw(st.integers(1, 6))]
        stops.append(
            part if part and UNFINISHED not in part else draw(st.text("ab #é", min_size=1, max_size=4))
        )
    return tuple(stops)


@settings(max_examples=150, deadline=None)
@given(byte_level_cases())
def test_bytes_and_merges(case):
    tokens, stops = case

    assert noticed(byte_level(), tokens, stops) == first_seen(byte_level(), tokens, stops)


@settings(max_examples=150, deadline=None)
@given(metaspace_cases())
def test_words_with_leading_spaces_and_single_bytes(case):
    tokens, stops = case

    assert noticed(metaspace(), tokens, stops) == first_seen(metaspace(), tokens, stops)


def ids(*pieces):
    return metaspace().convert_tokens_to_ids(list(pieces))


@pytest.mark.parametrize(
    ("tokens", "stop", "after"),
    [
        (ids("▁the", "▁cat"), " cat", 2),
        (ids("▁the", "▁cat"), " the", None),  # the first space falls away
        (ids("▁the", "<pad>", "▁cat"), " cat", 3),
        (ids("a", "#", "#", "b"), "##", 3),
        (ids("a", "<0xC3>", "<0xA9>", "b"), "é", 3),
        (ids("a", "<0xC3>", "<0xA9>", "b"), "éb", 4),
        (ids("a", "##", "b"), "#b", 3),
    ],
)
def test_at_the_token_that_completes_it(tokens, stop, after):
    assert noticed(metaspace(), tokens, (stop,)) == after


def test_a_long_text_costs_no_more_per_token_than_a_short_one():
    decoded = []

    class Counting:
        def decode(self, tokens, **options):
            decoded.append(len(tokens))
            return byte_level().decode(tokens, **options)

    watch = StopStrings(Counting(), ("never there",))
    for token in byte_level().encode(TEXT * 3):
        watch.complete(token)

    assert max(decoded) <= 12
