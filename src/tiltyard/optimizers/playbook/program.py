"""Any program, with the entries of a playbook in the instructions of each of its calls.

    >>> program = PlaybookProgram(dspy.ChainOfThought("question -> answer"), playbook)
    >>> program(question="What does the pump cost?").answer
    'USD 412'
    >>> program.save("program.json")
    >>> PlaybookProgram(dspy.ChainOfThought("question -> answer")).load("program.json")

The playbook is part of DSPy's state JSON, so it needs nothing else to be loaded again. The predictors keep
their bare instructions: the entries are put in while a call is made, in the thread that makes it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import dspy
from dspy.predict.parameter import Parameter

from tiltyard.errors import InputError
from tiltyard.optimizers.adapting.adapter import SignatureChangingAdapter
from tiltyard.optimizers.playbook.entry import Entry, entry_of
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.selection import Selection, Selector
from tiltyard.programs.playbook import with_playbook

STATE = "playbook"
"""The key of the playbook in DSPy's state."""
_QUESTION = "question"
"""The input that relevance is judged by, in programs that have it."""


class PlaybookProgram(dspy.Module):  # type: ignore[misc]
    """A program whose calls all read a playbook, in the instructions: before demonstrations and example.

    It works with any DSPy program, under any adapter, in any number of threads, and inside other optimizers:
    predictors, traces and demonstrations are those of the program. DSPy's streaming cannot reach through.

    Args:
        program: The program that answers. A copy of it is not made.
        playbook: What to show; None for an empty one. It is not copied either: a rule that is added to it is
            there at the next call.
        selection: ``all`` entries, or the ``relevant`` ones for each question.
        k: The most entries that a prompt shows; None for no such limit. For ``relevant`` only.
        shown_tokens: The most tokens of entries that a prompt shows; None for no such limit. For
            ``relevant`` only, which needs one of the two.
        similarity: What relevance is measured by: ``hashed``, or the name of a sentence-transformers model.

    Raises:
        InputError: The limits do not go with the selection.
    """

    def __init__(
        self,
        program: dspy.Module,
        playbook: Playbook | None = None,
        *,
        selection: Selection = "all",
        k: int | None = None,
        shown_tokens: int | None = None,
        similarity: str = "hashed",
    ) -> None:
        super().__init__()
        self.program = program
        self.reader = PlaybookReader(
            Playbook() if playbook is None else playbook,
            Selector(selection, k=k, tokens=shown_tokens, similarity=similarity),
        )

    @property
    def playbook(self) -> Playbook:
        """The playbook that it reads."""
        return self.reader.playbook

    @property
    def selection(self) -> Selection:
        """Which entries it shows."""
        return self.reader.selector.how

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Answer with the entries for these inputs in the instructions of every call."""
        with self._reading(inputs):
            return self.program(**inputs)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """As calling the program, asynchronously."""
        with self._reading(inputs):
            return await self.program.acall(**inputs)

    def shown_for(self, inputs: Mapping[str, Any]) -> list[Entry]:
        """The entries that a call with these inputs shows, by their numbers.

        Args:
            inputs: The inputs by name, or an example whose inputs are known.
        """
        if isinstance(inputs, dspy.Example):
            inputs = inputs.inputs()
        texts = inputs if _QUESTION not in inputs else {_QUESTION: inputs[_QUESTION]}
        question = "\n".join(
            sorted(str(texts[name]) for name in texts)
        )  # whatever order a caller names them in
        return self.reader.selector.select(self.playbook, question)

    def named_parameters(self) -> list[tuple[str, Any]]:
        """The program's parameters, after ``program.``, and the playbook.

        Those of a program that is compiled already are among them: its demonstrations are part of this state.
        """
        inner = self.program
        named = [("", inner)] if isinstance(inner, Parameter) else inner.named_parameters()
        own = [(f"program.{name}".rstrip("."), parameter) for name, parameter in named]
        return [*own, (STATE, self.reader)]

    @contextlib.contextmanager
    def _reading(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        entries = {entry.id: entry.content for entry in self.shown_for(inputs)}
        adapter = dspy.settings.adapter or dspy.ChatAdapter()
        # Of two playbooks, one program within the other, the inner one holds.
        adapter = adapter.reads if type(adapter) is PlaybookAdapter else adapter
        with dspy.context(adapter=PlaybookAdapter(adapter, entries)):
            yield


class PlaybookReader(Parameter):  # type: ignore[misc]
    """A playbook and what is shown of it, as a parameter of a DSPy program: its state is saved and loaded."""

    def __init__(self, playbook: Playbook, selector: Selector) -> None:
        self.playbook = playbook
        self.selector = selector

    def reset(self) -> None:
        """Nothing: what an optimizer forgets at first is demonstrations."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """The playbook and the selection as plain values."""
        return {
            "next": self.playbook.next_number,
            "entries": [asdict(entry) for entry in self.playbook.entries],
            **self.selector.settings(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump_state` wrote. The playbook is a new one, whose history starts here.

        Raises:
            InputError: It is no such state.
        """
        try:
            entries = [entry_of(entry) for entry in state["entries"]]
            selector = Selector(
                state["selection"],
                k=state["k"],
                tokens=state["shown_tokens"],
                similarity=state["similarity"],
            )
            self.playbook = Playbook(entries, next_number=state["next"])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the program's playbook cannot be read ({error})", "compile it again"
            ) from error
        self.selector = selector


class PlaybookAdapter(SignatureChangingAdapter):
    """Puts entries into the instructions of what another adapter is asked to send.

    Args:
        reads: The adapter that does the work; None for DSPy's own.
        entries: Contents by id.
    """

    def __init__(self, reads: Any = None, entries: Mapping[str, str] | None = None) -> None:
        listed = tuple((entries or {}).items())
        super().__init__(lambda signature: _with_entries(signature, listed), reads)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _with_entries(
    signature: type[dspy.Signature], entries: tuple[tuple[str, str], ...]
) -> type[dspy.Signature]:
    # A new signature is a new class: made once, not for each of the calls that read the same entries.
    return with_playbook(signature, dict(entries))
