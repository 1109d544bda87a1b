"""Builds the models that the inference benchmark runs: random Llamas with a tokenizer of their own.

>>> build(SIZES["8m"], Path("models"))
PosixPath('models/llama-8m-0')

A random model of a given shape computes exactly as fast as a trained one. It writes ordinary tokens only, and
never an end token: all other rows of its embedding, which is also its output layer, are zero, so that their
logits are 0, and some ordinary token's is above. Every system writes as many tokens as it is asked for.
"""

import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

CONTEXT_WINDOW = 8192
END, PAD = "<|end|>", "<|pad|>"


@dataclass(frozen=True)
class Size:
    """The shape of a Llama."""

    name: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int


SIZES = {
    "8m": Size("8m", 8192, 256, 768, layers=8, heads=8, key_value_heads=4),
    "135m": Size("135m", 49152, 576, 1536, layers=30, heads=9, key_value_heads=3),  # SmolLM2's shape
}


def build(size: Size, folder: Path, seed: int = 0) -> Path:
    """The folder of a model, built there unless it is there already."""
    target = folder / f"llama-{size.name}-{seed}"
    if not target.exists():
        unfinished = target.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        tokenizer = train_tokenizer(size.vocabulary)
        tokenizer.save_pretrained(unfinished)
        random_llama(size, tokenizer, seed).save_pretrained(unfinished)
        unfinished.rename(target)
    return target


def train_tokenizer(vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of at most so many tokens, trained on Python's manual and library."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, padding_side="left"
    )


def random_llama(size: Size, tokenizer: Any, seed: int) -> Any:
    """A Llama of random weights that writes the tokenizer's ordinary tokens only."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=CONTEXT_WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        embedding[tokenizer.all_special_ids] = 0
        embedding[len(tokenizer) :] = 0
    return model


def _texts() -> Iterator[str]:
    yield from topics.values()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")
