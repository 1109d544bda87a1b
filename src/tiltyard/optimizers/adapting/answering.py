"""Lets a program answer an example, judges the answer, and words both for the model that learns from them.

>>> answer = answer_example(program, example, metric)
>>> answer.score, answer.feedback
(0.0, "Expected 'USD 412', got '412'.")

An answer never raises because of the program, the model or the metric; it says what failed.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from tiltyard.optimizers.adapting.plain_values import well_formed
from tiltyard.optimizers.adapting.spending import Spent, spending
from tiltyard.redaction import one_line

logger = logging.getLogger(__name__)

Metric = Callable[..., Any]
"""``metric(example, prediction)``: a number, which may carry ``feedback``."""

FORM_BROKEN = "The reply did not have the form that was asked for."
"""What a reflector or a curator is told of a reply that could not be parsed: that is no one's label."""

_LONGEST_VALUE = 2000


@dataclass(frozen=True)
class Answer:
    """What a program made of an example."""

    prediction: dspy.Prediction | None = None
    """None where the program failed."""
    score: float | None = None
    """By the metric; 0 where the program failed; None where nothing was judged."""
    feedback: str = ""
    """What the metric said, or what is wrong with a reply that broke the form."""
    error: str = ""
    """Why the program or the metric failed, in one line."""
    reply: str = ""
    """What the model wrote where that could not be parsed."""
    said: str = ""
    """All that the program's calls wrote, for finding citations."""
    latency_ms: float = 0.0
    """Wall time of the program."""
    spent: Spent = field(default=Spent(), compare=False, repr=False)
    """What the program's calls took."""

    @property
    def judged(self) -> bool:
        """Whether the metric was called."""
        return self.score is not None and self.prediction is not None

    @property
    def can_be_reflected(self) -> bool:
        """Whether there is something to learn from: an answer, or a reply in a broken form."""
        return (self.prediction is not None and not self.error) or bool(self.reply)


def answer_example(program: dspy.Module, example: dspy.Example, metric: Metric | None) -> Answer:
    """Run the program on one example, and score what it predicts.

    Args:
        program: Any module; threads may share it.
        example: Its inputs are what the program gets.
        metric: Judges; None where no label may be looked at.
    """
    trace: list[Any] = []
    prediction, error, reply = None, "", ""
    with spending() as spent, dspy.context(trace=trace):
        try:
            returned = program(**example.inputs())
            if not isinstance(returned, dspy.Prediction):
                raise TypeError(f"the program returned a {type(returned).__name__}, not a dspy.Prediction")
            prediction = returned
        except AdapterParseError as broken:
            error, reply = one_line(broken), broken.lm_response or ""
        except Exception as failed:  # whatever a program or an engine raises is an answer that failed
            error = one_line(failed)
    taken = spent()
    score: float | None = None if metric is None else 0.0
    feedback = FORM_BROKEN if reply else ""
    if metric is not None and prediction is not None:
        try:
            score, feedback = _judged(metric, example, prediction)
        except Exception as failed:
            error = f"the metric failed: {one_line(failed)}"
    if error:
        logger.debug("an answer failed: %s", error)
    return Answer(
        prediction=prediction,
        score=score,
        feedback=feedback,
        error=well_formed(error),
        reply=reply,
        said="\n".join([_text(outputs.toDict()) for _, _, outputs in trace] + [reply]),
        latency_ms=1000 * taken.seconds,
        spent=taken,
    )


def _judged(metric: Metric, example: dspy.Example, prediction: dspy.Prediction) -> tuple[float, str]:
    verdict = metric(example, prediction)
    score = float(verdict)
    if not math.isfinite(score):
        raise ValueError(f"it gave {score}; a score is a number")
    return score, str(getattr(verdict, "feedback", "") or "")


def asked(example: dspy.Example, fields: Sequence[str] = ()) -> str:
    """An example's inputs as a reflector or a curator reads them, a line for each: ``question: …``.

    Args:
        example: The example.
        fields: The order of the inputs; others come after these, as the example has them.
    """
    inputs = example.inputs().toDict()
    ordered = {name: inputs[name] for name in fields if name in inputs} | inputs
    return "\n".join(f"{name}: {_text(value)}" for name, value in ordered.items())


def inputs_of(program: dspy.Module) -> list[str]:
    """The names of what a program's predictors read, in the order in which their signatures have them."""
    names = (name for predictor in program.predictors() for name in predictor.signature.input_fields)
    return list(dict.fromkeys(names))


def answered(answer: Answer) -> str:
    """What was answered: the only field alone, or a line for each."""
    if answer.prediction is None:
        return _short(answer.reply)
    fields = {name: value for name, value in answer.prediction.items() if value is not None}
    return _alone_or_lines(fields)


def expected(example: dspy.Example, answer: Answer) -> str:
    """What is right, for the fields that were answered; empty where the example does not say it.

    A program that failed has answered no field: all labels are given then, but for the example's id.
    """
    labels = {name: value for name, value in example.labels().items() if name != "id"}
    if answer.prediction is not None:
        labels = {name: value for name, value in labels.items() if name in answer.prediction}
    return _alone_or_lines(labels)


def _alone_or_lines(fields: Mapping[str, Any]) -> str:
    if len(fields) == 1:
        return _short(_text(next(iter(fields.values()))))
    return _lines(fields)


def _lines(fields: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {_short(_text(value))}" for name, value in fields.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _short(text: str) -> str:
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE // 2]} … {text[-_LONGEST_VALUE // 2 :]}"
