"""ACE: adapts any program by a playbook that grows from the program's own answers.

    >>> optimizer = ACE(metric=task.metric, epochs=2)
    >>> program = optimizer.compile(student, trainset=train, valset=validation)
    >>> program.playbook.contents()
    {'k1': 'Write USD before sums.'}

After Zhang et al., "Agentic Context Engineering: Evolving Contexts for Self-Improving Language Models"
(arXiv 2510.04618, ICLR 2026): the program answers, a reflector states what is to be learnt, a curator turns
that into operations on single entries. The playbook is never written anew as a whole.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import dspy
from dspy.teleprompt import Teleprompter
from pydantic import Field

from tiltyard.config import Content
from tiltyard.errors import InputError
from tiltyard.optimizers.ace.adaptation import Adaptation
from tiltyard.optimizers.ace.choice import choose
from tiltyard.optimizers.ace.journal import Journal
from tiltyard.optimizers.ace.records import Measured
from tiltyard.optimizers.ace.reporting import Told, report
from tiltyard.optimizers.ace.roles import Curator, Reflector
from tiltyard.optimizers.ace.settings import Credit, Mode, ReflectOn, Settings
from tiltyard.optimizers.ace.versions import Versions
from tiltyard.optimizers.adapting.answering import Metric
from tiltyard.optimizers.adapting.fingerprint import fingerprint
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram, playbook_in
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.optimizers.playbook.selection import Selection
from tiltyard.optimizers.playbook.similarity import HASHED
from tiltyard.optimizers.registered import InProgram, is_reference
from tiltyard.optimizers.report import OptimizationReport

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


def _playbook_text(state: Mapping[str, Any]) -> str | None:
    playbook = playbook_in(state)
    return None if playbook is None else playbook.dumps()


PlaybookFile = Annotated[str | None, Content(_digest), InProgram("playbook", _playbook_text)]
"""A playbook's file, or the registered version of a program that has one. What counts of it for a run's
fingerprint is what it holds."""


class ACE(Teleprompter):  # type: ignore[misc]
    """Grows a playbook from a program's answers to training examples.

    A window of examples is one step: the program answers them with the playbook as it stands, the
    reflector states the lessons of those that call for one, and the curator brings the playbook up to date,
    lesson by lesson in the order of the examples. Every step is in the checkpoints when it ends.

    Args:
        metric: Judges answers: ``metric(example, prediction)`` gives a number in [0, 1], which may have
            ``feedback``. Without labels it is never called.
        checkpoints: A folder for the steps done. A compilation with the same settings, student and examples
            that finds them there goes on behind the last one. None keeps none.
        reflector: The model that reflects and curates; None for the program's own.
        mode: ``offline`` learns from the train set and chooses by validation. ``online`` goes through the
            train set once, as a stream: each window is predicted before anything is learnt from it.
            ``evaluate`` learns nothing, and measures the playbook that it is given.
        labels: Whether the adaptation may know what is right. If not, the metric is not called, the reflector
            gets neither the expected answer nor feedback, every answer is reflected on, and nothing is chosen
            by score. That a reply could not be parsed is no label; the reflector is told so in any case.
        epochs: How often the train set is gone through, each time in another order.
        rounds: The most lessons for one answer: with its lessons so far the program tries again, and what is
            still wrong is reflected on again. Without labels there is one.
        window: How many examples are answered with the same playbook, at the same time. 1 is ACE as
            published; larger windows are quicker and learn less from each answer.
        curate_every: After how many windows the lessons that wait are curated; at the end of an epoch in any
            case.
        reflect_on: ``failures``: answers that score below ``success``; ``all``: right ones as well.
        success: The score from which an answer counts as right.
        train_examples: The most training examples that are used, the first ones; None for all.
        validation_examples: The most validation examples that are used, the first ones; None for all.
        validate_every: After how many steps the playbook is measured, beside the ends of epochs; None for
            those alone. Online nothing is measured on validation without it.
        playbook: A file with the playbook to start from; None for that of the student, or for an empty one.
            In a run's config it may be a registered version as well, such as ``models:/NAME/3``.
        selection: ``all``: every prompt shows every entry; ``relevant``: those nearest to the question.
        k: The most entries that a prompt shows, for ``relevant``.
        shown_tokens: The most tokens of entries that a prompt shows, for ``relevant``; less than the budget.
        similarity: What relevance is measured by: ``hashed``, or the name of a sentence-transformers model.
        refinement: What comes between the curator and the playbook: the filter, deduplication, the budget,
            and what is pruned. None for all its defaults.
        credit: Who is told helpful from harmful: the entries that an answer ``cited``, those that it was
            ``shown`` (with ``relevant`` alone, since otherwise all would be credited alike), or ``none``.
        ask_for_citations: Whether every call that shows a playbook asks, in an output field of its own, which
            entries the answer follows. Without it a program cites only where its own words do, such as in a
            reasoning field. The compiled program goes on asking.
        seed: Decides the order of the examples in each epoch.

    Raises:
        InputError: The settings contradict each other, or the playbook cannot be read.
    """

    def __init__(
        self,
        metric: Metric,
        checkpoints: Path | None = None,
        *,
        reflector: dspy.LM | None = None,
        mode: Mode = "offline",
        labels: bool = True,
        epochs: Count = 1,
        rounds: Count = 1,
        window: Count = 1,
        curate_every: Count = 1,
        reflect_on: ReflectOn = "failures",
        success: Annotated[float, Field(gt=0, le=1)] = 1.0,
        train_examples: Count | None = None,
        validation_examples: Count | None = None,
        validate_every: Count | None = None,
        playbook: PlaybookFile = None,
        selection: Selection = "all",
        k: Count | None = None,
        shown_tokens: Count | None = None,
        similarity: str = HASHED,
        refinement: Refinement | None = None,
        credit: Credit = "cited",
        ask_for_citations: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings = Settings(
            mode=mode,
            labels=labels,
            epochs=epochs,
            rounds=rounds,
            window=window,
            curate_every=curate_every,
            reflect_on=reflect_on,
            success=success,
            train_examples=train_examples,
            validation_examples=validation_examples,
            validate_every=validate_every,
            selection=selection,
            k=k,
            shown_tokens=shown_tokens,
            similarity=similarity,
            credit=credit,
            ask_for_citations=ask_for_citations,
            seed=seed,
        )
        self.refinement = refinement or Refinement(similarity=similarity, seed=seed)
        budget = self.refinement.budget
        if shown_tokens is not None and budget is not None and shown_tokens >= budget:
            raise InputError(
                f"optimizer.shown_tokens={shown_tokens} shows all that refinement.budget={budget} can hold, "
                "so that nothing would be chosen",
                "give fewer than the budget",
            )
        self.metric = metric
        self.checkpoints = checkpoints
        self.reflector = reflector
        self.playbook = None if playbook is None else _read(playbook)
        self.report = OptimizationReport()

    @property
    def uses_both_sets(self) -> bool:
        """Whether validation is looked at: not without labels, and online only where that is asked for."""
        return self.settings.measures

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: list[dspy.Example],
        valset: list[dspy.Example] | None = None,
    ) -> PlaybookProgram:
        """Adapt a copy of the student, and leave a report of it in ``report``.

        Args:
            student: Any program. One that has a playbook already starts with that.
            trainset: What is learnt from.
            valset: What is chosen by; without it the last playbook is returned.

        Raises:
            JobError: The model that reflects and curates cannot be used at all, or not one training example
                was answered.
            OSError: A checkpoint cannot be written.
        """
        self.report = OptimizationReport()
        settings = self.settings
        program, start = self._taken_apart(student)
        train = trainset[: settings.train_examples]
        validation = (valset or [])[: settings.validation_examples]
        identity = fingerprint(
            {
                "settings": asdict(settings),
                "refinement": _settings_of(self.refinement),
                "playbook": start.dumps(),
            },
            program,
            train=train,
            validation=validation,
            metric=self.metric,
            models=[self.reflector],
        )
        journal = Journal.opened(self.checkpoints, identity)
        if journal.records:
            logger.info("going on behind %d records of %s", len(journal.records), self.checkpoints)
        grown = Adaptation(
            settings,
            self.refinement,
            program,
            start,
            train,
            validation,
            self.metric,
            Reflector(self.reflector),
            Curator(self.reflector),
            journal,
        ).run()
        choice = choose(settings, [one for one in journal.records if isinstance(one, Measured)])
        versions = Versions(grown)
        chosen = settings.program(program, versions.chosen(choice))
        self.report = report(Told(settings, journal.records, train, versions, choice, chosen))
        logger.info("%s", choice.note)
        return chosen

    def _taken_apart(self, student: dspy.Module) -> tuple[dspy.Module, Playbook]:
        """A copy of the program alone, and the playbook to start from."""
        copy = student.deepcopy()
        program, start = copy, Playbook()
        if isinstance(copy, PlaybookProgram):
            program, start = copy.program, copy.playbook
        return program, (start if self.playbook is None else self.playbook).carried_over()


def _read(path: str) -> Playbook:
    if is_reference(path):
        raise InputError(
            f"optimizer.playbook={path} is looked up in the tracking store of a run, and there is none",
            "give a playbook.jsonl",
        )
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"optimizer.playbook={path} cannot be read ({error})", "give a playbook.jsonl"
        ) from error
    return Playbook.loads(text)


def _settings_of(refinement: Refinement) -> dict[str, Any]:
    # What begins with an underscore is its index, which follows from the rest.
    return {name: value for name, value in vars(refinement).items() if not name.startswith("_")}
