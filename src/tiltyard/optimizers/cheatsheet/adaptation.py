"""Goes through training examples window by window: answers them, and has the sheet rewritten.

    >>> adaptation = Adaptation(program, trainset, curator=curator, journal=journal)
    >>> adaptation.cumulate([Step(0, epoch=1, position=17)])
    >>> adaptation.sheet
    '- Write USD before sums.'

Everything that a model is asked for goes through the journal, so an adaptation that was killed comes to where
it was by doing the same again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import dspy

from tiltyard.errors import TiltyardError
from tiltyard.optimizers.adapting.answering import Metric, answer_example, answered, asked, inputs_of
from tiltyard.optimizers.adapting.hopeless import HOPELESS, unusable
from tiltyard.optimizers.adapting.parallel import in_parallel
from tiltyard.optimizers.adapting.plain_values import plain, well_formed
from tiltyard.optimizers.adapting.spending import spending
from tiltyard.optimizers.cheatsheet.curator import Curator, Rewrite
from tiltyard.optimizers.cheatsheet.guard import Ruling
from tiltyard.optimizers.cheatsheet.journal import Journal
from tiltyard.optimizers.cheatsheet.pool import Case, Pool
from tiltyard.optimizers.cheatsheet.program import RETRIEVED, CheatsheetProgram
from tiltyard.optimizers.cheatsheet.records import Answered, Rewritten
from tiltyard.redaction import one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One training example's turn."""

    number: int
    """From 0, over all epochs."""
    epoch: int
    """From 1."""
    position: int
    """Of the example in the train set."""


class Adaptation:
    """A sheet that grows, and the pool of answers that it grows from.

    Args:
        program: What answers; without a sheet of its own.
        trainset: The examples.
        curator: Rewrites the sheet.
        journal: Keeps what was done.
        metric: Judges answers; None where no label may be looked at.
        sheet: The sheet at the start.
        retrieved: How many similar tasks the curator reads in the retrieval variant.
    """

    def __init__(
        self,
        program: dspy.Module,
        trainset: Sequence[dspy.Example],
        *,
        curator: Curator,
        journal: Journal,
        metric: Metric | None = None,
        sheet: str = "",
        retrieved: int = RETRIEVED,
    ) -> None:
        self.sheet = sheet
        self.pool = Pool()
        self.answers: list[Answered] = []
        self.rewrites: list[Rewritten] = []
        self._program = program
        self._trainset = trainset
        self._curator = curator
        self._journal = journal
        self._metric = metric
        self._retrieved = retrieved

    @property
    def mean_score(self) -> float | None:
        """Of all answers so far; None where no label was looked at."""
        scores = [answer.score for answer in self.answers if answer.score is not None]
        return fmean(scores) if scores else None

    def cumulate(self, window: Sequence[Step]) -> None:
        """Answer a window with the sheet as it is, then rewrite it after each of the answers in turn (DC-Cu).

        Args:
            window: The steps; a single one is the paper's way.
        """
        for step, answer in zip(window, self._answers(window, [self.sheet] * len(window)), strict=True):
            if not answer.teaches:
                continue
            task, feedback = self._task(step), answer.feedback if self._metric else None
            rewrite = partial(
                self._curator.after_answer, self.sheet, task=task, answer=answer.text, feedback=feedback
            )
            self._rewrite(step, rewrite)

    def retrieve(self, window: Sequence[Step]) -> None:
        """Write a sheet for each task of a window from those before, then answer each with its own (DC-RS).

        Each sheet is written from the one before. The answers of the window join the pool when all are there;
        with an empty pool there is nothing to write a sheet from, and the curator is not asked.

        Args:
            window: The steps; a single one is the paper's way.
        """
        sheets = []
        for step in window:
            task = self._task(step)
            cases = self.pool.nearest(task, self._retrieved, without=str(step.position))
            if cases:
                rewrite = partial(self._curator.before_answer, self.sheet, task=task, cases=cases)
                self._rewrite(step, rewrite)
            sheets.append(self.sheet)
        for step, answer in zip(window, self._answers(window, sheets), strict=True):
            if answer.outputs is not None:
                case = Case(str(step.position), self._task(step), answer.text, answer.feedback)
                self.pool.add(case)

    def _task(self, step: Step) -> str:
        return asked(self._trainset[step.position], inputs_of(self._program))

    def _answers(self, window: Sequence[Step], sheets: Sequence[str]) -> list[Answered]:
        def answer_all() -> dict[str, Any]:
            threads = dspy.settings.num_threads or 1
            found = in_parallel(self._answer, list(zip(window, sheets, strict=True)), threads=threads)
            return {"answers": [answer.dumped() for answer in found]}

        kept = self._journal.once(f"answers/{window[0].number}", answer_all)
        found = [Answered.loaded(values) for values in kept["answers"]]
        self.answers += found
        return found

    def _answer(self, turn: tuple[Step, str]) -> Answered:
        step, sheet = turn
        answer = answer_example(
            CheatsheetProgram(self._program, sheet), self._trainset[step.position], self._metric
        )
        return Answered(
            step=step.number,
            epoch=step.epoch,
            position=step.position,
            outputs=None if answer.prediction is None else plain(dict(answer.prediction.items())),
            text=well_formed(answered(answer)),
            teaches=answer.can_be_reflected,
            score=answer.score,
            feedback=well_formed(answer.feedback) if self._metric else "",
            error=answer.error,
            latency_ms=answer.latency_ms,
            spent=answer.spent,
        )

    def _rewrite(self, step: Step, ask: Callable[[], Rewrite]) -> None:
        """Have the sheet rewritten; whatever comes of it is recorded."""
        example = str(self._trainset[step.position].get("id", step.position))

        def work() -> dict[str, Any]:
            rewrite = self._asked(ask)
            return Rewritten.of(rewrite, step=step.number, epoch=step.epoch, example=example).dumped()

        rewritten = Rewritten.loaded(self._journal.once(f"rewrite/{step.number}", work))
        self.rewrites.append(rewritten)
        self.sheet = rewritten.sheet
        if rewritten.verdict in ("refused", "failed"):
            logger.info("step %d: rewrite %s: %s", step.number, rewritten.verdict, rewritten.reason)

    def _asked(self, ask: Callable[[], Rewrite]) -> Rewrite:
        with spending() as spent:
            try:
                return ask()
            except TiltyardError:
                raise
            except HOPELESS as error:
                raise unusable(error, "curates", "optimizer.curator") from error
            except Exception as error:  # whatever else an engine raises costs this rewrite alone
                failed = Rewrite(Ruling("failed", self.sheet, f"the model failed: {one_line(error)}"))
        return replace(failed, spent=spent())
