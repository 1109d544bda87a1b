"""Measures programs on validation examples: the student, and the playbook at the ends of epochs and between.

>>> validation.after(window)                 # a Measured in the journal, with the score
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import dspy

from tiltyard.optimizers.ace.journal import Journal
from tiltyard.optimizers.ace.plan import Window
from tiltyard.optimizers.ace.records import Measured
from tiltyard.optimizers.ace.settings import Settings
from tiltyard.optimizers.adapting.answering import Metric, answer_example
from tiltyard.optimizers.adapting.parallel import in_parallel
from tiltyard.optimizers.adapting.spending import Spent, total
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.programs.playbook import listed


class Validation:
    """Mean scores on validation, each written into the journal once.

    A program that an earlier one equals, in what it shows, is not measured again.

    Args:
        settings: The adaptation's. Nothing is measured without labels, nor online unless it is asked for.
        student: The program, without a playbook.
        start: The playbook before the first step.
        playbook: The one that grows.
        examples: What is measured on; without any, only the playbook's size is noted.
        metric: Judges answers. A program that fails on an example scores 0 there.
        journal: Where it is written.
    """

    def __init__(
        self,
        settings: Settings,
        student: dspy.Module,
        start: Playbook,
        playbook: Playbook,
        examples: Sequence[dspy.Example],
        metric: Metric,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._student = student
        self._start = start
        self._playbook = playbook
        self._examples = examples if settings.measures else ()
        self._metric = metric
        self._journal = journal

    def before_the_first_step(self) -> None:
        """Measure the student, and the playbook that it starts with, if there is one."""
        has_start = len(self._start) > 0
        if not self._done(0, "student"):
            self._measure("student", Playbook(), epoch=0, steps=0, ends_epoch=not has_start)
        if has_start and not self._done(0, "playbook"):
            self._measure("playbook", self._start, epoch=0, steps=0, ends_epoch=True)

    def after(self, window: Window) -> None:
        """Measure the playbook as it is behind a window."""
        steps = window.step + 1
        if not self._done(steps, "playbook"):
            self._measure(
                "playbook", self._playbook, epoch=window.epoch, steps=steps, ends_epoch=window.ends_epoch
            )

    def _done(self, steps: int, program: Literal["student", "playbook"]) -> bool:
        return any(one.steps == steps and one.program == program for one in self._measured())

    def _measured(self) -> list[Measured]:
        return [record for record in self._journal.records if isinstance(record, Measured)]

    def _measure(
        self,
        program: Literal["student", "playbook"],
        playbook: Playbook,
        *,
        epoch: int,
        steps: int,
        ends_epoch: bool,
    ) -> None:
        shown = hashlib.sha256(listed(playbook.contents()).encode("utf-8", "backslashreplace")).hexdigest()
        equal = next((one for one in self._measured() if one.shown == shown), None)
        score, judged, spent = (equal.score, 0, Spent()) if equal else self._score(playbook)
        self._journal.add(
            Measured(
                epoch=epoch,
                steps=steps,
                program=program,
                entries=len(playbook),
                tokens=playbook.tokens,
                score=score,
                examples=len(self._examples),
                judged=judged,
                repeated=equal is not None,
                ends_epoch=ends_epoch,
                shown=shown,
                spent=spent,
            )
        )

    def _score(self, playbook: Playbook) -> tuple[float | None, int, Spent]:
        if not self._examples:
            return None, 0, Spent()
        program = self._settings.program(self._student, playbook)
        answers = in_parallel(
            lambda example: answer_example(program, example, self._metric),
            self._examples,
            threads=dspy.settings.num_threads or 1,
        )
        scores = [answer.score or 0.0 for answer in answers]
        judged = sum(answer.judged for answer in answers)
        return sum(scores) / len(scores), judged, total(answer.spent for answer in answers)
