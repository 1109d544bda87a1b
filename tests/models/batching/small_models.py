"""Small random models of several kinds of attention, and a tokenizer of letters."""

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

WINDOW = 160
VOCABULARY = 120
ENDS = (0, 7)

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": WINDOW,
    "bos_token_id": None,
    "eos_token_id": list(ENDS),
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
}

MODELS = {
    # Absolute positions, and as many key-value heads as heads.
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=WINDOW,
            n_embd=32,
            n_layer=3,
            n_head=4,
            bos_token_id=None,
            eos_token_id=list(ENDS),
            initializer_range=0.5,
        )
    ),
    # Rotary positions and grouped heads.
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    # A sliding window much shorter than the prompts.
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=24)),
    # Windows in some layers only, and normed queries and keys.
    "qwen3": lambda: Qwen3ForCausalLM(
        Qwen3Config(**SMALL, use_sliding_window=True, sliding_window=20, max_window_layers=1)
    ),
}


class Letters:
    """A tokenizer of one or two characters a token, enough for stop strings."""

    eos_token_id = None
    pad_token_id = None

    def decode(self, ids, **_):
        return "".join(
            chr(97 + token % 26) + (chr(97 + token // 26) if token % 3 == 0 else "") for token in ids
        )
