"""A model is batched only where it computes in packed steps what it computes otherwise."""

import logging

import pytest
import torch
from small_models import ENDS, SMALL, VOCABULARY
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tiltyard.models.batching import attention
from tiltyard.models.batching.batch import RunningBatch
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.rows import BatchedRequest
from tiltyard.models.batching.support import CannotBatchError, examine
from tiltyard.models.decoding import Decoding
from tiltyard.models.sequential import decode
from tiltyard.telemetry.inference import InferenceMeter

WINDOW = 12
"""Shorter than the prompts and than the long trial of ``examine``, and longer than its short ones."""
OLD = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 160, "pad_token_id": 0}
EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
WINDOWED = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
LATENT = {
    **EXPERTS,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}

BATCHED = {
    "gemma": {},
    "gemma2": {**WINDOWED, "query_pre_attn_scalar": 8},  # capped scores
    "gemma3_text": WINDOWED,
    "gpt_oss": {**WINDOWED, **EXPERTS},  # sinks
    "mixtral": EXPERTS,
    "qwen2": {},
    "qwen3_moe": EXPERTS,
    "phi": {},
    "phi3": {"sliding_window": WINDOW, "pad_token_id": 0},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48, "pad_token_id": 1},
    "gpt_neox": {},
    "gpt_bigcode": OLD,  # one key-value head
    "starcoder2": {"sliding_window": WINDOW},
    "cohere2": {**WINDOWED, "pad_token_id": 0},
    "olmo2": {},
    "granite": {"attention_multiplier": 0.3, "logits_scaling": 2.0},
    "glm4": {"pad_token_id": 0},
    "smollm3": {"pad_token_id": 0},  # some layers without positions
    "exaone4": WINDOWED,
}
REFUSED = {
    "stablelm": ({}, "its attention is its own"),
    "bloom": (OLD, "its attention is its own"),
    "mpt": ({"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 160}, "its attention is its own"),
    "gptj": ({**OLD, "rotary_dim": 4}, "its attention is its own"),
    "mamba": ({"state_size": 4}, "its attention is its own"),
    "deepseek_v3": (LATENT, "does not take packed input"),
    "llama4_text": (
        {**EXPERTS, "attention_chunk_size": 8, "intermediate_size_mlp": 48},
        "it has layers of chunked_attention",
    ),
    # Their masks know a window of which their attention is not told.
    "qwen2_moe": (
        {**EXPERTS, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3},
        "does not tell its sliding window",
    ),
    "phimoe": ({**EXPERTS, "sliding_window": WINDOW}, "does not tell its sliding window"),
    "llama": (
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
        "its rotary embedding depends on the longest prompt",
    ),
}
PROMPTS = [
    tuple((11 * at + 3 * row) % VOCABULARY for at in range(length)) for row, length in enumerate((40, 3, 25))
]
PROMPTS += [(*PROMPTS[0][:33], 1, 2, 3)]


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)


def pair(kind, settings):
    config = CONFIG_MAPPING[kind](**{**SMALL, **settings})
    models = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = AutoModelForCausalLM.from_config(config.__class__.from_dict(config.to_dict())).eval()
        model.generation_config.eos_token_id = list(ENDS)
        models.append(model)
    return models


def alone(model, prompt):
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)
    output = model.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=0)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", BATCHED)
def test_architectures_that_are_batched(kind):
    model, reference = pair(kind, BATCHED[kind])
    limits = Limits(batch_tokens=10**6, prefix_bytes=10**8, rows=64, step_tokens=2048, step_scores=2**25)
    batch = RunningBatch(model, ENDS, examine(model), limits, InferenceMeter())
    requests = [BatchedRequest(prompt, Decoding(max_tokens=12)) for prompt in PROMPTS]
    # One by one at first, so that the last one finds the first one's beginning.
    with torch.inference_mode():
        for request in requests:
            batch.add(request)
            batch.turn()
        while batch.busy:
            batch.turn()

    assert [list(one.future.result(timeout=0).tokens) for one in requests] == [
        alone(reference, prompt) for prompt in PROMPTS
    ]
    assert requests[-1].cached_tokens == 33


@pytest.mark.parametrize("kind", REFUSED)
def test_architectures_that_are_refused_answer_one_at_a_time(kind, tokenizer):
    settings, reason = REFUSED[kind]
    model, reference = pair(kind, settings)
    before = model.config._attn_implementation

    with pytest.raises(CannotBatchError, match=reason):
        examine(model)

    assert model.config._attn_implementation == before
    for prompt in PROMPTS[:2]:
        written = decode(model, tokenizer, prompt, Decoding(max_tokens=12))
        expected = alone(reference, prompt)
        assert (written.tokens, written.text) == (len(expected), tokenizer.decode(expected))


def test_a_rule_that_only_generate_applies_is_refused():
    model, _ = pair("qwen2", {})
    model.generation_config.begin_suppress_tokens = [3]

    with pytest.raises(CannotBatchError, match="begin_suppress_tokens"):
        examine(model)


def test_a_model_that_looks_at_the_mask_is_refused():
    """Whatever a model does with padding is lost in packed steps."""
    model, _ = pair("qwen2", {})
    plain = model.forward

    def forward(**inputs):
        output = plain(**inputs)
        if inputs.get("packed_step") is not None:
            output.logits = output.logits * 1.5
        return output

    model.forward = lambda *args, **inputs: forward(**({"input_ids": args[0]} if args else {}), **inputs)

    with pytest.raises(CannotBatchError, match="gives other results"):
        examine(model)


def test_long_readings_are_tried_where_the_context_allows(monkeypatch):
    plain = attention._attend_row_by_row
    monkeypatch.setattr(attention, "_attend_row_by_row", lambda *args: 1.5 * plain(*args))

    with pytest.raises(CannotBatchError, match="gives other results"):
        examine(pair("qwen2", {})[0])
    assert examine(pair("qwen2", {"max_position_embeddings": 129})[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_batched(dtype):
    model, _ = pair("qwen2", {"initializer_range": 0.05})
    model.to(dtype)

    layout = examine(model)

    assert layout.token_bytes == 3 * 2 * 2 * 8 * 2
