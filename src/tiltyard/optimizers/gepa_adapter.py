"""Connects a DSPy program to the GEPA library, and answers from a journal what an earlier try has asked.

>>> adapter = JournalledAdapter(journal, 0, student_module=student, metric_fn=metric, feedback_map={})
>>> adapter.evaluate(examples, {"predict": "Answer in one word."}).scores
[1.0, 0.0]
"""

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt.gepa.gepa_utils import DspyAdapter
from gepa.core.adapter import EvaluationBatch
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from tiltyard.optimizers.gepa_journal import Journal
from tiltyard.optimizers.recorder import Metric, shortened

logger = logging.getLogger(__name__)

Texts = dict[str, str]
"""An instruction for each predictor."""
Evaluated = EvaluationBatch[Any, Any]
"""Scores of a batch; with traces, where those are asked for."""


class PlainProposer:
    """Asks for new instructions with the GEPA library's own prompt, without an adapter's layout around it."""

    def __call__(
        self,
        candidate: Texts,
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> Texts:
        """New instructions for each of the components.

        Raises:
            ValueError: The model wrote none.
        """
        return {
            name: self._rewritten(candidate[name], reflective_dataset[name])
            for name in components_to_update
            if name in reflective_dataset
        }

    def _rewritten(self, instructions: str, examples: Sequence[Mapping[str, Any]]) -> str:
        prompt = InstructionProposalSignature.prompt_renderer(
            {"current_instruction_doc": instructions, "dataset_with_feedback": list(examples)}
        )
        answer = dspy.settings.lm(prompt)[0]
        text = answer["text"] if isinstance(answer, dict) else answer
        rewritten: str = InstructionProposalSignature.output_extractor(text or "")["new_instruction"]
        if not rewritten:
            raise ValueError("the model wrote no instructions")
        return rewritten


class _Replayed(list[None]):
    """Stands for the traces of an evaluation that an earlier try made."""

    def __init__(self, batch: list[dspy.Example], length: int) -> None:
        super().__init__([None] * length)
        self.batch = batch


class JournalledAdapter(DspyAdapter):  # type: ignore[misc]
    """DSPy's adapter to GEPA, which asks a journal first.

    Args:
        journal: What an earlier try found out.
        seed: Decides which of several calls of a predictor a reflection reads.
        **options: Those of DSPy's adapter.
    """

    def __init__(self, journal: Journal, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.replayed = 0
        """Evaluated answers that the journal knew."""
        self.proposals = 0
        """Reflections that were asked for."""
        self.failures = 0
        """Reflections that gave no instructions."""
        self.last_failure = ""
        """Why the last of them gave none, in a line."""
        self._journal = journal
        self._seed = seed
        self._reflections = 0

    def evaluate(
        self,
        batch: list[dspy.Example],
        candidate: Texts,
        capture_traces: bool = False,
        num_threads: int | None = None,
    ) -> Evaluated:
        """The candidate's scores on a batch."""
        question = {"evaluate": digest(candidate), "examples": digest(described(batch))}
        if (known := self._journal.answer_to(question)) is not None:
            self.replayed += len(batch)
            return EvaluationBatch(
                outputs=[None] * len(batch),
                scores=known["scores"],
                trajectories=_Replayed(batch, known["traces"]) if capture_traces else None,
            )
        found: Evaluated = super().evaluate(batch, candidate, capture_traces, num_threads)
        scores = [float(score) for score in found.scores]
        self._journal.keep(question, {"scores": scores, "traces": len(found.trajectories or [])})
        return found

    def batch_evaluate(
        self, items: list[tuple[Texts, list[dspy.Example]]], *, capture_traces: bool = True
    ) -> list[Evaluated]:
        """Several candidates, one after another: an evaluation fills all threads, and the order stays."""
        return [self.evaluate(batch, candidate, capture_traces) for candidate, batch in items]

    def make_reflective_dataset(
        self, candidate: Texts, eval_batch: Evaluated, components_to_update: list[str]
    ) -> dict[str, list[dict[str, Any]]]:
        """What a reflection reads."""
        self._reflections += 1
        self.rng = random.Random(f"{self._seed}/{self._reflections}")
        question = {"read": digest(candidate), "components": components_to_update}
        if (known := self._journal.answer_to(question)) is not None:
            try:
                replayed: dict[str, list[dict[str, Any]]] = _answer(known, "examples")
            except ValueError as error:
                self._note_unread(error)
                raise
            return replayed
        if isinstance(eval_batch.trajectories, _Replayed):  # killed between the answers and reading them
            eval_batch = super().evaluate(eval_batch.trajectories.batch, candidate, capture_traces=True)
        try:
            examples: dict[str, list[dict[str, Any]]] = super().make_reflective_dataset(
                candidate, eval_batch, components_to_update
            )
        except Exception as error:
            self._note_unread(error)
            self._journal.keep(question, {"error": str(error)})
            raise
        self._journal.keep(question, {"examples": json.loads(json.dumps(examples, default=str))})
        return examples

    def _note_unread(self, error: Exception) -> None:
        """Count a reflection that found nothing to read: it is over before the model is asked."""
        self.proposals += 1
        self.failures += 1
        self.last_failure = shortened(str(error) or type(error).__name__)

    def propose_new_texts(
        self,
        candidate: Texts,
        reflective_dataset: dict[str, list[dict[str, Any]]],
        components_to_update: list[str],
    ) -> Texts:
        """New instructions."""
        self.proposals += 1
        question = {"rewrite": digest(candidate), "components": components_to_update}
        known = self._journal.answer_to(question)
        try:
            texts: Texts = (
                super().propose_new_texts(candidate, reflective_dataset, components_to_update)
                if known is None
                else _answer(known, "texts")
            )
        except Exception as error:
            self.failures += 1
            self.last_failure = shortened(str(error) or type(error).__name__)
            logger.warning("A reflection gave no instructions: %s", self.last_failure)
            if known is None:
                self._journal.keep(question, {"error": str(error)})
            raise
        if known is None:
            self._journal.keep(question, {"texts": texts})
        return texts


def _answer(known: Mapping[str, Any], key: str) -> Any:
    """What was found out, or the failure that it was."""
    if "error" in known:
        raise ValueError(known["error"])
    return known[key]


def feedback_from(metric: Metric, name: str, predictor: dspy.Predict) -> Any:
    """Asks the metric what a predictor did wrong, as ``dspy.GEPA`` does."""

    def feedback(
        predictor_output: Any,
        predictor_inputs: Any,
        module_inputs: dspy.Example,
        module_outputs: dspy.Prediction,
        captured_trace: Any,
    ) -> Any:
        trace = [(predictor, predictor_inputs, predictor_output)]
        score = metric(module_inputs, module_outputs, captured_trace, name, trace)
        said = getattr(score, "feedback", None) or f"This trajectory got a score of {float(score)}."
        return {"score": float(score), "feedback": said}

    return feedback


def described(examples: Sequence[dspy.Example]) -> list[str]:
    """What tells examples from others."""
    return [repr(sorted(dict(example).items())) for example in examples]


def digest(value: Any) -> str:
    """A hash of a plain value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
