"""The embedded model's tokens: how they are found in its episodes, and what an episode comes to in them.

    >>> tokenizer = train_tokenizer(texts)
    >>> tokenizer.apply_chat_template([{"role": "user", "content": "7 + 5"}], tokenize=False)
    '<|user|>7 + 5<|end|>'

No two messages share a token, since special tokens part them. So what the model was trained to write after
``<|assistant|>`` starts with the same tokens whatever stands before.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from tiltyard.models.embedded.episode import Message

PAD = "<|pad|>"
END = "<|end|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (PAD, END, *(f"<|{role}|>" for role in ROLES))
"""The first tokens of the vocabulary, from 0."""

CONTEXT = 2048
"""The most tokens that the model reads and writes in one call."""

SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + 256
"""The special tokens, and one for each byte."""

PIECES = r"\n+|\s+(?!\S)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"
"""What is never joined with what stands beside it. The space before a word belongs to the word, so that a
name and its value are neighbours; and each digit is a token of its own."""

LINE_START = r"\n(?=[^\n])"
"""Where a line starts, a space is put before its first word, which is then the same token as within a line:
copying a value to where an answer starts is copying its tokens. Decoding takes the space away again."""

LONG = 12
"""Characters of the shortest line that can be a token."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class HasMessages(Protocol):
    """A conversation that the model learns from."""

    def messages(self) -> Sequence[Message]:
        """Its messages, in order."""


class Encoded(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    answer: list[bool]
    """For each token, whether it is part of an answer to learn. The end of such an answer is."""


def train_tokenizer(
    texts: Iterable[str], size: int = 1024, context: int = CONTEXT, layouts: Iterable[str] = ()
) -> Any:
    """A transformers tokenizer made for these texts, which can write any other text as well.

    It joins bytes that often stand together within a word; each digit stays a token of its own, and each
    longer line of the layouts is one token. The same texts give the same tokenizer.

    Args:
        texts: What it is made for.
        size: The most tokens of the vocabulary, at least 261.
        context: The most tokens of a call, for ``model_max_length``.
        layouts: Texts that stand in calls as they are, such as an adapter's layout of a signature.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    stripped = (line.strip() for text in layouts for line in text.splitlines())
    lines = [line for line in dict.fromkeys(stripped) if len(line) >= LONG]
    lines = lines[: max(0, size - SMALLEST_VOCABULARY)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(Regex(LINE_START), "\n ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("\n ", "\n")])
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(lines),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The lines are tokens of their own, so they say nothing about what else is joined.
    tokenizer.train_from_iterator(_without(texts, lines), trainer)
    tokenizer.add_tokens([AddedToken(line, normalized=False) for line in lines])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[f"<|{role}|>" for role in ROLES],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _without(texts: Iterable[str], lines: Sequence[str]) -> Iterator[str]:
    """The lines of the texts that are not among some lines."""
    known = set(lines)
    for text in texts:
        yield "\n".join(line for line in text.splitlines() if line.strip() not in known)


def encode_episode(tokenizer: Any, episode: HasMessages) -> Encoded:
    """An episode's tokens, as the chat template lays them out.

    Args:
        tokenizer: One that :func:`train_tokenizer` made.
        episode: The conversation.
    """
    ids: list[int] = []
    answer: list[bool] = []
    for message in episode.messages():
        text = f"<|{message.role}|>{message.content}{END}"
        found = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        ids += found
        answer += [False] + [message.learn] * (len(found) - 1)  # the role stands in the prompt
    return Encoded(ids, answer)
