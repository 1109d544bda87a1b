"""What decides the weights that a training of the embedded model comes to, and how it runs.

>>> TrainingSettings(warmup=100).learning_rate_at(0)
3e-05

The learning rate rises, stays, and falls along a line over the last ``decay_steps``. So what happens before
those does not depend on how many steps there are.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from tiltyard.errors import InputError
from tiltyard.models.embedded.tokenizer import CONTEXT, SMALLEST_VOCABULARY


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What decides the weights; the defaults are those of the shipped model.

    On the CPU, the same settings and threads come to the same weights.
    """

    steps: int = 7900
    """Steps of the optimizer, one batch each; at least 1."""
    seed: int = 1
    """Decides the first weights, the episodes and the order of the batches; at least 0."""
    tokens_per_step: int = 2500
    """The most tokens of a batch, padding included."""
    width: int = 192
    """Numbers that stand for a token; a multiple of twice the heads."""
    layers: int = 4
    """Layers, at least 1."""
    heads: int = 4
    """Attention heads of each layer."""
    intermediate: int = 512
    """Width inside the feed-forward part of each layer."""
    context: int = CONTEXT
    """The most tokens of an episode; longer ones are left out."""
    vocabulary: int = 1280
    """The most tokens that the tokenizer knows, at least 261."""
    tokenizer_episodes: int = 4000
    """So many episodes, from all over the stream, are what the tokenizer is made for."""
    learning_rate: float = 1.8e-3
    """The highest learning rate."""
    warmup: int = 100
    """Steps over which the learning rate rises to its highest, where it stays."""
    decay_steps: int = 3300
    """The last so many steps, over which the learning rate falls to zero."""
    weight_decay: float = 0.01
    """Decay of the matrices; other weights have none."""
    momentum: float = 0.95
    """How much of Muon's mean of the gradients stays at each step."""
    beta1: float = 0.9
    """How much of AdamW's mean of the gradients stays at each step."""
    beta2: float = 0.98
    """How much of AdamW's mean of the squared gradients stays at each step."""
    clip: float = 1.0
    """The longest gradient; longer ones are cut to it."""
    context_weight: float = 0.1
    """Weight of the mean loss over all tokens, beside that over the tokens of answers, which has 1."""
    context_steps: int = 2000
    """Steps after which that weight is ``late_context_weight``."""
    late_context_weight: float = 0.02
    """By then, what the context still teaches is how its random words go on, which drowns the answers."""
    short_steps: int = 3250
    """In the first so many steps, only short episodes are learnt from."""
    short_tokens: int = 256
    """The most tokens of a short episode."""
    short_tokens_per_step: int = 1500
    """The most tokens of a batch of short episodes: what they teach takes many steps, not many tokens."""
    ema: float = 0.999
    """The weights that are kept are a moving average, of which this share stays at each step; 0 has none."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"training: {field.name}={value}", "give a number that is not negative")
        least = {"vocabulary": SMALLEST_VOCABULARY, "context": 2, "learning_rate": 1e-12}
        sizes = (
            "steps",
            "tokens_per_step",
            "short_tokens_per_step",
            "width",
            "layers",
            "heads",
            "intermediate",
            "tokenizer_episodes",
        )
        for name, low in {**least, **dict.fromkeys(sizes, 1)}.items():
            if getattr(self, name) < low:
                raise InputError(f"training: {name}={getattr(self, name)}", f"give at least {low}")
        for name in ("ema", "momentum", "beta1", "beta2"):
            if getattr(self, name) >= 1:
                raise InputError(f"training: {name}={getattr(self, name)}", "give a number below 1")
        if self.width % (2 * self.heads):
            raise InputError(
                f"training: width={self.width} cannot be shared by {self.heads} heads",
                "give a multiple of twice the heads",
            )

    def context_weight_at(self, step: int) -> float:
        """The weight of the mean loss over all tokens at a step, from 0."""
        return self.context_weight if step < self.context_steps else self.late_context_weight

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        risen = (step + 1) / max(1, self.warmup)
        left = (self.steps - step) / max(1, self.decay_steps)
        return self.learning_rate * min(1.0, risen, left)


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a training runs. It may change when a training is resumed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` is a CUDA GPU where there is one."""
    threads: int | None = None
    """Threads of an operation on the CPU; None is torch's default. Sums differ in their last bits with it."""
    workers: int = 1
    """Processes that make episodes in advance; 0 makes them between the steps."""
    checkpoint_every: int = 250
    """Steps from one checkpoint to the next."""
    tracking_uri: str | None = None
    """MLflow's address of the store for the curves; None is a database in the training's folder."""

    def __post_init__(self) -> None:
        for name, low in {"threads": 1, "workers": 0, "checkpoint_every": 1}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"training: {name}={value}", f"give at least {low}")
