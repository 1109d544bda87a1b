"""Chooses what a compilation returns, by validation scores.

>>> choose(settings, measured).note
'The playbook of epoch 2 is returned: 0.470 on 60 validation examples, against 0.410 without a playbook.'
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tiltyard.optimizers.ace.records import Measured
from tiltyard.optimizers.ace.settings import Settings


@dataclass(frozen=True)
class Choice:
    """What is returned, and why."""

    measured: Measured | None
    """The measured program that it is; None for the last playbook."""
    note: str
    """A sentence for the reader of a report."""

    @property
    def keeps_student(self) -> bool:
        """Whether the student comes back without a playbook."""
        return self.measured is not None and self.measured.program == "student"


def named(measured: Measured) -> str:
    """What a measured program is called: ``student``, ``start``, ``epoch 2``, ``epoch 2, step 40``."""
    if measured.program == "student":
        return "student"
    if measured.epoch == 0:
        return "start"
    return (
        f"epoch {measured.epoch}" if measured.ends_epoch else f"epoch {measured.epoch}, step {measured.steps}"
    )


def choose(settings: Settings, measured: Sequence[Measured]) -> Choice:
    """Choose among measured programs: the first of those with the highest mean score, the student included.

    Offline only, and only where labels may be looked at; else what is returned is the last playbook.
    """
    scored = [one for one in measured if one.score is not None]
    if settings.mode == "evaluate":
        return Choice(None, _evaluated(scored))
    if settings.mode == "online":
        return Choice(None, "The stream was gone through once: the playbook at its end is returned.")
    if not settings.labels:
        return Choice(
            None, "No label was looked at, so nothing was chosen by score: the last playbook is returned."
        )
    if not scored:
        return Choice(None, "There are no validation examples to choose by: the last playbook is returned.")
    best = max(scored, key=lambda one: one.score or 0.0)  # the first of several
    student = next(one for one in scored if one.program == "student")
    if best.program == "student":
        playbooks = [one for one in scored if one.program == "playbook"]
        runner_up = max(playbooks, key=lambda one: one.score or 0.0, default=None)
        other = f" (the best playbook, {named(runner_up)}: {runner_up.score:.3f})" if runner_up else ""
        return Choice(
            best,
            f"No playbook beat the student, {student.score:.3f} on {student.examples} validation examples"
            f"{other}: it is returned as it came.",
        )
    which = "playbook that it started from" if named(best) == "start" else f"playbook of {named(best)}"
    return Choice(
        best,
        f"The {which} is returned: {best.score:.3f} on {best.examples} validation "
        f"examples, against {student.score:.3f} without a playbook.",
    )


def _evaluated(scored: Sequence[Measured]) -> str:
    found = "; ".join(f"{named(one)} {one.score:.3f} on {one.examples}" for one in scored)
    return f"Nothing was learnt: the playbook is returned as it came. Validation: {found or 'not measured'}."
