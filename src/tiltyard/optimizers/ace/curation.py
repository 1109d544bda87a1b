"""Brings the playbook up to date with lessons, one rule after another.

    >>> Curation(playbook, refinement, selector, Curator()).curate([Lesson("train-7", rules)], step=3).counts
    Counter({'curations': 1, 'operations.add.applied': 1})

The order of the lessons is the only order here, so what comes of them depends on no thread.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tiltyard.optimizers.ace.records import Lesson
from tiltyard.optimizers.ace.roles import Curator
from tiltyard.optimizers.adapting.spending import Spent
from tiltyard.optimizers.playbook.entry import Entry, one_line
from tiltyard.optimizers.playbook.operations import Unreadable, Update, kind_of, read_operations
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.refinement import Refined, Refinement
from tiltyard.optimizers.playbook.selection import Selector


@dataclass
class Curated:
    """What curating some lessons did."""

    counts: Counter[str]
    spent: Spent


class Curation:
    """Curates lessons into one playbook.

    Args:
        playbook: It is changed.
        refinement: Filters, deduplicates, applies and prunes.
        selector: Which entries the curator is shown with a rule: as a question shows them to the program.
        curator: Who writes operations.
    """

    def __init__(
        self, playbook: Playbook, refinement: Refinement, selector: Selector, curator: Curator
    ) -> None:
        self._playbook = playbook
        self._refinement = refinement
        self._selector = selector
        self._curator = curator

    def curate(self, lessons: Iterable[Lesson], step: int) -> Curated:
        """Curate lessons in their order. Afterwards the playbook is within its budget."""
        curated = Curated(Counter(), Spent())
        for lesson in lessons:
            for rule in lesson.rules:
                self._curate(rule, lesson.source, step, curated)
        # A playbook that was loaded may be over the budget though nothing was learnt.
        _count(curated, self._refinement.refine(self._playbook, [], step=step))
        return curated

    def _curate(self, rule: str, source: str, step: int, curated: Curated) -> None:
        known = self._entry_with(rule)
        if known is not None:
            # Word for word: there is nothing to ask a curator.
            curated.counts["rules.known"] += 1
            if source not in known.sources:
                self._playbook.apply(Update(known.id, known.content), step=step, sources=[source])
            return
        shown = {entry.id: entry.content for entry in self._selector.select(self._playbook, rule)}
        reply = self._curator.operations(shown, rule)
        curated.spent += reply.spent
        curated.counts["curations"] += 1
        curated.counts["curations.repeated"] += reply.retried
        if reply.problem:
            curated.counts["curations.failed"] += 1
            self._playbook.refuse(
                Unreadable(rule, reply.problem),
                f"the curation failed: {reply.problem}",
                step=step,
                sources=[source],
            )
            return
        wishes = read_operations(reply.text)
        _count(curated, self._refinement.refine(self._playbook, wishes, step=step, sources=[source]))

    def _entry_with(self, rule: str) -> Entry | None:
        content = one_line(rule)
        return next((entry for entry in self._playbook.entries if entry.content == content), None)


def _count(curated: Curated, refined: Refined) -> None:
    for done in refined.steps:
        applied = "applied" if done.outcome.applied else "refused"
        curated.counts[f"operations.{kind_of(done.wish)}.{applied}"] += 1
        if done.kind in ("duplicate", "generic"):
            curated.counts[f"operations.{done.kind}"] += 1
    curated.counts["operations.pruned"] += len(refined.pruned)
