"""Asks the reflector and the curator, whose replies a small model may break.

    >>> Reflector().lesson(task="question: What was sold?", answer="412", expected="USD 412", feedback="")
    Reply(text='Write USD before sums.', problem='', retried=False)

A reply without the form that was asked for is searched for what it holds all the same. One that holds nothing
is asked for once more, with what was wrong. If that does not help either, or the model fails, there is no
text, and the reply says why: a small model's failures end no adaptation. Only a model that cannot be used at
all does, such as one without a valid key.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from tiltyard.optimizers.adapting.hopeless import HOPELESS, unusable
from tiltyard.optimizers.adapting.plain_values import well_formed
from tiltyard.optimizers.adapting.spending import Spent, spending
from tiltyard.optimizers.other_models import settings_of
from tiltyard.optimizers.playbook.operations import Unreadable, read_operations
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer, listed
from tiltyard.redaction import one_line, redact

logger = logging.getLogger(__name__)

NOTHING = "NONE"
"""What a curator writes that wants no change."""

_LONGEST_REPLY = 200
_EMPTY = {"", "none", "n/a", "null", "-"}
_MARKED = r"\[\[\s*##\s*{name}\s*##\s*\]\]\s*(.*?)(?=\[\[\s*##|\Z)"
"""A field of a reply in DSPy's form, whose end may be cut off."""
_QUOTED = r'"{name}"\s*:\s*"((?:[^"\\]|\\.)*)'
"""A field of a reply in JSON, whose end may be cut off."""
_LABELLED = r"^\W*{name}[\s*_`]*:[\s*_`]*(.+)$"
"""A line that begins with the field's name."""


@dataclass(frozen=True)
class Reply:
    """What a role said."""

    text: str
    """The field that was asked for; empty where there is none."""
    problem: str = ""
    """Why there is none, in one line."""
    retried: bool = False
    """Whether the role was asked a second time."""
    spent: Spent = field(default=Spent(), compare=False, repr=False)
    """What asking took, the second time included."""


def salvaged(reply: str, name: str) -> str:
    """A field of a reply that an adapter could not parse; empty where it cannot be told.

    Text without any mark of the field is not taken for it: it may be an apology as well.
    """
    for pattern, flags in (
        (_MARKED, re.DOTALL),
        (_QUOTED, re.DOTALL),
        (_LABELLED, re.MULTILINE | re.IGNORECASE),
    ):
        if found := re.search(pattern.format(name=name), reply, flags):
            text = found[1].replace('\\"', '"').replace("\\n", "\n") if pattern is _QUOTED else found[1]
            if text.strip():
                return text.strip()
    return ""


class Role:
    """One field of one signature, asked of one model.

    Args:
        signature: What is asked.
        output: The field that is wanted.
        lm: The model; None for that of DSPy's settings.
        salvage: Finds the field in a reply that does not parse; empty where it is not there.
        problem_of: What is wrong with a field that was read; empty where nothing is.
    """

    def __init__(
        self,
        signature: type[dspy.Signature],
        output: str,
        *,
        lm: dspy.LM | None,
        salvage: Callable[[str], str],
        problem_of: Callable[[str], str],
    ) -> None:
        self._signature = signature
        self._output = output
        self._lm = lm
        self._salvage = salvage
        self._problem_of = problem_of
        self._predict = dspy.Predict(signature)

    def ask(self, inputs: Mapping[str, str]) -> Reply:
        """Ask, and ask once more where the reply cannot be used.

        Raises:
            JobError: The model cannot be used at all.
        """
        with spending() as spent:
            text, problem, again = self._once(self._predict, inputs)
            retried = again
            if again:
                told = f"{self._signature.instructions}\n\nYour last reply could not be used: {problem}."
                predict = dspy.Predict(self._signature.with_instructions(told))
                text, problem, _ = self._once(predict, inputs)
        if problem:
            logger.debug("%s: %s", self._signature.__name__, problem)
        # Masked here, since what a role says comes into the playbook, and that is written to files.
        said, why = (well_formed(redact(one)) for one in (text, " ".join(problem.split())))
        return Reply(said, why, retried, spent())

    def _once(self, predict: dspy.Predict, inputs: Mapping[str, str]) -> tuple[str, str, bool]:
        """The field, what is wrong with it, and whether asking again may help."""
        try:
            with dspy.context(trace=[], **_settings_of(self._lm)):
                text = str(predict(**inputs)[self._output] or "").strip()
        except AdapterParseError as error:
            text = self._salvage(error.lm_response or "")
            if not text:
                shown = " ".join((error.lm_response or "").split())[:_LONGEST_REPLY]
                return "", f"it has no field {self._output}: {shown}", True
        except HOPELESS as error:
            raise unusable(error, "reflects and curates", "optimizer.reflector") from error
        except Exception as error:  # whatever else the model's engine raises
            return "", f"the model failed: {one_line(error)}", False
        problem = self._problem_of(text)
        return ("" if problem else text), problem, bool(problem)


def _settings_of(lm: dspy.LM | None) -> dict[str, Any]:
    # An adapter is made for one engine: another model answers with its own.
    settings = settings_of(lm)
    adapter = settings.get("adapter", dspy.settings.adapter)
    if adapter is None or type(adapter) is dspy.ChatAdapter:
        # DSPy would ask again in JSON, which small models break more often, and lose the first reply.
        adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)
    return {**settings, "adapter": adapter}


class Reflector:
    """States what is to be learnt from an answer.

    Args:
        lm: The model that reflects; None for that of DSPy's settings.
    """

    def __init__(self, lm: dspy.LM | None = None) -> None:
        self._role = Role(
            ReflectOnAnswer,
            "lesson",
            lm=lm,
            salvage=lambda reply: salvaged(reply, "lesson"),
            problem_of=lambda text: "the lesson is empty" if text.casefold() in _EMPTY else "",
        )

    def lesson(self, *, task: str, answer: str, expected: str, feedback: str) -> Reply:
        """The lesson of one answer.

        Args:
            task: What was asked, a line for each field.
            answer: What was answered.
            expected: What is right; empty where that may not be known.
            feedback: What the metric said; empty where there is none.
        """
        return self._role.ask({"task": task, "answer": answer, "expected": expected, "feedback": feedback})


class Curator:
    """Turns one rule into operations on a playbook.

    Args:
        lm: The model that curates; None for that of DSPy's settings.
    """

    def __init__(self, lm: dspy.LM | None = None) -> None:
        self._role = Role(CuratePlaybook, "operations", lm=lm, salvage=_operations_in, problem_of=_unreadable)

    def operations(self, entries: Mapping[str, str], rule: str) -> Reply:
        """The operations that the rule calls for, as text for :func:`read_operations`; ``NONE`` is one, too.

        Args:
            entries: Contents of the playbook by id.
            rule: What was learnt.
        """
        return self._role.ask({"playbook": listed(entries), "lesson": rule})


def _operations_in(reply: str) -> str:
    """The operations of a reply that has no field for them, or has it cut off."""
    for text in (salvaged(reply, "operations"), reply):
        if text.strip(" .`\n").upper() == NOTHING:
            return NOTHING
        if any(not isinstance(found, Unreadable) for found in read_operations(text)):
            return text
    return ""


def _unreadable(text: str) -> str:
    """What is wrong with operations none of which can be read; one that can be read is enough."""
    found = read_operations(text)
    reasons = [one.reason for one in found if isinstance(one, Unreadable)]
    if reasons and len(reasons) == len(found):
        return f"no line is an operation: {reasons[0]}"
    return ""
