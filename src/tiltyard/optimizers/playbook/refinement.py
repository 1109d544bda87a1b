"""What happens between a curator's wishes and the store: filter, deduplicate, apply, prune.

>>> refinement = Refinement(budget=800)
>>> refined = refinement.refine(playbook, read_operations(reply), step=3, sources=["train-7"])
>>> refined.counts, playbook.tokens <= 800
({'add': 1, 'duplicate': 1, 'generic': 1}, True)
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tiltyard.optimizers.playbook.entry import Entry, one_line
from tiltyard.optimizers.playbook.ledger import Ledger
from tiltyard.optimizers.playbook.operations import (
    Add,
    Merge,
    Outcome,
    Unreadable,
    Update,
    Wish,
    kind_of,
)
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.quality import DEFAULT_MAX_VAGUENESS, refusal
from tiltyard.optimizers.playbook.retention import Policy, RetentionScore, prune
from tiltyard.optimizers.playbook.similarity import HASHED, FollowingIndex, similarity_named
from tiltyard.optimizers.playbook.wording import same_rule

Share = Annotated[float, Field(ge=0, le=1)]

_CANDIDATES = 5
"""How many of the nearest entries are compared with a rule word by word."""


@dataclass(frozen=True)
class Step:
    """One wish, and what became of it."""

    wish: Wish
    outcome: Outcome
    kind: str
    """What was done: the operation's name where it was applied as it is, ``duplicate`` where it was joined
    with an entry that says the same, else ``generic``, ``unreadable`` or ``invalid``."""


@dataclass(frozen=True)
class Refined:
    """What one refinement did."""

    steps: tuple[Step, ...]
    """The wishes in their order."""
    pruned: tuple[Entry, ...]
    """The entries that went under the budget, in that order."""

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of step happened, with ``pruned``; what did not happen is left out."""
        counts = Counter(step.kind for step in self.steps)
        counts["pruned"] = len(self.pruned)
        return {kind: count for kind, count in counts.items() if count}


OTHER = "other"
"""The section of a rule whose curator named none."""


