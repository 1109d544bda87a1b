"""DSPy's GEPA, which lets a model rewrite the instructions after reading what went wrong.

    >>> optimizer = Gepa(metric=task.metric, max_metric_calls=300, reflection_lm=larger, checkpoints=folder)
    >>> program = optimizer.compile(student, trainset=train, valset=validation)

The metric's feedback is what the reflection reads. See https://dspy.ai/api/optimizers/GEPA and
arXiv 2507.19457.
"""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import dspy
from dspy.teleprompt.gepa import InstructionProposer
from dspy.teleprompt.gepa.gepa_utils import LoggerAdapter
from gepa.api import optimize
from gepa.core.result import GEPAResult

from tiltyard.errors import InputError
from tiltyard.optimizers.bootstrapping import Count, Positive, Seed
from tiltyard.optimizers.gepa_adapter import (
    JournalledAdapter,
    PlainProposer,
    Texts,
    described,
    digest,
    feedback_from,
)
from tiltyard.optimizers.gepa_journal import Journal
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Metric, Recorder, shortened
from tiltyard.optimizers.report import Candidate

logger = logging.getLogger(__name__)

CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
"""DSPy's sizes of a search, which its budget is derived from."""


class Gepa(RecordedTeleprompter):
    """Reflective evolution of instructions (``dspy.GEPA``), with checkpoints.

    Each round a model reads a few examples with answers and feedback and rewrites the instructions of a
    candidate; a rewrite that does better on them is measured on validation. Candidates that are best on some
    example of validation stay in the pool. The one with the best mean is returned.

    A compilation that was killed goes on from ``checkpoints`` without asking again what it knows, and ends as
    it would have without the interruption, as far as the models answer alike.

    Args:
        metric: Scores an answer and gives feedback, also for one predictor (five arguments).
        reflection_lm: The model that rewrites; None means the program's.
        max_metric_calls: The budget: evaluated answers. The round in which it is reached is finished; asking
            the metric again for feedback is not counted. None means what ``auto`` says.
        auto: DSPy's budgets, for where ``max_metric_calls`` is None.
        proposer: The prompt of the rewriting: ``gepa`` is the plain one of the GEPA library, which models
            answer with a block of text; ``dspy`` is DSPy's, which asks for JSON.
        reflection_minibatch_size: Examples that a rewriting reads.
        candidate_selection_strategy: Whether a round starts from a candidate of the Pareto front or the best.
        component_selector: Whether a round rewrites one predictor's instructions in turn, or those of all.
        skip_perfect_score: Whether to skip a round whose examples were all answered perfectly.
        add_format_failure_as_feedback: Whether the reflection also reads replies that broke the format.
        use_merge: Whether to merge candidates that are good at different examples.
        max_merge_invocations: The most merges.
        seed: Decides batches, choices of candidates and merges.
        checkpoints: A folder for what is needed to go on; None keeps nothing.

    Raises:
        InputError: The metric does not take five arguments.
    """

    def __init__(
        self,
        metric: Metric,
        reflection_lm: dspy.LM | None = None,
        max_metric_calls: Positive | None = None,
        auto: Literal["light", "medium", "heavy"] = "light",
        proposer: Literal["gepa", "dspy"] = "gepa",
        reflection_minibatch_size: Positive = 3,
        candidate_selection_strategy: Literal["pareto", "current_best"] = "pareto",
        component_selector: Literal["round_robin", "all"] = "round_robin",
        skip_perfect_score: bool = True,
        add_format_failure_as_feedback: bool = False,
        use_merge: bool = True,
        max_merge_invocations: Count = 5,
        seed: Seed = 0,
        checkpoints: Path | None = None,
    ) -> None:
        super().__init__()
        try:
            inspect.signature(metric).bind(*(None,) * 5)
        except TypeError as error:
            raise InputError(
                "GEPA's metric takes (example, prediction, trace, pred_name, pred_trace)",
                "let the metric take all five, and return its feedback as tiltyard.tasks.task.Score",
            ) from error
        self.metric = metric
        self.reflection_lm = reflection_lm
        self.max_metric_calls = max_metric_calls
        self.auto = auto
        self.proposer = proposer
        self.reflection_minibatch_size = reflection_minibatch_size
        self.candidate_selection_strategy = candidate_selection_strategy
        self.component_selector = component_selector
        self.skip_perfect_score = skip_perfect_score
        self.add_format_failure_as_feedback = add_format_failure_as_feedback
        self.use_merge = use_merge
        self.max_merge_invocations = max_merge_invocations
        self.seed = seed
        self.checkpoints = checkpoints

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        instructions = {name: one.signature.instructions for name, one in student.named_predictors()}
        journal = Journal.opened(self.checkpoints, self._fingerprint(instructions, trainset, valset))
        adapter = self._adapter(student, recorder.counted(self.metric), journal)
        result: GEPAResult[Any, int] = optimize(
            seed_candidate=instructions,
            trainset=trainset,
            valset=valset,
            adapter=adapter,
            candidate_selection_strategy=self.candidate_selection_strategy,
            skip_perfect_score=self.skip_perfect_score,
            reflection_minibatch_size=self.reflection_minibatch_size,
            module_selector=self.component_selector,
            use_merge=self.use_merge,
            max_merge_invocations=self.max_merge_invocations,
            max_metric_calls=self.max_metric_calls or self._auto_budget(len(instructions), len(valset)),
            logger=LoggerAdapter(logger),
            track_best_outputs=False,
            seed=self.seed,
        )
        self.report.candidates = [
            Candidate(
                name=f"candidate {number}",
                score=score,
                examples=len(valset),
                metric_calls=calls + len(valset),  # GEPA notes them before it measures on validation
                detail=" | ".join(shortened(text) for text in texts.values()),
                chosen=number == result.best_idx,
            )
            for number, (texts, score, calls) in enumerate(
                zip(result.candidates, result.val_aggregate_scores, result.discovery_eval_counts, strict=True)
            )
        ]
        self.report.metrics = {
            "optimizer.budget_used": float(result.total_metric_calls or 0),
            "optimizer.failed_reflections": float(adapter.failures),
            "optimizer.resumed_evaluations": float(adapter.replayed),
        }
        if adapter.failures and adapter.failures == adapter.proposals:
            self.report.warnings.append(
                f"Not one of {adapter.failures} reflections gave instructions, so that nothing was tried but "
                f"the program as it came. The last one: {adapter.last_failure}"
            )
        elif adapter.failures:
            self.report.notes.append(
                f"{adapter.failures} of {adapter.proposals} reflections gave no instructions; the last one: "
                f"{adapter.last_failure}"
            )
        return adapter.build_program(result.best_candidate)

    def _adapter(self, student: dspy.Module, metric: Metric, journal: Journal) -> JournalledAdapter:
        return JournalledAdapter(
            journal,
            self.seed,
            student_module=student,
            metric_fn=metric,
            feedback_map={name: feedback_from(metric, name, one) for name, one in student.named_predictors()},
            failure_score=0.0,
            add_format_failure_as_feedback=self.add_format_failure_as_feedback,
            reflection_lm=self.reflection_lm,
            custom_instruction_proposer=PlainProposer() if self.proposer == "gepa" else InstructionProposer(),
            reflection_minibatch_size=self.reflection_minibatch_size,
        )

    def _auto_budget(self, predictors: int, validation: int) -> int:
        budget: int = dspy.GEPA.auto_budget(
            self, num_preds=predictors, num_candidates=CANDIDATES[self.auto], valset_size=validation
        )
        return budget

    def _fingerprint(
        self, instructions: Texts, trainset: Sequence[dspy.Example], valset: Sequence[dspy.Example]
    ) -> str:
        options = {
            name: value
            for name, value in vars(self).items()
            if value is None or isinstance(value, bool | int | float | str)
        }
        return digest([options, instructions, described(trainset), described(valset)])
