"""What decides the weights that a training of the embedded model comes to, and how it runs.

>>> TrainingSettings(steps=4000).learning_rate_at(0)
2e-05

The learning rate's ``fall`` and ``restart`` are shares of the steps, while the stages of the curriculum
(``curriculum.STAGES``) are places in the stream of episodes. The defaults fit together: another number of
steps or of tokens a step shifts the two against each other, and a training may end before a stage begins.
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

    steps: int = 8200
    """Steps of the optimizer, one batch each; at least 1. How far they come in the stages of the curriculum
    depends on this number and on the tokens of a batch."""
    seed: int = 0
    """Decides the first weights, the episodes and the order of the batches; at least 0."""
    tokens_per_step: int = 8000
    """The most tokens of a batch, padding included."""
    width: int = 192
    """Numbers that stand for a token; a multiple of twice the heads."""
    layers: int = 4
    """Layers, at least 1."""
    heads: int = 6
    """Attention heads of each layer."""
    intermediate: int = 512
    """Width inside the feed-forward part of each layer."""
    context: int = CONTEXT
    """The most tokens of an episode; longer ones are left out."""
    vocabulary: int = 1024
    """The most tokens that the tokenizer knows, at least 261."""
    tokenizer_episodes: int = 4000
    """The first so many episodes are what the tokenizer is made for."""
    learning_rate: float = 2e-3
    """The highest learning rate."""
    warmup: int = 100
    """Steps over which the learning rate rises to its highest. Then it falls along a cosine to a tenth."""
    fall: float = 0.6707
    """The share of the steps after which that fall would end, above 0 and at most 1."""
    restart: float = 0.4756
    """The share of the steps after which the learning rate is set anew, to fall to a tenth at the last step;
    below 1, and 0 for never."""
    restart_rate: float = 1.2e-3
    """The learning rate that it is set to."""
    weight_decay: float = 0.01
    """Decay of the matrices; other weights have none."""
    beta1: float = 0.9
    """How much of AdamW's mean of the gradients stays at each step."""
    beta2: float = 0.98
    """How much of AdamW's mean of the squared gradients stays at each step."""
    clip: float = 1.0
    """The longest gradient; longer ones are cut to it."""
    context_weight: float = 0.1
    """Weight of the mean loss over all tokens, beside that over the tokens of answers, which has 1."""
    late: float = 0.8171
    """The share of the steps after which that weight is ``late_context_weight``."""
    late_context_weight: float = 0.01
    """By then, what the context still teaches is how its random words go on, which drowns the answers."""
    short_steps: int = 500
    """In the first so many steps, only short episodes are learnt from."""
    short_tokens: int = 256
    """The most tokens of a short episode."""
    ema: float = 0.999
    """The weights that are kept are a moving average, of which this share stays at each step; 0 has none."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise InputError(f"training: {field.name}={value}", "give a number that is not negative")
        least = {"vocabulary": SMALLEST_VOCABULARY, "context": 2, "learning_rate": 1e-12}
        sizes = ("steps", "tokens_per_step", "width", "layers", "heads", "intermediate", "tokenizer_episodes")
        for name, low in {**least, **dict.fromkeys(sizes, 1)}.items():
            if getattr(self, name) < low:
                raise InputError(f"training: {name}={getattr(self, name)}", f"give at least {low}")
        for name in ("ema", "beta1", "beta2"):
            if getattr(self, name) >= 1:
                raise InputError(f"training: {name}={getattr(self, name)}", "give a number below 1")
        if not 0 < self.fall <= 1:
            raise InputError(
                f"training: fall={self.fall}", "give a share of the steps, above 0 and at most 1"
            )
        if self.late > 1:
            raise InputError(f"training: late={self.late}", "give a share of the steps, from 0 to 1")
        if self.restart >= 1:
            raise InputError(
                f"training: restart={self.restart}",
                "give a share of the steps, from 0 (for never) to below 1",
            )
        if self.width % (2 * self.heads):
            raise InputError(
                f"training: width={self.width} cannot be shared by {self.heads} heads",
                "give a multiple of twice the heads",
            )

    def context_weight_at(self, step: int) -> float:
        """The weight of the mean loss over all tokens at a step, from 0."""
        return self.late_context_weight if step >= round(self.late * self.steps) else self.context_weight

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        restart = round(self.restart * self.steps)
        if restart and step >= restart:
            highest, first, last = self.restart_rate, restart, self.steps
        else:
            highest, first, last = self.learning_rate, self.warmup, round(self.fall * self.steps)
        done = min(1.0, (step - first) / max(1, last - first))
        return highest * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


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
