"""A checkpoint's rules about tokens hold in a batch as they hold in transformers' own generate."""

import pytest
import torch
from small_models import ENDS, VOCABULARY
from transformers import GenerationConfig

from tiltyard.models.batching.batch import RunningBatch
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.rows import BatchedRequest
from tiltyard.models.batching.token_rules import UNKNOWN, token_rules, unknown_rules
from tiltyard.models.decoding import Decoding
from tiltyard.telemetry.inference import InferenceMeter

RULES = {
    "repetition_penalty": {"repetition_penalty": 1.7},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "bad_words_ids": {"bad_words_ids": [[3], [5, 9]] + [[token] for token in range(40, 60)]},
    "min_new_tokens": {"min_new_tokens": 20},
    "min_length": {"min_length": 30},
    "suppress_tokens": {"suppress_tokens": list(range(60, 110))},
    "several": {
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 3,
        "min_new_tokens": 12,
        "suppress_tokens": [11, 12],
    },
}
PROMPTS = [tuple((7 * row + 5 * at) % VOCABULARY for at in range(3 + 9 * row)) for row in range(5)]


@pytest.mark.parametrize("name", RULES)
def test_answers_are_those_of_generate(built, name):
    model, layout, reference = built("llama")
    config = GenerationConfig(**RULES[name], eos_token_id=list(ENDS), pad_token_id=0)
    limits = Limits(batch_tokens=10**6, prefix_bytes=10**8, rows=64, step_tokens=2048, step_scores=2**25)
    batch = RunningBatch(model, ENDS, layout, limits, InferenceMeter())
    requests = [
        BatchedRequest(prompt, Decoding(max_tokens=40), rules=token_rules(config, ENDS, len(prompt)))
        for prompt in PROMPTS
    ]
    for request in requests:
        batch.add(request)
    with torch.inference_mode():
        while batch.busy:
            batch.turn()

    changed = False
    for request in requests:
        ids = torch.tensor([request.prompt])
        expected, plain = (
            reference.generate(
                ids,
                generation_config=chosen,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=40,
                do_sample=False,
            )[0, ids.shape[1] :].tolist()
            for chosen in (config, GenerationConfig(eos_token_id=list(ENDS), pad_token_id=0))
        )
        assert list(request.future.result(timeout=0).tokens) == expected
        changed |= expected != plain
    assert changed, "the rule made no difference to any prompt"


def test_without_rules_there_is_nothing_to_apply():
    assert token_rules(GenerationConfig(eos_token_id=0, repetition_penalty=1.0), ENDS, 3) is None


def test_rules_of_lengths_need_an_end_token():
    assert token_rules(GenerationConfig(min_new_tokens=5, min_length=5), (), 3) is None


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("begin_suppress_tokens", [3]),
        ("encoder_no_repeat_ngram_size", 3),
        ("encoder_repetition_penalty", 1.5),
        ("exponential_decay_length_penalty", (3, 1.5)),
        ("forced_bos_token_id", 3),
        ("forced_eos_token_id", 3),
        ("guidance_scale", 1.5),
        ("remove_invalid_values", True),
        ("sequence_bias", [[[3], -1.0]]),
    ],
)
def test_rules_that_only_generate_applies_are_named(rule, value):
    assert unknown_rules(GenerationConfig(**{rule: value})) == [rule]


def test_a_plain_checkpoint_has_no_unknown_rules():
    assert unknown_rules(GenerationConfig()) == []
    assert all(hasattr(GenerationConfig(), name) for name in UNKNOWN)