class Refinement:
    """Carries out a curator's wishes, so that a playbook grows by what is new and says something.

    One refinement serves one run: it keeps an index of the playbook that it was last given.

    Args:
        budget: The most tokens that the playbook may have; None for any number.
        refuse_generic: Whether rules that say nothing specific are refused.
        max_vagueness: The greatest vagueness that is let in, in [0, 1].
        deduplicate: Whether a rule that an entry says already is joined with it.
        threshold: The similarity from which two rules can be the same, in [0, 1].
        same_words: Whether they must have the same content words besides. Without it similarity alone
            decides, and rules that are one word apart are taken for the same above the threshold.
        update_similarity: The similarity that an entry and its correction have at least, in [0, 1]. A
            correction that says something else is added beside the entry, which would be lost otherwise:
            small curators take any entry for the one to correct. 0 lets all corrections through.
        similarity: What finds entries that say the same: ``hashed``, or the name of a sentence-transformers
            model.
        policy: What goes first when the playbook is over its budget.
        score: What the policy ``score`` goes by; None for all terms.
        seed: What the policy ``random`` draws by.

    Raises:
        InputError: The similarity is not to be had.
    """

    def __init__(
        self,
        *,
        budget: Annotated[int, Field(ge=1)] | None = 2000,
        refuse_generic: bool = True,
        max_vagueness: Share = DEFAULT_MAX_VAGUENESS,
        deduplicate: bool = True,
        threshold: Share = 0.35,
        same_words: bool = True,
        update_similarity: Share = 0.5,
        similarity: str = HASHED,
        policy: Policy = "score",
        score: RetentionScore | None = None,
        seed: int = 0,
    ) -> None:
        self.budget = budget
        self.refuse_generic = refuse_generic
        self.max_vagueness = max_vagueness
        self.deduplicate = deduplicate
        self.threshold = threshold
        self.same_words = same_words
        self.update_similarity = update_similarity
        self.similarity = similarity
        self.policy = policy
        self.score = score or RetentionScore()
        self.seed = seed
        self._ledger = Ledger()
        self._index = FollowingIndex(similarity_named(similarity))

    def refine(
        self, playbook: Playbook, wishes: Iterable[Wish], *, step: int, sources: Sequence[str] = ()
    ) -> Refined:
        """Carry out wishes one after another, then prune. All of it is in the playbook's history.

        Args:
            playbook: It is changed.
            wishes: What :func:`~tiltyard.optimizers.playbook.operations.read_operations` read.
            step: The present step.
            sources: Ids of the examples that the wishes came from.

        Returns:
            What was done. Afterwards the playbook is within the budget.
        """
        steps = tuple(self._carry_out(playbook, wish, step, sources) for wish in wishes)
        pruned = prune(
            playbook,
            self.budget,
            step=step,
            policy=self.policy,
            score=self.score,
            seed=self.seed,
            ledger=self._ledger,
        )
        return Refined(steps, tuple(pruned))

    def _carry_out(self, playbook: Playbook, wish: Wish, step: int, sources: Sequence[str]) -> Step:
        if isinstance(wish, Unreadable):
            return Step(wish, playbook.refuse(wish, wish.reason, step=step, sources=sources), kind_of(wish))
        if isinstance(wish, Add | Update | Merge) and self.refuse_generic and one_line(wish.content):
            reason = refusal(wish.content, self.max_vagueness)
            if reason is not None:
                return Step(wish, playbook.refuse(wish, reason, step=step, sources=sources), "generic")
        instead = isinstance(wish, Update) and self._says_something_else(playbook, wish)
        if isinstance(wish, Update) and instead:
            wish = Add(OTHER, wish.content)
        if isinstance(wish, Add):
            twin = self._twin(playbook, wish.content)
            if twin is not None:
                return self._join(playbook, wish, twin, step, sources)
        outcome = playbook.apply(wish, step=step, sources=sources)
        if not outcome.applied:
            return Step(wish, outcome, "invalid")
        if isinstance(wish, Update | Merge) and outcome.id is not None:
            # The new content may be what another entry says already.
            twin = self._twin(playbook, wish.content, besides=outcome.id)
            if twin is not None:
                merge = Merge((outcome.id, twin.id), one_line(wish.content))
                return Step(wish, playbook.apply(merge, step=step, sources=sources), "duplicate")
        return Step(wish, outcome, "added_instead" if instead else kind_of(wish))

    def _says_something_else(self, playbook: Playbook, wish: Update) -> bool:
        """Whether a correction is hardly like the entry that it would replace."""
        if not self.update_similarity or wish.id not in playbook or not one_line(wish.content):
            return False
        self._index.follow(playbook)
        likeness = dict(self._index.similarity.nearest(wish.content, len(playbook)))
        return likeness.get(wish.id, 0.0) < self.update_similarity

    def _join(self, playbook: Playbook, wish: Add, twin: Entry, step: int, sources: Sequence[str]) -> Step:
        """Let an entry have the sources of a rule that it says already."""
        refused = playbook.refuse(wish, f"{twin.id} says it already", step=step, sources=sources, id=twin.id)
        if set(sources) - set(twin.sources):
            playbook.apply(Update(twin.id, twin.content), step=step, sources=sources)
        return Step(wish, refused, "duplicate")

    def _twin(self, playbook: Playbook, content: str, besides: str | None = None) -> Entry | None:
        """The entry that says the same, the most similar one of several."""
        if not self.deduplicate or not one_line(content):
            return None
        self._index.follow(playbook)
        for id, similarity in self._index.similarity.nearest(content, _CANDIDATES + 1):
            if similarity < self.threshold:
                return None
            if id != besides and (not self.same_words or same_rule(content, playbook[id].content)):
                return playbook[id]
        return None
