"""How many prompts a second a machine's floating-point speed allows, if nothing else took time.

>>> bound(model.config, shared=540, own=20, written=32, prompts=64, speed=matrix_speed("cpu", "float32"))
49.8
"""

import time
from typing import Any

SIDE = 2048
"""Rows and columns of the matrices whose product is timed."""


def matrix_speed(device: str, dtype: str, repetitions: int = 8) -> float:
    """Floating-point operations a second of torch's matrix product; the best of some, after a warm-up."""
    import torch

    side = SIDE if device == "cpu" else 4 * SIDE
    left, right = (torch.rand(side, side, device=device, dtype=getattr(torch, dtype)) for _ in range(2))

    def seconds() -> float:
        start = time.perf_counter()
        torch.mm(left, right)
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds()
    return 2 * side**3 / min(seconds() for _ in range(repetitions))


def operations(config: Any, *, shared: int, own: int, written: int, prompts: int) -> float:
    """The floating-point operations of prompts that begin alike, their common part computed once.

    Counts a multiplication and an addition as two. The output layer is needed for each written token only;
    the last written token is never read.

    Args:
        config: A Llama's config.
        shared: Tokens that the prompts have in common.
        own: Tokens of each prompt after these.
        written: Tokens of each answer.
        prompts: How many prompts.
    """
    width = config.hidden_size // config.num_attention_heads
    attention = 2 * config.hidden_size**2 + 2 * config.hidden_size * config.num_key_value_heads * width
    weights = config.num_hidden_layers * (attention + 3 * config.hidden_size * config.intermediate_size)
    # A query meets each key before it once, and each value once.
    met = 4 * config.num_hidden_layers * config.hidden_size

    def read(start: int, end: int) -> float:
        tokens = end - start
        return tokens * 2 * weights + met * tokens * (start + 1 + end) / 2

    each = read(shared, shared + own + written - 1) + written * 2 * config.hidden_size * config.vocab_size
    return read(0, shared) + prompts * each


def bound(config: Any, *, shared: int, own: int, written: int, prompts: int, speed: float) -> float:
    """Prompts a second at a speed in floating-point operations a second; arguments as above."""
    work = operations(config, shared=shared, own=own, written=written, prompts=prompts)
    return prompts * speed / work
