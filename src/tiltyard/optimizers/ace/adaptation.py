"""Grows a playbook: answers, lessons and curation, window by window, from where it was left.

>>> grown = Adaptation(settings, refinement, student, start, train, validation, …, journal).run()
"""

from collections import Counter
from collections.abc import Sequence

import dspy

from tiltyard.optimizers.ace.curation import Curation
from tiltyard.optimizers.ace.journal import Journal
from tiltyard.optimizers.ace.learning import Learner, Learnt
from tiltyard.optimizers.ace.plan import Window, planned
from tiltyard.optimizers.ace.records import Lesson, Step, Tried
from tiltyard.optimizers.ace.roles import Curator, Reflector
from tiltyard.optimizers.ace.settings import Settings
from tiltyard.optimizers.ace.validation import Validation
from tiltyard.optimizers.adapting.answering import Metric
from tiltyard.optimizers.adapting.hopeless import nothing_answered
from tiltyard.optimizers.adapting.parallel import in_parallel
from tiltyard.optimizers.adapting.plain_values import plain
from tiltyard.optimizers.adapting.progress import progress
from tiltyard.optimizers.adapting.spending import total
from tiltyard.optimizers.playbook.history import History
from tiltyard.optimizers.playbook.operations import Unreadable, Verdict
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.redaction import redact


