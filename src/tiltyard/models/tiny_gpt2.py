"""A GPT-2 small enough for any machine, from the Hub or, out of its reach, built on the spot.

    >>> lm = tiny_gpt2(hardware=Hardware(device="cpu"))

It runs the whole transformers path in seconds. Its answers are noise: its weights are random, or trained on
next to nothing.
"""

import logging
from dataclasses import replace
from importlib.resources import files
from typing import Any, Literal

import dspy

from tiltyard.models.hardware import Hardware, Placement
from tiltyard.models.sources import HubError, ModelSource
from tiltyard.models.transformers_engine import MaxTokens, Seed, Temperature, TopP, local_lm
from tiltyard.models.weights import SHARED, Weights, compile_forward, read_weights

logger = logging.getLogger(__name__)

HUB_ID = "sshleifer/tiny-gpt2"
"""The only model that the random one may stand in for."""
RANDOM_NAME = "tiny-gpt2-random"
"""What rows call the model that is built here."""

CONTEXT_WINDOW = 16384
"""Tokens; room for sixteen demonstrations with a table each."""
VOCABULARY = 2048
END = "<|endoftext|>"


def tiny_gpt2(
    *,
    hardware: Hardware,
    id: ModelSource = HUB_ID,
    weights: Literal["auto", "random"] = "auto",
    max_tokens: MaxTokens = 64,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    constrained: bool = False,
) -> dspy.LM:
    """A tiny GPT-2 as a DSPy language model, for trying the transformers path anywhere.

    When the Hub is out of reach and its cache has no copy, a random two-layer GPT-2 with a tokenizer trained
    on text in this package takes the place of the default model, and of no other. The log says so in one
    line, and the run's tags carry ``weights: random``. The random model is the same in every process; it has
    a context window of 16384 tokens, where the Hub's has 1024.

    Args:
        hardware: The device, number format and threads; given by ``hardware=``. One thread where it leaves
            the number to torch.
        id: The Hub id or local folder of a small GPT-2. Another than the default has to be there.
        weights: ``auto`` as above; ``random`` builds the random model without asking the Hub.
        max_tokens: The most tokens of an answer, at least 1; a random model rarely stops before.
        temperature: 0 (greedy) to 2. Above 0, tokens are sampled.
        top_p: Sample among the likeliest tokens that together have this probability, in (0, 1].
        seed: Decides sampled answers. A request that is repeated draws anew.
        constrained: Let the model write only what keeps the format that its signature asks for. Needs the
            extra ``constrained``.

    Raises:
        InputError: The device is not there, or the model cannot be loaded and nothing may stand in for it.
    """
    placement = hardware.resolve()

    def load() -> Weights:
        if weights == "random":
            return build_random(placement)
        try:
            return read_weights(id, placement=placement)
        except HubError as error:
            if id != HUB_ID:
                raise
            logger.warning(
                "tiny-gpt2 runs with random weights built here, its answers are noise: %s", error.what
            )
            return build_random(placement)

    key = ("tiny-gpt2", id, weights, placement.device, placement.dtype, placement.compile)
    return local_lm(
        SHARED.get(key, load),
        # Too small to gain from more threads, which cost much on a busy machine.
        replace(placement, threads=placement.threads or 1),
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        constrained=constrained,
    )


def build_random(placement: Placement) -> Weights:
    """A two-layer GPT-2 of random weights with a byte-level tokenizer; equal in every process."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _train_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT_WINDOW,
        n_embd=64,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers as they are
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
    dtype = torch.float32 if placement.dtype == "auto" else getattr(torch, placement.dtype)
    model = model.to(device=placement.device, dtype=dtype).eval()
    if placement.compile:
        compile_forward(model)
    return Weights(RANDOM_NAME, "random", model, tokenizer)


def _train_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    text = files("tiltyard.models").joinpath("tiny_gpt2_corpus.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
