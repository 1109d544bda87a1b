import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from dspy.lm15 import Config, InvalidRequestError, Message, Request, TextPart, UnsupportedFeatureError
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiltyard.errors import InputError
from tiltyard.models.constraints import Closing, Constrainer, ReplyFormat

TEXT = [
    "The quick brown fox jumps over the lazy dog. Revenue was 120.5 million in 2019.",
    '{"name": "pump", "price": 7.25, "tags": ["a", "b"], "note": null, "ok": true}',
    "[[ ## reasoning ## ]]\nBecause.\n\n[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]",
]
MARKS = ["<s>", "</s>", "<|im_end|>"]


def byte_level():
    """As GPT-2's: every byte is a token of the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=MARKS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def metaspace():
    """As Llama 2's: spaces are ▁, and what the vocabulary lacks falls back to bytes."""
    data = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", *MARKS, *data], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    layout = json.loads(tokenizer.to_str())
    layout["added_tokens"] = [token for token in layout["added_tokens"] if token["content"] not in data]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)), unk_token="<unk>", eos_token="</s>"
    )


BYTE_LEVEL = byte_level()
METASPACE = metaspace()
CONSTRAINERS = {
    "byte-level": Constrainer(BYTE_LEVEL, [BYTE_LEVEL.eos_token_id]),
    "metaspace": Constrainer(METASPACE, [METASPACE.eos_token_id]),
}
TOKENIZERS = {"byte-level": BYTE_LEVEL, "metaspace": METASPACE}
KINDS = pytest.mark.parametrize("kind", TOKENIZERS)


def request(*, response_format=None, form=None, max_tokens=None):
    return Request(
        model="local/any",
        messages=(Message(role="user", parts=(TextPart("Hello"),)),),
        config=Config(
            max_tokens=max_tokens,
            response_format=response_format,
            extensions=None if form is None else {"metadata": form.metadata},
        ),
    )


def schema(definition):
    return {"type": "json_schema", "schema": definition, "name": "Reply"}


def grammar(text, *closings):
    return ReplyFormat(text, tuple(closings))


def write(kind, constraint, *, seed, limit):
    """What a model of random logits writes, and whether it ended by itself."""
    tokenizer = TOKENIZERS[kind]
    generator = torch.Generator().manual_seed(seed)
    written = []
    while len(written) < limit:
        logits = constraint.restrict(torch.randn(len(tokenizer), generator=generator) * 3)
        token = int(logits.argmax())
        constraint.accept(token)
        if token == tokenizer.eos_token_id:
            return tokenizer.decode(written), True
        written.append(token)
    return tokenizer.decode(written), False


def allowed(constraint, size):
    return set(torch.isfinite(constraint.restrict(torch.zeros(size))).nonzero().flatten().tolist())


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


class Reading(BaseModel):
    sensor: str
    value: float
    tags: list[str]
    note: str | None = None


@KINDS
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_reply_keeps_to_its_json_schema(kind, seed):
    asked = request(response_format=schema(Reading.model_json_schema()), max_tokens=200)

    text, ended = write(kind, CONSTRAINERS[kind].constraint(asked), seed=seed, limit=200)

    assert ended
    Reading.model_validate_json(text)


@KINDS
@pytest.mark.parametrize("seed", range(10))
def test_any_object_is_a_json_object(kind, seed):
    asked = request(response_format={"type": "json_object"}, max_tokens=120)

    text, ended = write(kind, CONSTRAINERS[kind].constraint(asked), seed=seed, limit=120)

    assert ended
    assert isinstance(json.loads(text), dict)


@KINDS
def test_a_request_without_a_format_is_free(kind):
    assert CONSTRAINERS[kind].constraint(request()) is None
    assert ReplyFormat.of(request()) is None


def test_a_format_survives_the_request():
    form = grammar('start: "a"', Closing("b", "c", least=3, fields=2))

    assert ReplyFormat.of(request(form=form)) == form


def test_a_reply_ends_exactly_where_its_format_may_end():
    ends = BYTE_LEVEL.convert_tokens_to_ids(["</s>", "<|im_end|>"])
    constraint = Constrainer(BYTE_LEVEL, ends).constraint(request(form=grammar("start: /ab?/")))
    first, second = ids(BYTE_LEVEL, "a") + ids(BYTE_LEVEL, "b")

    at_start = allowed(constraint, len(BYTE_LEVEL))
    constraint.accept(first)
    after_a = allowed(constraint, len(BYTE_LEVEL))
    constraint.accept(second)
    after_ab = allowed(constraint, len(BYTE_LEVEL))

    assert first in at_start
    assert not at_start & set(ends)
    assert after_a == {second, *ends}
    assert after_ab == set(ends)


@KINDS
def test_an_end_token_is_no_text(kind):
    tokenizer = TOKENIZERS[kind]
    word = next(i for i in range(len(tokenizer) - 1, 0, -1) if tokenizer.decode([i]).strip().isalpha())
    constrainer = Constrainer(tokenizer, [tokenizer.eos_token_id, word])

    free = allowed(constrainer.constraint(request(form=grammar('start: /(?s:.*)/ "!"'))), len(tokenizer))

    assert len(free) > len(tokenizer) / 2
    assert not free & {word, *tokenizer.all_special_ids, tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_scores_of_allowed_tokens_stay_and_the_input_too():
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=grammar('start: "a" | "b"')))
    logits = torch.randn(len(BYTE_LEVEL))
    before = logits.clone()

    restricted = constraint.restrict(logits)

    kept = ids(BYTE_LEVEL, "a") + ids(BYTE_LEVEL, "b")
    assert torch.equal(logits, before)
    assert torch.equal(restricted[kept], before[kept])
    assert int(torch.isfinite(restricted).sum()) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("extra", [-5, 0, 1, 77])
