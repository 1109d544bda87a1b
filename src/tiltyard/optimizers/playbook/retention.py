"""Which entries go when a playbook is over its budget: by score, age, use or chance.

>>> gone = prune(playbook, 400, step=12, policy="score", score=RetentionScore(recency=False))
>>> playbook.tokens <= 400
True
"""

import random
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.ledger import Ledger
from tiltyard.optimizers.playbook.playbook import Playbook

Policy = Literal["score", "fifo", "lru", "random"]
"""What goes first: the lowest score, the first created, the least recently used, or any by the seed."""

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class RetentionScore:
    """How much an entry deserves its place: what it did for answers, how new it is, how much it says.

    ``success_weight · helpful/(n+1) − failure_weight · harmful/(n+1) + recency_weight · 2^(−age/half_life)
    − vagueness_weight · vagueness``, where ``n`` counts all verdicts on the entry, and its age is the number
    of steps since it was last shown, or made where it never was. Each term can be switched off.
    """

    success: bool = True
    """Whether the share of helpful verdicts counts."""
    failure: bool = True
    """Whether the share of harmful verdicts counts."""
    recency: bool = True
    """Whether recent use counts."""
    vagueness: bool = True
    """Whether vague words count against an entry."""
    success_weight: Weight = 1.0
    failure_weight: Weight = 1.0
    recency_weight: Weight = 0.5
    vagueness_weight: Weight = 0.5
    half_life: Annotated[float, Field(gt=0)] = 50.0
    """Steps after which recency is half of what it was."""

    def of(self, ledger: Ledger, step: int) -> NDArray[np.float64]:
        """The scores of entries at a step, in the ledger's order; higher is better.

        Args:
            ledger: The entries' figures.
            step: The present step.
        """
        helpful, harmful, touched = (ledger.column(name) for name in ("helpful", "harmful", "touched"))
        verdicts = helpful + harmful + ledger.column("neutral") + 1
        scores = np.zeros(len(helpful))
        if self.success:
            scores += self.success_weight * helpful / verdicts
        if self.failure:
            scores -= self.failure_weight * harmful / verdicts
        if self.recency:
            scores += self.recency_weight * 0.5 ** (np.maximum(step - touched, 0) / self.half_life)
        if self.vagueness:
            scores -= self.vagueness_weight * ledger.column("vagueness")
        return scores


def prune(
    playbook: Playbook,
    budget_tokens: int | None,
    *,
    step: int,
    policy: Policy = "score",
    score: RetentionScore = RetentionScore(),  # it is frozen
    seed: int = 0,
    ledger: Ledger | None = None,
) -> list[Entry]:
    """Take entries out until the playbook is within its budget, and no longer.

    Args:
        playbook: It is changed, and its history says so.
        budget_tokens: The most tokens that it may have, by :func:`tiltyard.optimizers.playbook.entry.tokens`;
            None for any number. Where not even one entry fits, none is kept.
        step: The present step.
        policy: What goes first. Among equals the oldest does.
        score: What the policy ``score`` goes by.
        seed: What the policy ``random`` draws by, with the step: the same entries go when a run is resumed.
        ledger: Figures of the playbook that are kept between calls; None makes them anew.

    Returns:
        The entries that went, in that order.

    Raises:
        InputError: There is no such policy.
    """
    if policy not in get_args(Policy):
        raise InputError(
            f"no retention policy is called {policy!r}", f"choose one of: {', '.join(get_args(Policy))}"
        )
    if budget_tokens is None or playbook.tokens <= budget_tokens:
        return []
    ledger = Ledger() if ledger is None else ledger
    ledger.follow(playbook)
    ids = list(ledger.ids)
    gone = []
    for place in _leaving(ledger, step, policy, score, seed):
        gone.append(playbook.prune(ids[place], f"over {budget_tokens} tokens, by {policy}", step=step))
        if playbook.tokens <= budget_tokens:
            break
    return gone


def _leaving(ledger: Ledger, step: int, policy: Policy, score: RetentionScore, seed: int) -> NDArray[np.intp]:
    """The places in a ledger, in the order in which the entries are to go; of equals, the oldest first."""
    number = ledger.column("number")
    if policy == "random":
        # Drawn for the entries by number: their places in the ledger depend on what happened before.
        drawn = np.random.default_rng(random.Random(f"{seed}/{step}").getrandbits(64))
        return np.argsort(number)[drawn.permutation(number.size)]
    if policy == "fifo":
        return np.lexsort((number, ledger.column("created")))
    if policy == "lru":
        return np.lexsort((number, ledger.column("touched")))
    return np.lexsort((number, score.of(ledger, step)))
