"""The rules of a checkpoint about which tokens may be written, such as a repetition penalty."""

from collections.abc import Sequence
from typing import Any

from transformers import (
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

UNKNOWN = (
    "begin_suppress_tokens",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "guidance_scale",
    "remove_invalid_values",
    "sequence_bias",
    "watermarking_config",
)
"""Rules that only transformers' own ``generate`` applies."""


def token_rules(
    config: Any, ends: Sequence[int], prompt_length: int, device: Any = "cpu"
) -> LogitsProcessorList | None:
    """The rules that hold for one completion, in the order of transformers' ``generate``; None without any.

    Args:
        config: The checkpoint's generation config.
        ends: The end tokens.
        prompt_length: Tokens of the prompt.
        device: Where the scores will be.
    """
    rules = LogitsProcessorList()
    if config.repetition_penalty not in (None, 1.0):
        rules.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        rules.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.bad_words_ids:
        rules.append(NoBadWordsLogitsProcessor(config.bad_words_ids, list(ends)))
    if config.min_length and ends:
        rules.append(MinLengthLogitsProcessor(config.min_length, list(ends), device=device))
    if config.min_new_tokens and ends:
        rules.append(
            MinNewTokensLengthLogitsProcessor(prompt_length, config.min_new_tokens, list(ends), device=device)
        )
    if config.suppress_tokens:
        rules.append(SuppressTokensLogitsProcessor(config.suppress_tokens, device=device))
    return rules or None


def unknown_rules(config: Any) -> list[str]:
    """The names of rules that :func:`token_rules` does not know and the config sets."""
    return [name for name in UNKNOWN if getattr(config, name, None)]
