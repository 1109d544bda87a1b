"""Asks a model to rewrite a cheatsheet, and rules on what it wrote.

    >>> curator = Curator(Guard(budget_tokens=512))
    >>> rewrite = curator.after_answer("", task="question: What was sold?", answer="412", feedback="Wrong.")
    >>> rewrite.ruling.verdict, rewrite.ruling.sheet
    ('kept', '- Write USD before sums.')

A reply that breaks the format is searched for the sheet; one that holds none is asked for once more, with
what was wrong. Where that does not help either, the old sheet stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError

from tiltyard.models.engine import adapter
from tiltyard.optimizers.adapting.plain_values import well_formed
from tiltyard.optimizers.adapting.spending import Spent, spending
from tiltyard.optimizers.cheatsheet.guard import Guard, Ruling
from tiltyard.optimizers.cheatsheet.pool import Case, shown
from tiltyard.optimizers.cheatsheet.reading import read_sheet, salvaged, says_nothing
from tiltyard.optimizers.cheatsheet.signatures import (
    CurateCheatsheet,
    CurateCheatsheetByFeedback,
    SynthesizeCheatsheet,
    within_budget,
)
from tiltyard.redaction import one_line
from tiltyard.telemetry.usage import Usage

_LONGEST_SHOWN = 200


@dataclass(frozen=True)
class Rewrite:
    """One rewrite of a sheet, and what became of it."""

    ruling: Ruling
    proposed: str = ""
    """What the curator wrote; empty where nothing could be read."""
    retried: bool = False
    """Whether it was asked a second time."""
    cut_off: bool = False
    """Whether the model's token limit ended the reply; its last line is left out then."""
    spent: Spent = field(default=Spent(), compare=False)
    """What asking took, the second time included."""


@dataclass(frozen=True)
class _Reply:
    sheet: str | None
    problem: str = ""
    cut_off: bool = False
    again: bool = True
    """Whether asking once more may help."""


class _Asking(dspy.Module):  # type: ignore[misc]
    """One question to the curator, whose ``history`` says how the reply ended."""

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.predict = dspy.Predict(signature)

    def forward(self, **inputs: str) -> dspy.Prediction:
        return self.predict(**inputs)


class Curator:
    """Rewrites sheets, before an answer or after one.

    Args:
        guard: Decides which rewrites are kept.
        lm: The model that curates; None for that of DSPy's settings.
    """

    def __init__(self, guard: Guard, lm: dspy.LM | None = None) -> None:
        self.guard = guard
        self.lm = lm

    def after_answer(self, old: str, *, task: str, answer: str, feedback: str | None) -> Rewrite:
        """Take in what an answer teaches (cumulative variant).

        Args:
            old: The sheet so far.
            task: What was asked.
            answer: What was answered.
            feedback: What the metric says of it; None where no label may be looked at, and the curator has to
                judge for itself.

        Raises:
            Exception: The model failed otherwise than by its format or a prompt that is too long for it.
        """
        inputs = {"previous": old, "task": task, "answer": answer}
        if feedback is None:
            return self._rewrite(CurateCheatsheet, old, inputs)
        return self._rewrite(CurateCheatsheetByFeedback, old, {**inputs, "feedback": feedback})

    def before_answer(self, old: str, *, task: str, cases: list[Case]) -> Rewrite:
        """Write the sheet for a task from similar cases (retrieval variant).

        Args:
            old: The sheet so far.
            task: What will be asked.
            cases: Similar tasks with their answers, the most similar first.

        Raises:
            Exception: As :meth:`after_answer`.
        """
        inputs = {"previous": old, "examples": shown(cases), "task": task}
        return self._rewrite(SynthesizeCheatsheet, old, inputs)

    def _rewrite(self, signature: type[dspy.Signature], old: str, inputs: Mapping[str, str]) -> Rewrite:
        signature = within_budget(signature, self.guard.budget_tokens)
        with spending() as spent:
            reply = self._ask(signature, inputs)
            retried = reply.sheet is None and reply.again
            if retried:
                told = f"{signature.instructions}\n\nYour last reply could not be used: {reply.problem}."
                reply = self._ask(signature.with_instructions(told), inputs)
        if reply.sheet is None:
            ruling = Ruling("failed", old, reply.problem)
        else:
            ruling = self.guard.judge(old, reply.sheet)
        return Rewrite(ruling, reply.sheet or "", retried, reply.cut_off, spent())

    def _ask(self, signature: type[dspy.Signature], inputs: Mapping[str, str]) -> _Reply:
        asking = _Asking(signature)
        try:
            with dspy.context(**self._settings()):
                text = str(asking(**inputs).cheatsheet or "")
        except AdapterParseError as error:
            text = salvaged(error.lm_response or "")
            if not text:
                seen = " ".join((error.lm_response or "").split())[:_LONGEST_SHOWN]
                return _Reply(None, well_formed(f"it has no field cheatsheet: {seen!r}"))
        except ContextWindowExceededError as error:
            return _Reply(None, one_line(error), again=False)
        if says_nothing(text):
            return _Reply(inputs["previous"])
        lines = read_sheet(well_formed(text)).splitlines()
        cut_off = Usage.of(asking.history[-1:]).finish_reason == "length"
        sheet = "\n".join(lines[:-1] if cut_off else lines)
        if not sheet:
            return _Reply(None, "the cheatsheet is empty", cut_off)
        return _Reply(sheet, cut_off=cut_off)

    def _settings(self) -> dict[str, Any]:
        """The model that curates, its adapter, and a history that says how its reply ended."""
        lm = self.lm or dspy.settings.lm
        # An adapter is made for one engine: another model is asked through its own. A reply that does not
        # parse is asked for again here, so there is no second question in JSON.
        wanted = dspy.settings.adapter if self.lm is None else adapter(self.lm)
        return {
            "lm": lm and lm.copy(),
            "adapter": wanted or dspy.ChatAdapter(use_json_adapter_fallback=False),
            "trace": [],
            "disable_history": False,
        }
