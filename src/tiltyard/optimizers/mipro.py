"""DSPy's MIPROv2, which searches over instructions that a model proposes and sets of demonstrations.

    >>> optimizer = Mipro(metric=task.metric, num_candidates=4, num_trials=8, seed=1)
    >>> program = optimizer.compile(student, trainset=train, valset=validation)

It needs optuna, which ``pip install 'tiltyard[mipro]'`` brings. See
https://dspy.ai/api/optimizers/MIPROv2 and arXiv 2406.11695.
"""

import importlib.util
import logging
from typing import Annotated, Any, Literal

import dspy
from dspy.propose import GroundedProposer
from dspy.teleprompt.mipro_optimizer_v2 import BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError
from pydantic import Field

from tiltyard.errors import InputError
from tiltyard.optimizers.bootstrapping import Count, Positive, Seed, Threshold
from tiltyard.optimizers.other_models import asking_also, settings_of
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Metric, Recorder

logger = logging.getLogger(__name__)


class Mipro(RecordedTeleprompter):
    """Bayesian search over instructions and demonstrations (``dspy.MIPROv2``).

    Args:
        metric: Scores the candidates.
        metric_threshold: The score from which a demonstration is let in.
        teacher: The model that makes the demonstrations; None means the program's.
        prompt_model: The model that proposes instructions; None means the program's.
        auto: DSPy's sizes of a search, for where ``num_candidates`` is None.
        num_candidates: How many instructions, and how many sets of demonstrations, there are to choose from;
            None means what ``auto`` says.
        num_trials: Combinations to try; None means what DSPy recommends for so many candidates.
        max_bootstrapped_demos: The most demonstrations of a set that the program makes; with both at 0 only
            instructions are searched.
        max_labeled_demos: The most labelled demonstrations of a set.
        init_temperature: How freely the proposals are sampled.
        minibatch: Whether trials are measured on a part of validation, and only some on all of it; with
            ``auto`` that depends on the size of validation.
        minibatch_size: Examples of such a part; from validation's own size on, all are used.
        minibatch_full_eval_steps: Trials between measurements on all of validation.
        program_aware_proposer: Whether the proposals see the program's source.
        data_aware_proposer: Whether they see a summary of the train set.
        tip_aware_proposer: Whether they get a drawn tip.
        fewshot_aware_proposer: Whether they see demonstrations.
        view_data_batch_size: Examples that the summary reads at once.
        max_errors: Failed examples after which to give up; None means what DSPy's settings say.
        seed: Decides the sets of demonstrations, tips, minibatches and trials.

    Raises:
        InputError: optuna is not installed, or trials are given without candidates.
    """

    def __init__(
        self,
        metric: Metric,
        metric_threshold: Threshold = 1.0,
        teacher: dspy.LM | None = None,
        prompt_model: dspy.LM | None = None,
        auto: Literal["light", "medium", "heavy"] = "light",
        num_candidates: Annotated[int, Field(ge=2)] | None = None,
        num_trials: Positive | None = None,
        max_bootstrapped_demos: Count = 4,
        max_labeled_demos: Count = 4,
        init_temperature: Annotated[float, Field(ge=0)] = 1.0,
        minibatch: bool = True,
        minibatch_size: Positive = 35,
        minibatch_full_eval_steps: Positive = 5,
        program_aware_proposer: bool = True,
        data_aware_proposer: bool = True,
        tip_aware_proposer: bool = True,
        fewshot_aware_proposer: bool = True,
        view_data_batch_size: Positive = 10,
        max_errors: Positive | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        if importlib.util.find_spec("optuna") is None:
            raise InputError("MIPROv2 needs optuna", "pip install 'tiltyard[mipro]'")
        if num_trials is not None and num_candidates is None:
            raise InputError(
                "num_trials is set and num_candidates is not",
                "set optimizer.num_candidates too, or neither, and choose by optimizer.auto",
            )
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.teacher = teacher
        self.prompt_model = prompt_model
        self.auto = auto
        self.num_candidates = num_candidates
        self.num_trials = num_trials
        self.max_bootstrapped_demos = max_bootstrapped_demos
        self.max_labeled_demos = max_labeled_demos
        self.init_temperature = init_temperature
        self.minibatch = minibatch
        self.minibatch_size = minibatch_size
        self.minibatch_full_eval_steps = minibatch_full_eval_steps
        self.proposing = {
            "program_aware_proposer": program_aware_proposer,
            "data_aware_proposer": data_aware_proposer,
            "tip_aware_proposer": tip_aware_proposer,
            "fewshot_aware_proposer": fewshot_aware_proposer,
            "view_data_batch_size": view_data_batch_size,
        }
        self.max_errors = max_errors
        self.seed = seed

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        # MIPROv2 takes the models of the moment in which it is made, so it is made here.
        optimizer = ToleratingMipro(
            metric=recorder.counted(self.metric),
            metric_threshold=self.metric_threshold,
            teacher_settings=settings_of(self.teacher),
            prompt_model=self.prompt_model,
            auto=None if self.num_candidates else self.auto,
            num_candidates=self.num_candidates,
            max_bootstrapped_demos=self.max_bootstrapped_demos,
            max_labeled_demos=self.max_labeled_demos,
            init_temperature=self.init_temperature,
            max_errors=self.max_errors,
            seed=self.seed,
        )
        with asking_also(self.prompt_model):
            program = optimizer.compile(
                student,
                trainset=trainset,
                valset=valset,
                num_trials=self._trials(optimizer, student),
                minibatch=self.minibatch and self.minibatch_size < len(valset),
                minibatch_size=min(self.minibatch_size, len(valset)),
                minibatch_full_eval_steps=self.minibatch_full_eval_steps,
                **self.proposing,
            )
        self.report.metrics["optimizer.failed_proposals"] = float(optimizer.failures)
        if optimizer.failures:
            self.report.notes.append(
                f"{optimizer.failures} proposals broke the format or were too long; "
                "the program's own instructions stood in for them."
            )
        return program

    def _trials(self, optimizer: dspy.MIPROv2, student: dspy.Module) -> int | None:
        if self.num_candidates is None or self.num_trials is not None:
            return self.num_trials
        only_instructions = not (self.max_bootstrapped_demos or self.max_labeled_demos)
        trials: int = optimizer._set_num_trials_from_num_candidates(
            student, only_instructions, self.num_candidates
        )
        return trials


class ToleratingMipro(dspy.MIPROv2):  # type: ignore[misc]
    """MIPROv2 that goes on where a proposal fails; in DSPy's, one reply in a wrong format ends it all."""

    failures = 0
    """Proposals that gave no instructions."""

    def _propose_instructions(
        self,
        program: dspy.Module,
        trainset: list[dspy.Example],
        demo_candidates: Any,
        view_data_batch_size: int,
        program_aware_proposer: bool,
        data_aware_proposer: bool,
        tip_aware_proposer: bool,
        fewshot_aware_proposer: bool,
        num_instruct_candidates: int,
    ) -> dict[int, list[str]]:
        proposer = ToleratingProposer(
            program=program,
            trainset=trainset,
            prompt_model=self.prompt_model,
            view_data_batch_size=view_data_batch_size,
            program_aware=program_aware_proposer,
            use_dataset_summary=data_aware_proposer,
            use_task_demos=fewshot_aware_proposer,
            num_demos_in_context=BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
            use_tip=tip_aware_proposer,
            set_tip_randomly=tip_aware_proposer,
            use_instruct_history=False,
            set_history_randomly=False,
            verbose=self.verbose,
            rng=self.rng,
            init_temperature=self.init_temperature,
        )
        proposed: dict[int, list[str]] = proposer.propose_instructions_for_program(
            trainset=trainset,
            program=program,
            demo_candidates=demo_candidates,
            N=num_instruct_candidates,
            trial_logs={},
        )
        self.failures = proposer.failures
        for number, predictor in enumerate(program.predictors()):
            proposed[number][0] = predictor.signature.instructions
        return proposed


class ToleratingProposer(GroundedProposer):  # type: ignore[misc]
    """DSPy's proposer, which gives the predictor's own instructions where the model gives none."""

    failures = 0

    def propose_instruction_for_predictor(
        self, program: dspy.Module, predictor: dspy.Predict, *args: Any, **kwargs: Any
    ) -> str:
        """Instructions for a predictor."""
        own: str = predictor.signature.instructions
        try:
            proposed: str | None = super().propose_instruction_for_predictor(
                program, predictor, *args, **kwargs
            )
        except (AdapterParseError, ContextWindowExceededError) as error:
            logger.warning("A proposal failed: %s", str(error).splitlines()[0])
            proposed = None
        if not proposed:
            self.failures += 1
        return proposed or own
