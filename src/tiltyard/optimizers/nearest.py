"""A program that shows the demonstrations which are most like the question, and can be saved with them.

    >>> program = KnnFewShot(metric=task.metric, k=3).compile(student, trainset=train)
    >>> program.save("program.json")
    >>> again = NearestDemonstrations(student)
    >>> again.load("program.json")

``dspy.KNNFewShot`` puts a function in place of ``forward``, which no state holds, and bootstraps anew with
each question: ``k`` further calls. Here the training examples are answered once, and the state keeps what is
shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import dspy
from dspy.predict.parameter import Parameter
from dspy.predict.predict import serialize_object
from dspy.teleprompt.bootstrap_trace import TraceData, bootstrap_trace_data

from tiltyard.errors import InputError
from tiltyard.optimizers.bootstrapping import Positive, Threshold
from tiltyard.optimizers.other_models import settings_of
from tiltyard.optimizers.playbook.similarity import HASHED, Similarity, similarity_named
from tiltyard.optimizers.recorded import RecordedTeleprompter
from tiltyard.optimizers.recorder import Metric, Recorder

STATE = "nearest"
"""The key of the demonstrations in DSPy's state."""


@dataclass(frozen=True)
class Known:
    """A training example that can be shown."""

    inputs: Mapping[str, Any]
    """What was asked."""
    labelled: Mapping[str, Any]
    """The example's fields, which any predictor may show."""
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a predictor, by its name, wrote itself on the way to a right answer; shown instead."""

    @property
    def text(self) -> str:
        """What likeness is measured on."""
        return text_of(self.inputs)

    def shown_to(self, predictor: str) -> dspy.Example:
        """The demonstration for a predictor."""
        if predictor in self.own:
            return dspy.Example(augmented=True, **self.own[predictor])
        return dspy.Example(**self.labelled)


def text_of(inputs: Mapping[str, Any]) -> str:
    """The inputs as one text, in whatever order they are given: a served program gets them in another one."""
    return "\n".join(str(inputs[name]) for name in sorted(inputs))


class KnnFewShot(RecordedTeleprompter):
    """Shows the ``k`` training examples that are nearest to each question (after ``dspy.KNNFewShot``).

    It draws nothing, and looks at no validation.

    Args:
        metric: Says what is right.
        k: How many demonstrations to show.
        bootstrap: Whether to let the program answer the training examples, and to show its own words where it
            was right, reasoning included; else, and where it was wrong, the labels are shown.
        metric_threshold: The score from which an answer is right.
        teacher: The model that answers the training examples; None means the program's.
        similarity: What likeness is measured by: ``hashed``, which needs no model, or the name of a
            sentence-transformers model.
    """

    uses_both_sets = False

    def __init__(
        self,
        metric: Metric,
        k: Positive = 3,
        bootstrap: bool = True,
        metric_threshold: Threshold = 1.0,
        teacher: dspy.LM | None = None,
        similarity: str = HASHED,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.k = k
        self.bootstrap = bootstrap
        self.metric_threshold = metric_threshold
        self.teacher = teacher
        self.similarity = similarity

    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        program = student.reset_copy()
        own = self._own(student.reset_copy(), trainset, recorder) if self.bootstrap else {}
        known = [
            Known(dict(example.inputs()), dict(example), own.get(number, {}))
            for number, example in enumerate(trainset)
        ]
        if self.bootstrap:
            self.report.metrics["optimizer.right_answers"] = float(len(own))
            self.report.notes.append(
                f"{len(own)} of {len(trainset)} training examples were answered rightly; they are shown so."
            )
        return NearestDemonstrations(program, known, k=self.k, similarity=self.similarity)

    def _own(
        self, program: dspy.Module, trainset: list[dspy.Example], recorder: Recorder
    ) -> dict[int, dict[str, dict[str, Any]]]:
        """What the predictors wrote where the answer was right, by the example's number.

        DSPy leaves a ``forward`` of its own on the program, which is not to be used any further.
        """
        metric = recorder.counted(self.metric)
        names = {id(predictor): name for name, predictor in program.named_predictors()}
        with dspy.context(**settings_of(self.teacher)):
            traced = bootstrap_trace_data(
                program, trainset, metric, raise_on_error=False, capture_failed_parses=True, failure_score=0.0
            )
        recorder.evaluations.clear()  # it ran on the train set, and is no candidate
        return {
            one["example_ind"]: _written(one, names)
            for one in traced
            if float(one["score"] or 0) >= self.metric_threshold
        }


def _written(traced: TraceData, names: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """The last call of each predictor, by its name."""
    return {
        names[id(predictor)]: {**inputs, **outputs}
        for predictor, inputs, outputs in traced["trace"]
        if id(predictor) in names
    }


class NearestDemonstrations(dspy.Module):  # type: ignore[misc]
    """A program whose demonstrations are chosen for each question.

    An example that asks the very same is not shown: it would give the answer away where an optimizer measures
    the program on training examples. A call works on a copy of the program, so threads may share this; a
    trace names the program's own predictors all the same, so that other optimizers find theirs in it.

    Args:
        program: The program that answers. Demonstrations that it has, which a later optimizer chose, stand
            before the nearest ones, next to which none is shown twice.
        known: What can be shown.
        k: How many to show.
        similarity: ``hashed``, or the name of a sentence-transformers model.

    Raises:
        InputError: There is no such model, or its extra is not installed.
    """

    def __init__(
        self, program: dspy.Module, known: Sequence[Known] = (), *, k: int = 3, similarity: str = HASHED
    ) -> None:
        super().__init__()
        self.program = program
        self.memory = Memory(known, k, similarity)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Answer with the nearest demonstrations in the prompt."""
        with self._for(inputs) as program:
            return program(**inputs)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """As calling the program, asynchronously."""
        with self._for(inputs) as program:
            return await program.acall(**inputs)

    def shown_for(self, inputs: Mapping[str, Any]) -> list[Known]:
        """What a call with these inputs shows, the nearest last: next to the question."""
        return self.memory.nearest(inputs)

    def named_parameters(self) -> list[tuple[str, Any]]:
        """The program's parameters, after ``program.``, and the demonstrations."""
        inner = self.program
        named = [("", inner)] if isinstance(inner, Parameter) else inner.named_parameters()
        own = [(f"program.{name}".rstrip("."), parameter) for name, parameter in named]
        return [*own, (STATE, self.memory)]

    @contextmanager
    def _for(self, inputs: Mapping[str, Any]) -> Iterator[dspy.Module]:
        """A copy of the program that shows what these inputs call for."""
        shown = self.shown_for(inputs)
        without = [inputs, *(known.inputs for known in shown)]
        program = self.program.deepcopy()
        copies = dict(program.named_predictors())
        for name, predictor in copies.items():
            own = [demo for demo in predictor.demos if not any(_asks(demo, asked) for asked in without)]
            predictor.demos = [*own, *(known.shown_to(name) for known in shown)]
        try:
            yield program
        finally:
            originals = {id(copies[name]): one for name, one in self.program.named_predictors()}
            trace = dspy.settings.trace
            for place, (predictor, *call) in enumerate(trace or ()):
                if id(predictor) in originals:
                    trace[place] = (originals[id(predictor)], *call)