def test_logits_may_be_wider_than_the_vocabulary(dtype, extra):
    """Embeddings are often padded to a round number; the tokens beyond mean nothing."""
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=grammar("start: /(?s:.*)/")))

    restricted = constraint.restrict(torch.zeros(len(BYTE_LEVEL) + extra, dtype=dtype))

    assert restricted.dtype == dtype
    assert restricted.shape == (len(BYTE_LEVEL) + extra,)
    assert not torch.isfinite(restricted[len(BYTE_LEVEL) :]).any()


def test_a_forbidden_token_is_not_accepted():
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=grammar('start: "a"')))

    with pytest.raises(ValueError, match="not allowed"):
        constraint.accept(ids(BYTE_LEVEL, "b")[0])


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        {"type": "string", "pattern": "(?=a)b"},
        {"$ref": "https://example.com/schema"},
        {"type": "string", "format": "soundex"},
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused_in_one_line(definition):
    with pytest.raises(UnsupportedFeatureError, match="cannot be enforced") as error:
        CONSTRAINERS["byte-level"].constraint(request(response_format=schema(definition)))

    assert "\n" not in str(error.value)


def test_a_grammar_that_is_none_is_refused_in_one_line():
    with pytest.raises(InvalidRequestError, match="cannot be enforced") as error:
        CONSTRAINERS["byte-level"].constraint(request(form=grammar("start: nowhere")))

    assert "\n" not in str(error.value)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance.hf", None)

    with pytest.raises(InputError, match=r"tiltyard\[constrained\]"):
        Constrainer(BYTE_LEVEL, [0])


def test_a_tokenizer_that_cannot_be_read_is_refused():
    words = Tokenizer(models.WordPiece({"a": 0, "##b": 1, "[SEP]": 2}, unk_token="[SEP]"))
    words.decoder = decoders.WordPiece()

    with pytest.raises(InputError, match="tokenizer"):
        Constrainer(PreTrainedTokenizerFast(tokenizer_object=words), [2])


@pytest.mark.parametrize("ends", [[], [10**6]])
def test_a_model_without_an_end_token_is_refused(ends):
    with pytest.raises(InputError, match="no end token"):
        Constrainer(BYTE_LEVEL, ends)


STORY = grammar(
    'start: TEXT /[0-9]{1,3}/\nTEXT: (/(?s:.*)/ & ~/(?s:.*)\\n= (?s:.*)/) "\\n= "',
    Closing("\n= ", least=3),
)


@KINDS
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), limit=st.integers(24, 80))
def test_text_is_brought_to_its_end_before_the_limit(kind, seed, limit):
    constraint = CONSTRAINERS[kind].constraint(request(form=STORY, max_tokens=limit))

    text, ended = write(kind, constraint, seed=seed, limit=limit)

    assert ended
    assert text.rpartition("\n= ")[2].isdigit()


@KINDS
def test_a_reply_that_ends_by_itself_is_not_cut(kind):
    constraint = CONSTRAINERS[kind].constraint(request(form=STORY, max_tokens=60))

    for token in ids(TOKENIZERS[kind], "So it was.\n= 42"):
        constraint.restrict(torch.zeros(len(TOKENIZERS[kind])))
        constraint.accept(token)

    assert TOKENIZERS[kind].eos_token_id in allowed(constraint, len(TOKENIZERS[kind]))
    assert not constraint.cut


def test_a_reply_that_reaches_its_limit_is_cut():
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=STORY), max_tokens=40)

    write("byte-level", constraint, seed=0, limit=40)

    assert constraint.cut


def test_a_reply_that_ends_of_itself_at_its_limit_is_not_cut():
    """The limit is near, and what it demands is what the model wants."""
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=STORY), max_tokens=16)

    for token in [*ids(BYTE_LEVEL, "\n= 4"), BYTE_LEVEL.eos_token_id]:
        wanted = torch.zeros(len(BYTE_LEVEL)).index_fill(0, torch.tensor([token]), 1.0)
        assert int(constraint.restrict(wanted).argmax()) == token
        constraint.accept(token)

    assert not constraint.cut


def test_a_reply_without_a_limit_is_not_cut():
    constraint = CONSTRAINERS["byte-level"].constraint(request(form=STORY))

    write("byte-level", constraint, seed=0, limit=200)

    assert not constraint.cut


@KINDS
def test_threads_share_a_constrainer(kind):
    tokenizer = TOKENIZERS[kind]
    definitions = [{"type": "object", "properties": {f"p{n % 5}": {"type": "integer"}}} for n in range(40)]
    asked = [request(response_format=schema(definition), max_tokens=60) for definition in definitions]
    shared = Constrainer(tokenizer, [tokenizer.eos_token_id])

    def reply(constrainer, seed):
        return write(kind, constrainer.constraint(asked[seed]), seed=seed, limit=60)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: reply(shared, seed), range(40)))

    assert together == [reply(CONSTRAINERS[kind], seed) for seed in range(40)]
