"""Dynamic Cheatsheet as a DSPy teleprompter (Suzgun et al. 2025, arXiv 2504.07952).

    >>> optimizer = DynamicCheatsheet(variant="cumulative")
    >>> program = optimizer.compile(student, trainset=train)
    >>> program.sheet
    '- Write USD before sums.'
    >>> optimizer.report.metrics["optimizer.rewrites.refused"]
    2.0

The paper learns at test time, from the very questions that it is scored on. Here the sheet is written on the
training examples and does not change afterwards, as with every other optimizer.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import dspy
from dspy.teleprompt import Teleprompter
from pydantic import Field

from tiltyard.errors import InputError, JobError
from tiltyard.optimizers.adapting.answering import Metric
from tiltyard.optimizers.adapting.fingerprint import fingerprint
from tiltyard.optimizers.adapting.progress import progress
from tiltyard.optimizers.cheatsheet.adaptation import Adaptation, Step
from tiltyard.optimizers.cheatsheet.curator import Curator
from tiltyard.optimizers.cheatsheet.guard import Guard, trimmed
from tiltyard.optimizers.cheatsheet.journal import Journal
from tiltyard.optimizers.cheatsheet.pool import Pool
from tiltyard.optimizers.cheatsheet.program import RETRIEVED, CheatsheetProgram
from tiltyard.optimizers.cheatsheet.records import Validated
from tiltyard.optimizers.cheatsheet.telling import Ending, Told, choose, report
from tiltyard.optimizers.cheatsheet.validation import validated
from tiltyard.optimizers.report import OptimizationReport

logger = logging.getLogger(__name__)

JOURNAL = "cheatsheet.jsonl"
"""The file of the checkpoints."""

Count = Annotated[int, Field(ge=1)]


class DynamicCheatsheet(Teleprompter):  # type: ignore[misc]
    """Has a curator rewrite a sheet of notes, again and again, from a program's answers to examples.

    Args:
        metric: Judges answers: ``metric(example, prediction)`` gives a number in [0, 1], which may have
            ``feedback``. Without labels it is never called.
        checkpoints: A folder for what is done. A compilation with the same settings, student, examples and
            models that finds it there goes on behind it. None keeps nothing.
        curator: The model that rewrites the sheet; None for the program's own.
        variant: ``cumulative`` (DC-Cu) rewrites the sheet after each answer, from that answer. ``retrieval``
            (DC-RS) rewrites it before each answer, from the most similar examples before with their answers;
            the compiled program does so for each question, with all training examples.
        labels: Whether the curator is told what the metric says of an answer, and the sheet is chosen by
            validation. The paper's curator judges for itself.
        epochs: How often the training examples are gone through, each time in another order.
        max_steps: The most training examples that are answered in all; None for all of every epoch.
        window: How many examples are answered at the same time. 1 is the paper's way; with more, the answers
            of a window know nothing of one another.
        retrieved: How many similar examples the curator reads (``retrieval``).
        budget_tokens: The most tokens that a sheet may have, by an estimate that needs no tokenizer.
        over_budget: What becomes of a longer one: ``trim`` cuts behind the last line that fits, ``refuse``
            keeps the old sheet.
        max_loss: The largest share of the old sheet that a rewrite may lose, in [0, 1]: of its tokens, and of
            its lines as ``guard.loss_of`` finds them again. 1 lets everything through.
        guarded_from: Sheets of fewer tokens may be rewritten freely; less than the budget.
        seed: Decides the order of the examples in each epoch.

    Raises:
        InputError: There are to be labels, and there is no metric; or no sheet within the budget is guarded.
    """

    def __init__(
        self,
        metric: Metric | None = None,
        checkpoints: Path | None = None,
        *,
        curator: dspy.LM | None = None,
        variant: Literal["cumulative", "retrieval"] = "cumulative",
        labels: bool = False,
        epochs: Count = 1,
        max_steps: Count | None = None,
        window: Count = 1,
        retrieved: Count = RETRIEVED,
        budget_tokens: Count = 512,
        over_budget: Literal["trim", "refuse"] = "trim",
        max_loss: Annotated[float, Field(ge=0, le=1)] = 0.3,
        guarded_from: Annotated[int, Field(ge=0)] = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if labels and metric is None:
            raise InputError("labels=true needs a metric", "give one, or set labels=false")
        if guarded_from >= budget_tokens:
            raise InputError(
                f"optimizer.guarded_from={guarded_from} leaves out every sheet within "
                f"budget_tokens={budget_tokens}, so that no loss would be refused",
                "lower guarded_from; max_loss=1 is how to let everything through",
            )
        self.metric = metric if labels else None
        self.checkpoints = checkpoints
        self.curator = curator
        self.variant = variant
        self.epochs = epochs
        self.max_steps = max_steps
        self.window = window
        self.retrieved = retrieved
        self.guard = Guard(budget_tokens, over_budget, max_loss, guarded_from)
        self.seed = seed
        self.report = OptimizationReport()

    @property
    def uses_both_sets(self) -> bool:
        """Whether validation is looked at: not without labels."""
        return self.metric is not None

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: list[dspy.Example],
        valset: list[dspy.Example] | None = None,
    ) -> dspy.Module:
        """Adapt a copy of the student, and leave a report of it in ``report``.

        Args:
            student: Any program. One that has a cheatsheet already starts with that, cut to the budget.
            trainset: What is learnt from.
            valset: What is chosen by, with labels; without it the last sheet is returned.

        Returns:
            A :class:`CheatsheetProgram`, or a copy of the student where it has the best validation score.

        Raises:
            InputError: There are no training examples.
            JobError: The program answered none of them, the curator's model cannot be used, or a checkpoint
                cannot be written.
        """
        self.report = OptimizationReport()
        if not trainset:
            raise InputError("there are no training examples", "raise limit, or check the task's data file")
        student = student.deepcopy()
        program, before = _taken_apart(student)
        journal = Journal(
            self.checkpoints and self.checkpoints / JOURNAL,
            fingerprint(
                self._settings(),
                student,
                train=trainset,
                validation=valset or [],
                metric=self.metric,
                models=[self.curator],
            ),
        )
        if len(journal):
            logger.info("going on behind %d results in %s", len(journal), journal.path)
        adaptation = Adaptation(
            program,
            trainset,
            curator=Curator(self.guard, self.curator),
            journal=journal,
            metric=self.metric,
            sheet=trimmed(before, self.guard.budget_tokens),
            retrieved=self.retrieved,
        )
        endings = [Ending(0, student, before, self._validated(student, valset, journal, epoch=0))]
        adapt = adaptation.cumulate if self.variant == "cumulative" else adaptation.retrieve
        plan = list(self._plan(len(trainset)))
        steps = sum(len(window) for _, windows in plan for window in windows)
        with progress(steps, "cheatsheet") as advance:
            for epoch, windows in plan:
                for window in windows:
                    adapt(window)
                    lines = len(adaptation.sheet.splitlines())
                    advance(len(window), score=adaptation.mean_score, entries=lines)
                adapted = self._program(program, adaptation)
                measured = self._validated(adapted, valset, journal, epoch=epoch)
                endings.append(Ending(epoch, adapted, adaptation.sheet, measured))
        if not any(answer.teaches for answer in adaptation.answers):
            journal.discard()  # another try must ask again
            raise JobError(
                f"the program answered no training example ({adaptation.answers[-1].error})",
                "run with optimizer=none to see each example's error",
            )
        chosen = choose(endings)
        self.report = report(
            Told(
                answers=adaptation.answers,
                rewrites=adaptation.rewrites,
                endings=endings,
                chosen=chosen,
                train=trainset,
                labels=self.metric is not None,
            )
        )
        logger.info("%s", self.report.notes[0])
        return chosen.program

    def _plan(self, examples: int) -> Iterator[tuple[int, list[list[Step]]]]:
        """The epochs that have a step, each with its windows."""
        left = self.max_steps or self.epochs * examples
        number = 0
        for epoch in range(1, self.epochs + 1):
            order = list(range(examples))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            steps = [Step(number + at, epoch, position) for at, position in enumerate(islice(order, left))]
            number, left = number + len(steps), left - len(steps)
            if steps:
                yield (
                    epoch,
                    [steps[start : start + self.window] for start in range(0, len(steps), self.window)],
                )

    def _program(self, program: dspy.Module, adaptation: Adaptation) -> CheatsheetProgram:
        """The program as it is compiled now; it does not change with the adaptation."""
        return CheatsheetProgram(
            program,
            adaptation.sheet,
            Pool(adaptation.pool.cases) if self.variant == "retrieval" else None,
            retrieved=self.retrieved,
            guard=self.guard,
            curator=self.curator,
        )

    def _validated(
        self, program: dspy.Module, valset: Sequence[dspy.Example] | None, journal: Journal, *, epoch: int
    ) -> Validated | None:
        if self.metric is None or not valset:
            return None
        metric = self.metric
        result = journal.once(
            f"validation/{epoch}", lambda: validated(program, valset, metric, epoch=epoch).dumped()
        )
        return Validated.loaded(result)

    def _settings(self) -> dict[str, Any]:
        """What decides a compilation, of its own settings."""
        return {
            "variant": self.variant,
            "epochs": self.epochs,
            "max_steps": self.max_steps,
            "window": self.window,
            "retrieved": self.retrieved,
            "guard": asdict(self.guard),
            "seed": self.seed,
        }


def _taken_apart(student: dspy.Module) -> tuple[dspy.Module, str]:
    """The program alone, and the sheet to start from."""
    return (student.program, student.sheet) if isinstance(student, CheatsheetProgram) else (student, "")
