"""Lets a program answer one example, and asks the reflector what is to be learnt from that.

    >>> learner = Learner(settings, program, metric, Reflector())
    >>> learner.learn(example).rules
    ('Write USD before sums.',)

Nothing shared is changed here, so that the examples of a window can be gone through at the same time.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import dspy

from tiltyard.optimizers.ace.roles import Reflector
from tiltyard.optimizers.ace.settings import Settings
from tiltyard.optimizers.adapting.answering import (
    Answer,
    Metric,
    answer_example,
    answered,
    asked,
    expected,
    inputs_of,
)
from tiltyard.optimizers.adapting.spending import Spent
from tiltyard.optimizers.playbook.citations import cited_ids, citing
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.programs.playbook import rules_of


@dataclass(frozen=True)
class Learnt:
    """One example's answer, and what came of it."""

    answer: Answer
    """The first one, with the playbook as it stood."""
    shown: tuple[str, ...] = ()
    """Ids of the entries that the program was shown."""
    cited: tuple[str, ...] = ()
    """Those among them that its answer named."""
    not_shown: int = 0
    """Ids that it gave where it was asked for citations, and that it was not shown."""
    rules: tuple[str, ...] = ()
    """What is to be curated, over all rounds."""
    problems: tuple[str, ...] = ()
    """Why lessons that were asked for are missing."""
    reflections: int = 0
    """Lessons that were asked for."""
    reflection_ms: float | None = None
    """Wall time of asking, repetitions included; None where nothing was asked."""
    judged: int = 0
    """Answers that the metric was called for."""
    retries: int = 0
    """Answers beyond the first, given with the lessons until then."""
    fixed: bool = False
    """Whether one of them was right."""
    repeated: int = 0
    """Replies of the reflector that had to be asked for twice."""
    generate: Spent = field(default=Spent(), compare=False)
    reflect: Spent = field(default=Spent(), compare=False)


class Learner:
    """Answers examples and reflects on the answers.

    Args:
        settings: The adaptation's.
        program: The student with the playbook as it stands.
        metric: Judges answers; it is not called where the settings allow no labels.
        reflector: Who states lessons.
    """

    def __init__(
        self, settings: Settings, program: PlaybookProgram, metric: Metric, reflector: Reflector
    ) -> None:
        self._settings = settings
        self._program = program
        self._fields = inputs_of(program)
        self._metric = metric if settings.labels else None
        self._reflector = reflector

    def learn(self, example: dspy.Example) -> Learnt:
        """Answer an example and state its lessons, in as many rounds as it takes and as there may be."""
        shown = self._program.shown_for(example.inputs().toDict())
        with citing() as listed:
            first = answer = answer_example(self._showing(shown), example, self._metric)
        rules: list[str] = []
        problems: list[str] = []
        generate, reflect = answer.spent, Spent()
        reflections = retries = repeated = 0
        judged = int(first.judged)
        fixed = False
        reflection_ms: float | None = None
        while self._calls_for_reflection(answer) and reflections < self._settings.rounds:
            start = time.perf_counter()
            lesson = self._reflector.lesson(
                task=asked(example, self._fields),
                answer=answered(answer),
                expected=expected(example, answer) if self._settings.labels else "",
                feedback=answer.feedback,
            )
            reflection_ms = (reflection_ms or 0.0) + 1000 * (time.perf_counter() - start)
            reflections += 1
            repeated += lesson.retried
            reflect += lesson.spent
            if lesson.problem:
                problems.append(lesson.problem)
                break
            new = [rule for rule in rules_of(lesson.text) if rule not in rules]
            rules += new
            # Without labels nothing tells whether another answer is better, and without a new rule there is
            # no other answer.
            if not new or reflections == self._settings.rounds or self._right(answer) is not False:
                break
            answer = answer_example(self._with_lessons(shown, rules), example, self._metric)
            generate += answer.spent
            retries += 1
            judged += answer.judged
            fixed = bool(self._right(answer))
            if fixed:
                break
        ids = tuple(entry.id for entry in shown)
        named = cited_ids([first.said]) | listed
        return Learnt(
            answer=first,
            shown=ids,
            cited=tuple(id for id in ids if id in named) if named else (),
            not_shown=len(listed.difference(ids)),
            rules=tuple(rules),
            problems=tuple(problems),
            reflections=reflections,
            reflection_ms=reflection_ms,
            judged=judged,
            retries=retries,
            fixed=fixed,
            repeated=repeated,
            generate=generate,
            reflect=reflect,
        )

    def _right(self, answer: Answer) -> bool | None:
        """Whether an answer succeeded; None where that is not known."""
        return None if answer.score is None else answer.score >= self._settings.success

    def _calls_for_reflection(self, answer: Answer) -> bool:
        if not answer.can_be_reflected:
            return False
        return self._settings.reflect_on == "all" or self._right(answer) is not True

    def _showing(self, shown: Sequence[Entry]) -> dspy.Module:
        """The student with entries that were chosen already: choosing is what takes time."""
        if self._settings.selection == "all":
            return self._program
        return self._with(Playbook(shown))

    def _with_lessons(self, shown: Iterable[Entry], rules: Iterable[str]) -> dspy.Module:
        """The student with what it was shown, and with the lessons behind that."""
        playbook = Playbook(shown, next_number=self._program.playbook.next_number)
        for rule in rules:
            playbook.apply(Add("lesson", rule), step=0)
        return self._with(playbook)

    def _with(self, playbook: Playbook) -> PlaybookProgram:
        asks = self._settings.ask_for_citations
        return PlaybookProgram(self._program.program, playbook, ask_for_citations=asks)
