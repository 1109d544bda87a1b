"""DSPy's SIMBA, which adds rules and demonstrations where the program's own answers differ most.

    >>> optimizer = Simba(metric=task.metric, bsize=16, max_steps=4, seed=1)
    >>> program = optimizer.compile(student, trainset=train)

See https://dspy.ai/api/optimizers/SIMBA.
"""

import functools
import logging
from collections.abc import Callable
from typing import Annotated, Any

import dspy
from pydantic import Field

from tiltyard.optimizers.bootstrapping import Count, Positive, Seed, Threshold
from tiltyard.optimizers.other_models import asking_also
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Appearance, Metric, Recorder
from tiltyard.optimizers.report import Candidate, Point

logger = logging.getLogger(__name__)

Temperature = Annotated[float, Field(gt=0)]
Strategy = Callable[..., bool]


class Simba(RecordedTeleprompter):
    """Stochastic introspective mini-batch ascent (``dspy.SIMBA``).

    Each step samples answers to a batch, and makes candidates by showing a right answer or by a rule that the
    model writes from a good and a bad one. The best of some candidates on all of train is returned;
    SIMBA looks at no validation.

    Args:
        metric: Scores the answers.
        metric_threshold: The score from which an answer is shown as a demonstration. DSPy shows the best of a
            bucket, however bad it is.
        prompt_model: The model that writes the rules; None means the program's.
        bsize: Examples in a batch, as far as train has so many.
        num_candidates: Answers sampled for each example, and candidates made in each step.
        max_steps: Steps.
        max_demos: The most demonstrations of a program; 0 means rules only.
        demo_input_field_maxlen: Characters after which a demonstration's input is cut off.
        temperature_for_sampling: How freely the programs that answer a batch are drawn: scores are divided by
            it.
        temperature_for_candidates: The same for the programs that candidates are made from.
        seed: Decides batches, draws and strategies.
    """

    uses_both_sets = False

    def __init__(
        self,
        metric: Metric,
        metric_threshold: Threshold = 1.0,
        prompt_model: dspy.LM | None = None,
        bsize: Positive = 32,
        num_candidates: Positive = 6,
        max_steps: Positive = 8,
        max_demos: Count = 4,
        demo_input_field_maxlen: Positive = 100_000,
        temperature_for_sampling: Temperature = 0.2,
        temperature_for_candidates: Temperature = 0.2,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.prompt_model = prompt_model
        self.bsize = bsize
        self.num_candidates = num_candidates
        self.max_steps = max_steps
        self.max_demos = max_demos
        self.demo_input_field_maxlen = demo_input_field_maxlen
        self.temperature_for_sampling = temperature_for_sampling
        self.temperature_for_candidates = temperature_for_candidates
        self.seed = seed

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        optimizer = dspy.SIMBA(
            metric=recorder.counted(self.metric),
            bsize=min(self.bsize, len(trainset)),
            num_candidates=self.num_candidates,
            max_steps=self.max_steps,
            max_demos=self.max_demos,
            prompt_model=self.prompt_model,
            demo_input_field_maxlen=self.demo_input_field_maxlen,
            temperature_for_sampling=self.temperature_for_sampling,
            temperature_for_candidates=self.temperature_for_candidates,
        )
        if self.max_demos:
            showing, ruling = optimizer.strategies
            optimizer.strategies = [_only_right(showing, self.metric_threshold), ruling]
        with asking_also(self.prompt_model):
            program = optimizer.compile(student, trainset=trainset, seed=self.seed)
        self.report.candidates = _candidates(program, len(trainset))
        self.report.points = _points(program)
        return program


def _only_right(strategy: Strategy, threshold: float) -> Strategy:
    """The strategy that shows a bucket's best answer, where that is right."""

    @functools.wraps(strategy)
    def show(bucket: list[dict[str, Any]], system: dspy.Module, **kwargs: Any) -> bool:
        if float(bucket[0]["score"]) < threshold:
            logger.info("No answer in this bucket is right: none is shown")
            return False
        return strategy(bucket, system, **kwargs)

    return show


def _candidates(program: dspy.Module, examples: int) -> list[Candidate]:
    """The programs that SIMBA measured on all of train at its end, the best first."""
    chosen = Appearance.of(program)
    looks = [(Appearance.of(one["program"]), float(one["score"])) for one in program.candidate_programs]
    first = next((at for at, (look, _) in enumerate(looks) if look == chosen), None)
    return [
        Candidate(
            name=f"candidate {number}",
            score=score,
            examples=examples,
            detail=look.detail,
            chosen=number - 1 == first,
        )
        for number, (look, score) in enumerate(looks, start=1)
    ]


def _points(program: dspy.Module) -> list[Point]:
    """The scores of the programs that SIMBA made, in the order in which it made them."""
    scores = [log["train_score"] for _, log in sorted(program.trial_logs.items()) if "train_score" in log]
    return [
        Point(
            number,
            {
                "optimizer.candidate_score": float(score),
                "optimizer.best_score": float(max(scores[:number])),
            },
        )
        for number, score in enumerate(scores, start=1)
    ]
