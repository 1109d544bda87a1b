"""Finds out whether a model can be batched here, by its settings and by trying.

>>> examine(model)
Layout(layers=…)
"""

from typing import Any

import torch

from tiltyard.models.batching.attention import LONG, NAME, STEP
from tiltyard.models.batching.key_values import Lane, Layout, lane_capacity
from tiltyard.models.batching.packing import pack
from tiltyard.models.batching.rows import Row
from tiltyard.models.batching.token_rules import unknown_rules

_FULL, _SLIDING = "full_attention", "sliding_attention"
_GROWING_ROPE = ("dynamic", "longrope")
"""Rotary embeddings that change for all rows of a pass when one of them grows long."""


class CannotBatchError(Exception):
    """A model has to be asked one request at a time; the message says why."""


def examine(model: Any) -> Layout:
    """Prepare a model for packed steps, and see that it computes in them what it computes otherwise.

    Args:
        model: A transformers causal language model in evaluation mode.

    Returns:
        What its keys and values look like.

    Raises:
        CannotBatchError: It cannot be batched; the model is as it was.
    """
    if reason := _known_obstacle(model):
        raise CannotBatchError(reason)
    before = model.config._attn_implementation
    try:
        # The plain answer comes first, from the attention that the model was loaded with.
        layout, expected = _plain(model)
        model.set_attn_implementation(NAME)
        found, windows = _packed(model, layout)
    except Exception as error:  # whatever a model that is built otherwise makes of a step
        model.set_attn_implementation(before)
        raise CannotBatchError(f"it does not take packed input ({type(error).__name__}: {error})") from error
    if windows != _windows(model.config.get_text_config(decoder=True)):
        # Most windows are longer than the trial, which says nothing about what lies beyond it.
        model.set_attn_implementation(before)
        raise CannotBatchError("its attention does not tell its sliding window")
    if not _close(found, expected):
        model.set_attn_implementation(before)
        raise CannotBatchError("packed input gives other results")
    return layout


def _known_obstacle(model: Any) -> str | None:
    config = model.config.get_text_config(decoder=True)
    if model._is_stateful or not model._supports_attention_backend:
        return "its attention is its own"
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {rope.get("rope_type")} | {
        part.get("rope_type") for part in rope.values() if isinstance(part, dict)
    }
    if kinds & set(_GROWING_ROPE):
        return "its rotary embedding depends on the longest prompt of a batch"
    if kinds := set(getattr(config, "layer_types", None) or ()) - {_FULL, _SLIDING}:
        return f"it has layers of {', '.join(sorted(kinds))}"
    if rules := unknown_rules(model.generation_config):
        return f"its generation config sets {', '.join(rules)}"
    return None


def _windows(config: Any) -> set[int | None]:
    """The sliding windows of a model's layers by its config; None stands for a layer without one."""
    window = getattr(config, "sliding_window", None) or None
    kinds = getattr(config, "layer_types", None)
    return {window} if not kinds else {window if kind == _SLIDING else None for kind in kinds}


_TRIAL_LENGTHS = (5, 9, 2)
_LONG_TRIAL = LONG + 2
"""Tokens of a row that is read alone, by the attention of long readings; its first token is read before."""


def _trial(model: Any) -> list[list[int]]:
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    window = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    lengths = _TRIAL_LENGTHS if (window or 0) < _LONG_TRIAL else (*_TRIAL_LENGTHS, _LONG_TRIAL)
    return [
        [(7 * row + 3 * place + 1) % vocabulary for place in range(length)]
        for row, length in enumerate(lengths)
    ]


@torch.inference_mode()
def _plain(model: Any) -> tuple[Layout, torch.Tensor]:
    last = []
    for tokens in _trial(model):
        output = model(torch.tensor([tokens], device=model.device), use_cache=True)
        last.append(output.logits[0, -1])
    layers = output.past_key_values.layers
    layout = Layout(tuple((layer.keys[0, :, :0], layer.values[0, :, :0]) for layer in layers))
    return layout, torch.stack(last)


@torch.inference_mode()
def _packed(model: Any, layout: Layout) -> tuple[torch.Tensor, set[int | None]]:
    """The logits of each trial row's last token, and the windows that the layers asked for."""
    lane, long = Lane((), 16, layout), Lane((), lane_capacity(_LONG_TRIAL), layout)
    rows = [Row(tokens, lane=lane if len(tokens) <= 16 else long) for tokens in _trial(model)]
    for row in rows:
        assert row.lane is not None
        row.slot = row.lane.add(row)
    # In two passes, so that reading goes on from what was stored.
    forward(model, pack(dict.fromkeys(rows, 1), model.device))
    for row in rows:
        row.stored = 1
    step = pack({row: row.pending for row in rows}, model.device)
    logits = forward(model, step)
    order = [rows.index(row) for row in step.finished]
    found = torch.stack([logits[order.index(index)] for index in range(len(rows))])
    return found, set().union(*(group.windows for group in step.groups))


def forward(model: Any, step: Any) -> torch.Tensor:
    """Run a step: the logits of the rows' last tokens, (rows, vocabulary)."""
    output = model(
        input_ids=step.input_ids,
        position_ids=step.positions,
        # A mask of four dimensions is passed on as it is; the attention does not look at it.
        attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool, device=step.input_ids.device),
        use_cache=False,
        logits_to_keep=step.ends,
        **{STEP: step},
    )
    logits: torch.Tensor = output.logits[0]
    return logits


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    scale = expected.float().abs().max()
    exact = found.dtype == torch.float32
    return bool((found.float() - expected.float()).abs().max() <= scale * (1e-4 if exact else 5e-2))
