"""DSPy's optimizers of demonstrations, with a seed that takes effect and a teacher that is a model.

    >>> optimizer = BootstrapFewShot(metric=task.metric, seed=1, teacher=larger)
    >>> program = optimizer.compile(student, trainset=train)

DSPy draws demonstrations with a seed of its own, which is always the same. Here the seed decides in which
order it finds the examples, and with that all that it draws.
"""

import random
from typing import Annotated

import dspy
from pydantic import Field

from tiltyard.optimizers.other_models import settings_of
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Metric, Recorder

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Threshold = Annotated[float, Field(gt=0, le=1)]
"""The score from which an answer is right. DSPy reads 0 as "unset", and then goes by the metric's truth."""


def shuffled(examples: list[dspy.Example], seed: int) -> list[dspy.Example]:
    """The examples in another order, which the seed decides."""
    return random.Random(seed).sample(examples, len(examples))


class LabeledFewShot(RecordedTeleprompter):
    """Shows labelled training examples as demonstrations (``dspy.LabeledFewShot``).

    Args:
        k: How many, as far as there are so many.
        seed: Decides which.
    """

    uses_both_sets = False

    def __init__(self, k: Positive = 16, seed: Seed = 0) -> None:
        super().__init__()
        self.k = k
        self.seed = seed

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        optimizer = dspy.LabeledFewShot(k=self.k)
        return optimizer.compile(student, trainset=shuffled(trainset, self.seed))


class BootstrapFewShot(RecordedTeleprompter):
    """Shows what the program itself got right, filled up with labels (``dspy.BootstrapFewShot``).

    Args:
        metric: Says what is right.
        metric_threshold: The score from which a demonstration is let in.
        teacher: The model that makes the demonstrations; None means the program's.
        max_bootstrapped_demos: The most demonstrations that it makes.
        max_labeled_demos: How many demonstrations there are in all.
        max_rounds: Attempts for each training example; those after the first are sampled.
        max_errors: Failed training examples after which to give up; None means what DSPy's settings say.
        seed: Decides which examples are tried first, and which labels fill up.
    """

    uses_both_sets = False

    def __init__(
        self,
        metric: Metric,
        metric_threshold: Threshold = 1.0,
        teacher: dspy.LM | None = None,
        max_bootstrapped_demos: Positive = 4,
        max_labeled_demos: Count = 16,
        max_rounds: Positive = 1,
        max_errors: Positive | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.teacher = teacher
        self.max_bootstrapped_demos = max_bootstrapped_demos
        self.max_labeled_demos = max_labeled_demos
        self.max_rounds = max_rounds
        self.max_errors = max_errors
        self.seed = seed

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        optimizer = dspy.BootstrapFewShot(
            metric=recorder.counted(self.metric),
            metric_threshold=self.metric_threshold,
            teacher_settings=settings_of(self.teacher),
            max_bootstrapped_demos=self.max_bootstrapped_demos,
            max_labeled_demos=self.max_labeled_demos,
            max_rounds=self.max_rounds,
            max_errors=self.max_errors,
        )
        return optimizer.compile(student, trainset=shuffled(trainset, self.seed))


class BootstrapRandomSearch(RecordedTeleprompter):
    """Tries several sets of demonstrations (``dspy.BootstrapFewShotWithRandomSearch``).

    The candidates are the program as it is, labels only, one bootstrapped set of full size, and
    ``num_candidate_programs`` bootstrapped sets of drawn sizes. Each is measured on all of validation.

    Args:
        metric: Says what is right, and scores the candidates.
        metric_threshold: The score from which a demonstration is let in.
        teacher: The model that makes the demonstrations; None means the program's.
        max_bootstrapped_demos: The most demonstrations that a candidate makes.
        max_labeled_demos: How many demonstrations a candidate has in all.
        max_rounds: Attempts for each training example; those after the first are sampled.
        num_candidate_programs: Drawn candidates, beside the three fixed ones.
        stop_at_score: The mean score at which to stop searching; None means never.
        max_errors: Failed examples after which to give up; None means what DSPy's settings say.
        seed: Decides the draws.
    """

    def __init__(
        self,
        metric: Metric,
        metric_threshold: Threshold = 1.0,
        teacher: dspy.LM | None = None,
        max_bootstrapped_demos: Positive = 4,
        max_labeled_demos: Count = 16,
        max_rounds: Positive = 1,
        num_candidate_programs: Positive = 16,
        stop_at_score: Threshold | None = None,
        max_errors: Positive | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.teacher = teacher
        self.max_bootstrapped_demos = max_bootstrapped_demos
        self.max_labeled_demos = max_labeled_demos
        self.max_rounds = max_rounds
        self.num_candidate_programs = num_candidate_programs
        self.stop_at_score = stop_at_score
        self.max_errors = max_errors
        self.seed = seed

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        optimizer = dspy.BootstrapFewShotWithRandomSearch(
            metric=recorder.counted(self.metric),
            metric_threshold=self.metric_threshold,
            teacher_settings=settings_of(self.teacher),
            max_bootstrapped_demos=self.max_bootstrapped_demos,
            max_labeled_demos=self.max_labeled_demos,
            max_rounds=self.max_rounds,
            num_candidate_programs=self.num_candidate_programs,
            stop_at_score=None
            if self.stop_at_score is None
            else 100 * self.stop_at_score,  # DSPy's in percent
            max_errors=self.max_errors,
        )
        return optimizer.compile(student, trainset=shuffled(trainset, self.seed), valset=valset)
