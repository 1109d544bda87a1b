"""A program that answers with a cheatsheet, and carries it in its state.

    >>> program = CheatsheetProgram(dspy.Predict(AnswerQuestion), "- Write USD before sums.")
    >>> program.save("program.json")
    >>> loaded = CheatsheetProgram(dspy.Predict(AnswerQuestion))
    >>> loaded.load("program.json")
    >>> loaded.sheet
    '- Write USD before sums.'

With a pool of answered tasks it has a sheet written for each question first (DC-RS of Suzgun et al. 2025,
arXiv 2504.07952): from its own sheet and from the most similar tasks of the pool.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import dspy
from dspy.predict.parameter import Parameter

from tiltyard.errors import InputError
from tiltyard.models.caching import caching
from tiltyard.optimizers.adapting.answering import asked, inputs_of
from tiltyard.optimizers.cheatsheet.adapter import CheatsheetAdapter
from tiltyard.optimizers.cheatsheet.curator import Curator
from tiltyard.optimizers.cheatsheet.guard import Guard
from tiltyard.optimizers.cheatsheet.pool import Case, Pool
from tiltyard.optimizers.cheatsheet.sheet_cache import SheetCache

logger = logging.getLogger(__name__)

STATE = "cheatsheet"
"""The key of the sheet in DSPy's state."""
RETRIEVED = 3
"""How many similar tasks the curator reads: the paper's number."""


class CheatsheetProgram(dspy.Module):  # type: ignore[misc]
    """Any program, with a cheatsheet in the instructions of each of its calls.

    It stands before the demonstrations and the example; the predictors keep their bare instructions. A sheet
    that was written for a question is kept in memory, so that the same question to the same model has it
    written once; not while caches are switched off.

    Args:
        program: What answers. A copy of it is not made.
        sheet: The sheet; empty for none.
        pool: Answered tasks, from which a sheet is written for each question; None shows ``sheet`` to all.
        retrieved: How many of them the curator reads for a question, at least 1.
        guard: What a sheet for a question has to meet; where it does not, ``sheet`` is shown.
        curator: The model that writes these sheets; None for that of DSPy's settings. It is not saved.
    """

    def __init__(
        self,
        program: dspy.Module,
        sheet: str = "",
        pool: Pool | None = None,
        *,
        retrieved: int = RETRIEVED,
        guard: Guard | None = None,
        curator: dspy.LM | None = None,
    ) -> None:
        super().__init__()
        self.program = program
        self.notes = Notes(sheet, pool, retrieved, guard or Guard())
        self.curator = curator

    @property
    def sheet(self) -> str:
        """The sheet that the program carries; empty for none."""
        return self.notes.sheet

    @property
    def pool(self) -> Pool | None:
        """The answered tasks that it carries; None where it shows one sheet to every question."""
        return self.notes.pool

    def sheet_for(self, inputs: Mapping[str, Any]) -> str:
        """The sheet with which a question is answered.

        Args:
            inputs: The program's inputs by name.

        Raises:
            Exception: The curator's model failed otherwise than by its format or by a prompt too long for it.
        """
        notes = self.notes
        if not notes.pool:
            return notes.sheet
        task = asked(dspy.Example(**inputs).with_inputs(*inputs), inputs_of(self.program))
        lm = self.curator or dspy.settings.lm
        known = notes.written.get(task, lm) if caching() else None
        if known is not None:
            return known
        cases = notes.pool.nearest(task, notes.retrieved)
        ruling = Curator(notes.guard, self.curator).before_answer(notes.sheet, task=task, cases=cases).ruling
        if ruling.verdict in ("refused", "failed"):
            logger.info("no cheatsheet for the question, so the program's own is shown: %s", ruling.reason)
        notes.written.put(task, lm, ruling.sheet)
        return ruling.sheet

    def forward(self, **inputs: Any) -> Any:
        """Answer with the sheet for the inputs."""
        sheet = self.sheet_for(inputs)
        with dspy.context(adapter=CheatsheetAdapter(sheet, dspy.settings.adapter)):
            return self.program(**inputs)

    async def aforward(self, **inputs: Any) -> Any:
        """As calling the program, asynchronously."""
        sheet = await asyncio.to_thread(self.sheet_for, inputs) if self.pool else self.sheet
        with dspy.context(adapter=CheatsheetAdapter(sheet, dspy.settings.adapter)):
            return await self.program.acall(**inputs)

    def named_parameters(self) -> list[tuple[str, Any]]:
        """The program's parameters, after ``program.``, and the sheet.

        Those of a program that is compiled already are among them: its demonstrations are part of this state.
        """
        inner = self.program
        named = [("", inner)] if isinstance(inner, Parameter) else inner.named_parameters()
        own = [(f"program.{name}".rstrip("."), parameter) for name, parameter in named]
        return [*own, (STATE, self.notes)]


class Notes(Parameter):  # type: ignore[misc]
    """A sheet and a pool as a parameter of a DSPy program: its state is saved and loaded."""

    def __init__(self, sheet: str, pool: Pool | None, retrieved: int, guard: Guard) -> None:
        self.sheet = sheet
        self.pool = pool
        self.retrieved = retrieved
        self.guard = guard
        self.written = SheetCache()

    def reset(self) -> None:
        """Nothing: what an optimizer forgets at first is demonstrations."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """The sheet, and for the retrieval variant the pool and what it is read with, as plain values."""
        retrieval = None
        if self.pool is not None:
            retrieval = {
                "retrieved": self.retrieved,
                "guard": asdict(self.guard),
                "pool": [asdict(case) for case in self.pool.cases],
            }
        return {"sheet": self.sheet, "retrieval": retrieval}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump_state` wrote.

        Raises:
            InputError: It is no such state.
        """
        try:
            sheet, retrieval, pool = state["sheet"], state["retrieval"], None
            if not isinstance(sheet, str):
                raise TypeError("the sheet is no text")
            if retrieval is not None:
                pool = Pool(Case(**case) for case in retrieval["pool"])
                self.guard, self.retrieved = Guard(**retrieval["guard"]), int(retrieval["retrieved"])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the program's cheatsheet cannot be read ({error})", "compile it again"
            ) from error
        self.sheet, self.pool, self.written = sheet, pool, SheetCache()