class Adaptation:
    """One adaptation. Its journal decides where it goes on.

    Args:
        settings: How the playbook is grown.
        refinement: What comes between the curator and the playbook.
        student: The program, without a playbook.
        start: The playbook to start from, none of whose dates is later than -1; it is not changed.
        train: What is learnt from.
        validation: What is chosen by; empty where nothing is.
        metric: Judges answers.
        reflector: Who states lessons.
        curator: Who turns them into operations.
        journal: What was done until now; what is done is added.
    """

    def __init__(
        self,
        settings: Settings,
        refinement: Refinement,
        student: dspy.Module,
        start: Playbook,
        train: Sequence[dspy.Example],
        validation: Sequence[dspy.Example],
        metric: Metric,
        reflector: Reflector,
        curator: Curator,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._train = train
        self._journal = journal
        self.playbook = start.copy()
        self._waiting: list[Lesson] = []
        self._judged, self._sum = 0, 0.0
        self._replay()
        program = settings.program(student, self.playbook)
        self._learner = Learner(settings, program, metric, reflector)
        self._curation = Curation(self.playbook, refinement, program.reader.selector, curator)
        self._validation = Validation(settings, student, start, self.playbook, validation, metric, journal)

    def run(self) -> Playbook:
        """Do what is left to do, and return the playbook as it is in the end.

        Raises:
            JobError: Until the end of an epoch there was not one answer to learn from.
        """
        self._validation.before_the_first_step()
        windows = planned(self._settings, len(self._train))
        done = {record.step: record for record in self._journal.records if isinstance(record, Step)}
        with progress(sum(len(window.examples) for window in windows), "ACE") as advance:
            for window in windows:
                step = done.get(window.step)
                if step is None:
                    step = self._step(window)
                    self._journal.add(step)
                if window.ends_epoch:
                    self._refuse_if_all_is_lost()
                if window.measures:
                    self._validation.after(window)
                advance(len(window.examples), score=self._mean_of(step), entries=len(self.playbook))
        return self.playbook

    def _step(self, window: Window) -> Step:
        events = len(self.playbook.history)
        step = window.step
        examples = [self._train[place] for place in window.examples]
        # Nobody changes the playbook until all of the window have learnt from it, whoever was first.
        learnt = in_parallel(self._learner.learn, examples, threads=dspy.settings.num_threads or 1)
        counts: Counter[str] = Counter()
        lessons: list[Lesson] = []
        for example, one in zip(examples, learnt, strict=True):
            source = identity(example)
            self._note_use(one, step, source)
            counts.update(self._counted(one))
            if one.rules:
                lessons.append(Lesson(source, one.rules))
        self._waiting += lessons
        spent = {
            "generate": total(one.generate for one in learnt),
            "reflect": total(one.reflect for one in learnt),
        }
        if window.curates:
            curated = self._curation.curate(self._waiting, step)
            counts.update(curated.counts)
            spent["curate"] = curated.spent
            self._waiting = []
        return Step(
            step=window.step,
            epoch=window.epoch,
            tried=tuple(_tried(place, one) for place, one in zip(window.examples, learnt, strict=True)),
            lessons=tuple(lessons),
            curated=window.curates,
            events=self.playbook.history.dumps(since=events),
            counts=dict(counts),
            spent=spent,
        )

    def _refuse_if_all_is_lost(self) -> None:
        """Give up where no training example was answered: further epochs would end alike.

        The journal is dropped, since another try must ask again.
        """
        steps = [record for record in self._journal.records if isinstance(record, Step)]
        tried = [one for step in steps for one in step.tried]
        if all(one.lost for one in tried):
            self._journal.discard()
            raise nothing_answered([one.error for one in tried])

    def _note_use(self, learnt: Learnt, step: int, source: str) -> None:
        """Write down which entries were used, what credit they get, and which lessons are missing."""
        # Where all entries are shown, that tells nothing of any: an entry that is cited was used.
        used = learnt.shown if self._settings.selection == "relevant" else learnt.cited
        self.playbook.shown(used, step=step)
        for id in self._credited(learnt):
            self.playbook.credit(id, self._verdict(learnt), step=step)
        for problem in learnt.problems:
            self.playbook.refuse(
                Unreadable("", problem), f"the reflection failed: {problem}", step=step, sources=[source]
            )

    def _credited(self, learnt: Learnt) -> tuple[str, ...]:
        if self._settings.credit == "cited":
            return learnt.cited
        # What was shown together with every other entry is told apart from none.
        if self._settings.credit == "shown" and len(learnt.shown) < len(self.playbook):
            return learnt.shown
        return ()

    def _verdict(self, learnt: Learnt) -> Verdict:
        answer = learnt.answer
        score = answer.score
        if score is None or not answer.can_be_reflected:
            return "neutral"  # nobody judged the answer, or it is the model or the metric that failed
        if score >= self._settings.success:
            return "helpful"
        return "neutral" if score > 0 else "harmful"

    def _counted(self, learnt: Learnt) -> dict[str, int]:
        asked = self._settings.ask_for_citations
        return {
            **({"citations": len(learnt.cited), "citations.not_shown": learnt.not_shown} if asked else {}),
            "metric_calls": learnt.judged,
            "answers.failed": int(bool(learnt.answer.error)),
            "reflections": learnt.reflections,
            "reflections.failed": len(learnt.problems),
            "reflections.repeated": learnt.repeated,
            "retries": learnt.retries,
            "retries.right": int(learnt.fixed),
        }

    def _mean_of(self, step: Step) -> float | None:
        """The mean score of all first answers until a step, which is the next one."""
        scores = [tried.score for tried in step.tried if tried.score is not None]
        self._judged += len(scores)
        self._sum += sum(scores)
        return self._sum / self._judged if self._judged else None

    def _replay(self) -> None:
        """Bring the playbook and the lessons that wait to where the journal ends."""
        steps = [record for record in self._journal.records if isinstance(record, Step)]
        if not steps:
            return
        history = self.playbook.history.dumps() + "".join(step.events for step in steps)
        self.playbook = History.loads(history).rebuild()
        for step in steps:
            self._waiting = [] if step.curated else [*self._waiting, *step.lessons]


def identity(example: dspy.Example) -> str:
    """What an example is called among the sources of a rule: its id, or the beginning of its inputs."""
    named = example.get("id", None)
    if named is not None:
        return redact(str(named))
    return redact(" ".join(str(value) for value in example.inputs().values()))[:80]


def _tried(place: int, learnt: Learnt) -> Tried:
    answer = learnt.answer
    return Tried(
        example=place,
        outputs=None if answer.prediction is None else plain(answer.prediction.toDict()),
        score=answer.score,
        latency_ms=answer.latency_ms,
        reflected=learnt.reflections > 0,
        reflection_latency_ms=learnt.reflection_ms,
        error=answer.error,
        prompt_tokens=answer.spent.prompt_tokens,
        completion_tokens=answer.spent.completion_tokens,
        lost=not answer.can_be_reflected,
    )