def _asks(demo: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Whether a demonstration asks the same as inputs; one of a step that reads other fields does not."""
    return all(name in demo and demo[name] == value for name, value in inputs.items())


class Memory(Parameter):  # type: ignore[misc]
    """Demonstrations with an index, as a parameter of a DSPy program: its state is saved and loaded."""

    def __init__(self, known: Sequence[Known], k: int, similarity: str) -> None:
        self.known = list(known)
        self.k = k
        self.similarity = similarity
        self._index: Similarity = similarity_named(similarity)
        for number, one in enumerate(self.known):
            self._index.add(str(number), one.text)

    def nearest(self, inputs: Mapping[str, Any]) -> list[Known]:
        """The nearest of those that ask something else, the nearest last."""
        asked = text_of(inputs)
        # The same question may be known several times, so as many more are looked for.
        same = sum(one.text == asked for one in self.known)
        found = [self.known[int(key)] for key, _ in self._index.nearest(asked, self.k + same)]
        return [one for one in found if one.text != asked][: self.k][::-1]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Memory":
        return self  # nothing in it changes but by load_state, which replaces all

    def reset(self) -> None:
        """Nothing: what is shown is the program's whole point."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """What can be shown, as plain values."""
        return {
            "k": self.k,
            "similarity": self.similarity,
            "known": [serialize_object(asdict(one)) for one in self.known],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`dump_state` wrote.

        Raises:
            InputError: It is no such state.
        """
        try:
            known = [Known(one["inputs"], one["labelled"], one["own"]) for one in state["known"]]
            loaded = Memory(known, int(state["k"]), str(state["similarity"]))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the program's demonstrations cannot be read ({error})", "compile it again"
            ) from error
        self.__dict__.update(loaded.__dict__)
