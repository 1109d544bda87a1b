"""DSPy's COPRO, which lets a model write several instructions and improve on the best, round by round.

    >>> optimizer = Copro(metric=task.metric, breadth=4, depth=2, prompt_model=larger)
    >>> program = optimizer.compile(student, trainset=train, valset=validation)

It draws nothing itself: what varies are the sampled answers of the model. See
https://dspy.ai/api/optimizers/COPRO.
"""

import logging
from typing import Annotated, Any

import dspy
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError
from pydantic import Field

from tiltyard.optimizers.bootstrapping import Positive
from tiltyard.optimizers.other_models import asking_also
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Appearance, Metric, Recorder

logger = logging.getLogger(__name__)


class Copro(RecordedTeleprompter):
    """Coordinate ascent over instructions (``dspy.COPRO``), measured on validation.

    Proposals that break the format are left out. Where a round has none that keeps it, or is too long for the
    model, the search ends with the best instructions so far, and the report says so.

    Args:
        metric: Scores the candidates.
        prompt_model: The model that writes the instructions; None means the program's.
        breadth: Instructions in a round; in the first, the program's own is one of them.
        depth: Rounds.
        init_temperature: How freely the proposals are sampled.
    """

    uses_both_sets = False

    def __init__(
        self,
        metric: Metric,
        prompt_model: dspy.LM | None = None,
        breadth: Annotated[int, Field(ge=2)] = 10,
        depth: Positive = 3,
        init_temperature: Annotated[float, Field(ge=0)] = 1.4,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.prompt_model = prompt_model
        self.breadth = breadth
        self.depth = depth
        self.init_temperature = init_temperature

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        optimizer = dspy.COPRO(
            metric=recorder.counted(self.metric),
            prompt_model=self.prompt_model,
            breadth=self.breadth,
            depth=self.depth,
            init_temperature=self.init_temperature,
        )
        with asking_also(self.prompt_model):
            several = SeveralAnswers(dspy.settings.adapter)
            try:
                with dspy.context(adapter=several):
                    # It learns nothing from the examples that it is given but the scores of its candidates.
                    program = optimizer.compile(student, trainset=valset)
            except (AdapterParseError, ContextWindowExceededError) as error:
                logger.warning("A round gave no instructions: %s", str(error).splitlines()[0])
                broken = isinstance(error, AdapterParseError)
                self.report.notes.append(
                    f"A round {'had no instructions that kept the format' if broken else 'was too long'}: "
                    "the best so far were kept."
                )
                program = _best_so_far(student, recorder)
        self.report.metrics["optimizer.failed_proposals"] = float(several.failures)
        return program


class SeveralAnswers(dspy.Adapter):  # type: ignore[misc]
    """Asks for ``n`` answers one by one, and keeps those that have the right form.

    Args:
        adapter: What asks for each; None is DSPy's default.
    """

    def __init__(self, adapter: dspy.Adapter | None) -> None:
        super().__init__()
        self.failures = 0
        """Answers of several that had a wrong form."""
        self._adapter = adapter or dspy.ChatAdapter()

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask the model.

        Raises:
            AdapterParseError: None of the answers has the right form.
        """
        wanted = lm_kwargs.get("n") or 1
        alone = {key: value for key, value in lm_kwargs.items() if key != "n"}
        answers: list[dict[str, Any]] = []
        for turn in range(wanted):
            try:
                answers += self._adapter(lm, dict(alone), signature, demos, inputs)
            except AdapterParseError:
                if wanted == 1:
                    raise
                self.failures += 1
                if turn == wanted - 1 and not answers:
                    raise
        return answers


def _best_so_far(student: dspy.Module, recorder: Recorder) -> dspy.Module:
    program = student.deepcopy()
    if recorder.evaluations:
        best: Appearance = max(recorder.evaluations, key=lambda one: one.score).appearance
        for predictor, (_, instructions, _) in zip(program.predictors(), best.predictors, strict=True):
            predictor.signature = predictor.signature.with_instructions(instructions)
    return program
