"""Attention for packed steps: tokens of many rows in one sequence, each attending to its own context.

The linear layers of a model see one long sequence without padding. Only here are the rows kept apart: each
token attends to the segments of its lane's chain, to its row's tail, and to nothing else. Keys and values
are written into the lanes on the way. Without a step the attention is torch's, without
caps and sinks.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tiltyard.models.batching.step import Group, Step

NAME = "tiltyard_packed"
"""What a model's attention implementation is called while it takes packed steps."""
STEP = "packed_step"
"""The keyword of a model's ``forward`` that carries the step."""

LONG = 128
"""New tokens of a row from which on torch's own attention, row by row, is quicker than a rectangle."""


def keeps_scores(model: Any) -> bool:
    """Whether long readings hold all of their scores in memory: torch's attention has no caps and sinks."""
    config = model.config.get_text_config(decoder=True)
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return capped or any(hasattr(module, "sinks") for module in model.modules())


# Its shapes change from pass to pass: compiled, it would be compiled again and again.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of one layer, as transformers' attention interface has it.

    Args:
        module: The layer's attention; its ``layer_idx`` says which layer it is.
        query: (1, heads, tokens, key width).
        key: (1, key-value heads, tokens, key width).
        value: (1, key-value heads, tokens, value width).
        attention_mask: Not used in a packed step.
        scaling: What scores are multiplied by; None is one over the root of the key width.
        **options: ``packed_step``, and of the model's own ``sliding_window``, ``softcap`` and ``s_aux``.

    Returns:
        (1, tokens, heads, value width), and no weights.
    """
    step: Step | None = options.pop(STEP, None)
    if step is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return output, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: int = module.layer_idx  # type: ignore[assignment]
    outputs = [
        _attend(
            group,
            layer,
            query[0, :, group.span] * scale,
            key[0, :, group.span],
            value[0, :, group.span],
            options,
        )
        for group in step.groups
    ]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined[None], None


def _attend(
    group: Group,
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    options: Mapping[str, Any],
) -> torch.Tensor:
    """The attention of one group: (tokens, heads, value width)."""
    lane, rows, width = group.lane, group.rows, group.width
    lane.keys[layer][group.write_slots, :, group.write_positions] = key.transpose(0, 1)
    lane.values[layer][group.write_slots, :, group.write_positions] = value.transpose(0, 1)
    if width >= LONG and options.get("softcap") is None and options.get("s_aux") is None:
        return _attend_row_by_row(group, layer, query, options.get("sliding_window"))
    heads, kv_heads = query.shape[0], key.shape[0]
    shared = heads // kv_heads
    if group.padding is not None:
        query = query.index_select(1, group.padding)
    # (key-value heads, rows, query heads of one key-value head x width, key width)
    query = (
        query.view(kv_heads, shared, rows, width, -1)
        .transpose(1, 2)
        .reshape(kv_heads, rows, shared * width, -1)
    )

    scores = [
        *_segment_scores(group, layer, query, width, options),
        _tail_scores(group, layer, query, width, options),
    ]
    weights = _softmax(scores, options, heads, rows, width).to(value.dtype)

    # Segments first: all rows at once.
    result: torch.Tensor | None = None
    start = 0
    for segment in lane.chain:
        part = weights[..., start : start + segment.length].flatten(1, 2)
        found = torch.bmm(part, segment.values[layer])
        result = found if result is None else result.add_(found)
        start += segment.length
    tails = _rows_of(lane.values[layer], group)
    part = weights[..., start : start + group.reach].transpose(0, 1).flatten(0, 1)
    own = torch.bmm(part, tails).view(rows, kv_heads, shared, width, -1)
    output = own.permute(0, 3, 1, 2, 4)  # (rows, width, key-value heads, query heads of one, value width)
    if result is not None:
        output = output + result.view(kv_heads, rows, shared, width, -1).permute(1, 3, 0, 2, 4)
    output = output.reshape(rows * width, heads, -1)
    return output if group.places is None else output.index_select(0, group.places)


def _attend_row_by_row(group: Group, layer: int, query: torch.Tensor, window: int | None) -> torch.Tensor:
    """The attention of rows that read much: (tokens, heads, value width)."""
    lane, outputs, first = group.lane, [], 0
    for slot, start, count in group.parts:
        keys = [segment.keys[layer] for segment in lane.chain]
        values = [segment.values[layer] for segment in lane.chain]
        keys.append(lane.keys[layer][slot, :, : start + count])
        values.append(lane.values[layer][slot, :, : start + count])
        before = lane.shared_length + start
        mask = None
        if before or window is not None:
            at = torch.arange(before, before + count, device=query.device)[:, None]
            distance = at - torch.arange(before + count, device=query.device)
            mask = distance >= 0
            if window is not None:
                mask &= distance < window
        output = torch.nn.functional.scaled_dot_product_attention(
            query[None, :, first : first + count],
            torch.cat(keys, dim=1)[None],
            torch.cat(values, dim=1)[None],
            attn_mask=mask,
            is_causal=mask is None,
            scale=1.0,  # the query is scaled
            enable_gqa=True,
        )
        outputs.append(output[0].transpose(0, 1))
        first += count
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _rows_of(tails: torch.Tensor, group: Group) -> torch.Tensor:
    """The tails of a group's rows: (rows x key-value heads, reach, width)."""
    if group.slots is None:
        return tails[: group.rows].flatten(0, 1)[:, : group.reach]
    return tails[group.slots, :, : group.reach].flatten(0, 1)


