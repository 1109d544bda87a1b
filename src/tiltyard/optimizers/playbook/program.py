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
from tiltyard.optimizers.playbook.citations import listed_ids, note_cited
from tiltyard.optimizers.playbook.entry import Entry, entry_of
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.selection import Selection, Selector
from tiltyard.programs.playbook import CITATIONS, asking_for_citations, with_playbook

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
        ask_for_citations: Whether each call that shows entries asks which of them the answer follows, in an
            output field of its own before the others. The field is not in the prediction;
            :func:`tiltyard.optimizers.playbook.citations.citing` collects what it says.

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
        ask_for_citations: bool = False,
    ) -> None:
        super().__init__()
        self.program = program
        self.reader = PlaybookReader(
            Playbook() if playbook is None else playbook,
            Selector(selection, k=k, tokens=shown_tokens, similarity=similarity),
            ask_for_citations,
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
        # Sorted, so that the order in which a caller names them changes nothing.
        question = "\n".join(sorted(str(text) for text in texts.values()))
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
        with dspy.context(adapter=PlaybookAdapter(adapter, entries, self.reader.ask_for_citations)):
            yield


class PlaybookReader(Parameter):  # type: ignore[misc]
    """A playbook and what is shown of it, as a parameter of a DSPy program: its state is saved and loaded."""

    def __init__(self, playbook: Playbook, selector: Selector, ask_for_citations: bool = False) -> None:
        self.playbook = playbook
        self.selector = selector
        self.ask_for_citations = ask_for_citations

    def reset(self) -> None:
        """Nothing: what an optimizer forgets at first is demonstrations."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """The playbook and the selection as plain values."""
        return {
            "next": self.playbook.next_number,
            "entries": [asdict(entry) for entry in self.playbook.entries],
            "ask_for_citations": self.ask_for_citations,
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
            # Programs saved by versions that could not ask do not say so.
            self.ask_for_citations = bool(state.get("ask_for_citations", False))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the program's playbook cannot be read ({error})", "compile it again"
            ) from error
        self.selector = selector


def playbook_in(state: Mapping[str, Any]) -> Playbook | None:
    """The playbook in a program's state, the outermost of several; None where there is none.

    Args:
        state: DSPy's state JSON.

    Raises:
        InputError: What stands there is no playbook's state.
    """
    keys = [key for key in state if key.split(".")[-1] == STATE and "entries" in state[key]]
    if not keys:
        return None
    reader = PlaybookReader(Playbook(), Selector("all"))
    reader.load_state(state[min(keys, key=lambda key: key.count("."))])
    return reader.playbook


class PlaybookAdapter(SignatureChangingAdapter):
    """Puts entries into the instructions of what another adapter is asked to send.

    Args:
        reads: The adapter that does the work; None for DSPy's own.
        entries: Contents by id.
        ask_for_citations: Whether to ask which of them an answer follows, where there are any. What is said
            is taken out of the outputs, so that neither metrics nor traces see it, and goes to
            :func:`~tiltyard.optimizers.playbook.citations.note_cited`.
    """

    def __init__(
        self, reads: Any = None, entries: Mapping[str, str] | None = None, ask_for_citations: bool = False
    ) -> None:
        listed = tuple((entries or {}).items())
        self._asks = ask_for_citations and bool(listed)
        super().__init__(
            lambda signature: _with_entries(signature, listed, self._asks),  # type: ignore[arg-type]
            reads,
        )

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask for the signature's outputs, with the entries in its instructions."""
        return self._taken_out(signature, super().__call__(lm, lm_kwargs, signature, demos, inputs))

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """As calling the adapter, asynchronously."""
        return self._taken_out(signature, await super().acall(lm, lm_kwargs, signature, demos, inputs))

    def _taken_out(
        self, signature: type[dspy.Signature], outputs: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if not self._asks or CITATIONS in signature.fields:
            return outputs
        # Of several completions, the first is the prediction.
        for one in outputs[:1]:
            note_cited(listed_ids(one.get(CITATIONS)))
        return [{name: value for name, value in one.items() if name != CITATIONS} for one in outputs]


@lru_cache(maxsize=256)
def _with_entries(
    signature: type[dspy.Signature], entries: tuple[tuple[str, str], ...], asks: bool
) -> type[dspy.Signature]:
    # A new signature is a new class: made once, not for each of the calls that read the same entries.
    told = with_playbook(signature, dict(entries))
    return asking_for_citations(told) if asks else told
