"""How much memory a running batch may take, and what it learns when memory runs out.

>>> limits = Limits.measured(layout, device)
>>> limits.batch_tokens
181000
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from tiltyard.models.batching.key_values import Layout
from tiltyard.models.hardware import memory_share, rows_at_once

logger = logging.getLogger(__name__)

BATCH_SHARE = 0.4
"""Of the memory that is free when a model is first used, for the rows of its batch."""
PREFIX_SHARE = 0.2
"""Of that memory, for the beginnings of prompts that are kept."""
LEAVES_FREE = 0.8
"""Of the memory that is free when requests join, the most that they may take."""
PREFIX_MOST_BYTES = 8 * 2**30
SMALLEST_BATCH_TOKENS = 256
SMALLEST_STEP_TOKENS = 256
SMALLEST_STEP_SCORES = 2**20

_CGROUP = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")


@dataclass
class Limits:
    """Budgets of one model's batch. They shrink when memory runs out, and stay so."""

    batch_tokens: int
    """Tokens of all rows together that keys and values have room for, shared beginnings not counted."""
    prefix_bytes: int
    """Memory of the beginnings of prompts that are kept."""
    rows: int
    """Requests that are worked on at once."""
    step_tokens: int
    """Tokens that one pass through the model reads."""
    step_scores: int
    """Attention scores (tokens x heads x context) that one pass computes at once."""

    @classmethod
    def measured(
        cls,
        layout: Layout,
        device: torch.device,
        *,
        batch_tokens: int | None = None,
        prefix_bytes: int | None = None,
    ) -> "Limits":
        """Limits for a model on this machine as it is now.

        Args:
            layout: The model's keys and values.
            device: Where it is.
            batch_tokens: Instead of the measured number.
            prefix_bytes: Instead of the measured number; 0 keeps nothing.
        """
        free = int(memory_share() * free_memory(device))
        on_gpu = device.type == "cuda"
        measured = max(SMALLEST_BATCH_TOKENS, int(BATCH_SHARE * free / layout.token_bytes))
        return cls(
            batch_tokens=measured if batch_tokens is None else batch_tokens,
            prefix_bytes=min(int(PREFIX_SHARE * free), PREFIX_MOST_BYTES)
            if prefix_bytes is None
            else prefix_bytes,
            rows=rows_at_once(device.type),
            step_tokens=8192 if on_gpu else 2048,
            step_scores=2**28 if on_gpu else 2**21,
        )

    def tokens_now(self, held_tokens: int, token_bytes: int, device: torch.device) -> int:
        """Tokens that may still join a batch which holds so many: other processes may have taken memory."""
        room = int(LEAVES_FREE * free_memory(device) / token_bytes)
        return min(self.batch_tokens - held_tokens, room)

    def prefix_bytes_now(self, used_bytes: int, device: torch.device) -> int:
        """Memory for beginnings, where so much is used already: other processes may have taken the rest."""
        return min(self.prefix_bytes, used_bytes + int(PREFIX_SHARE * free_memory(device)))

    def shrink(self, used_tokens: int) -> None:
        """Halve the batch and its steps, after memory ran out with so many tokens in it.

        There is no smallest batch: in the end requests go one by one.
        """
        self.batch_tokens = max(1, min(self.batch_tokens, used_tokens or self.batch_tokens) // 2)
        self._halve_step()
        logger.warning(
            "out of memory: the batch is halved to %d tokens and goes on (hardware.max_batch_tokens=%d "
            "starts there)",
            self.batch_tokens,
            max(SMALLEST_BATCH_TOKENS, self.batch_tokens),
        )

    def shrink_step(self) -> bool:
        """Halve the steps, after memory ran out for a single request; False when they cannot be smaller."""
        before = (self.step_tokens, self.step_scores)
        self._halve_step()
        smaller = before != (self.step_tokens, self.step_scores)
        if smaller:
            logger.warning("out of memory: prompts are read %d tokens at a time", self.step_tokens)
        return smaller

    def _halve_step(self) -> None:
        self.step_tokens = min(self.step_tokens, max(SMALLEST_STEP_TOKENS, self.step_tokens // 2))
        self.step_scores = min(self.step_scores, max(SMALLEST_STEP_SCORES, self.step_scores // 2))
        self.prefix_bytes //= 2


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a device; the container's limit counts."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch keeps for its next tensors is as good as free.
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        held = int((_CGROUP / "memory.current").read_text()) - _reclaimable(_CGROUP / "memory.stat")
    except (OSError, ValueError):  # no container, or one whose limit is "max"
        return free
    return max(0, min(free, limit - held))


def _reclaimable(statistics: Path) -> int:
    """Bytes of files that were read and are only still in memory because nobody needed their place."""
    try:
        found = dict(line.split() for line in statistics.read_text().splitlines())
        return int(found.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in whichever words torch says so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)