def _segment_scores(
    group: Group, layer: int, query: torch.Tensor, width: int, options: Mapping[str, Any]
) -> list[torch.Tensor]:
    kv_heads, rows, _, _ = query.shape
    flat = query.flatten(1, 2)
    scores, offset = [], 0
    for segment in group.lane.chain:
        score = torch.bmm(flat, segment.keys[layer].transpose(1, 2)).view(kv_heads, rows, -1, segment.length)
        mask = group.segment_mask(options.get("sliding_window"), offset, segment.length, score.dtype)
        scores.append(_finish(score, mask, width, options))
        offset += segment.length
    return scores


def _tail_scores(
    group: Group, layer: int, query: torch.Tensor, width: int, options: Mapping[str, Any]
) -> torch.Tensor:
    kv_heads, rows, each, _ = query.shape
    tails = _rows_of(group.lane.keys[layer], group)
    score = torch.bmm(query.transpose(0, 1).flatten(0, 1), tails.transpose(1, 2))
    score = score.view(rows, kv_heads, each, -1).transpose(0, 1)
    return _finish(score, group.tail_mask(options.get("sliding_window"), score.dtype), width, options)


def _finish(
    score: torch.Tensor, mask: torch.Tensor | None, width: int, options: Mapping[str, Any]
) -> torch.Tensor:
    """Cap the scores where the model does, and hide what may not be seen."""
    if (cap := options.get("softcap")) is not None:
        score = torch.tanh(score / cap) * cap
    if mask is None:
        return score
    # (key-value heads, rows, query heads of one, width, length); the mask is (rows, 1, width, length)
    return (score.view(*score.shape[:2], -1, width, score.shape[-1]) + mask).flatten(2, 3)


def _softmax(
    scores: list[torch.Tensor], options: Mapping[str, Any], heads: int, rows: int, width: int
) -> torch.Tensor:
    sinks = options.get("s_aux")
    if sinks is not None:
        kv_heads = scores[0].shape[0]
        sink = sinks.view(kv_heads, 1, heads // kv_heads, 1).expand(-1, rows, -1, width)
        scores = [*scores, sink.reshape(kv_heads, rows, -1, 1).to(scores[0].dtype)]
    joined = scores[0] if len(scores) == 1 else torch.cat(scores, dim=-1)
    return torch.softmax(joined, dim=-1, dtype=torch.float32)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
