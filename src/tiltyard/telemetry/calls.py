"""Latency of every language-model call, by the signature that asked for it.

>>> latencies = LatencyRecorder()
>>> with dspy.context(callbacks=[SignatureLatency(latencies, known=[AnswerQuestion])]):
...     dspy.ChainOfThought(AnswerQuestion)(question="…")
>>> list(latencies.summary())
['AnswerQuestion']
"""

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from tiltyard.telemetry.latency import LatencyRecorder, cached_phase
from tiltyard.telemetry.usage import Usage, notes_of

OUTSIDE = "lm"
"""The phase of a call that no module made."""

_DERIVED = "StringSignature"
"""The name that DSPy gives to every signature that was built from a string or from another signature."""
_LONGEST_NAME = 80


class SignatureLatency(BaseCallback):  # type: ignore[misc]
    """A DSPy callback that times each LM call and files it under a signature's name.

    A call belongs to the module that made it directly, however modules are nested or run in parallel: DSPy
    names the modules that are active around a call in its settings, which are one thread's or task's own.
    For ``dspy.Predict`` the name is that of :func:`signature_name`; for another module that calls the LM by
    itself it is the module's class; outside any module it is ``lm``.

    The time is that of the whole ``lm(…)`` call, DSPy's retries included. A call that raised counts as
    failed; an answer that came but could not be parsed is a successful call. A call that a response cache
    answered is filed apart, under ``NAME.cached``; DSPy's history tells, so it must not be disabled.

    In DSPy's settings (``dspy.context(callbacks=[…])``) it times every LM. As a callback of one LM
    (``lm.copy(callbacks=[…])``) it times that LM and its copies, at a fraction of the cost.

    Args:
        latencies: Where the times go.
        known: The signatures whose names also stand for the signatures derived from them.
    """

    def __init__(self, latencies: LatencyRecorder, known: Iterable[type[dspy.Signature]] = ()) -> None:
        self._latencies = latencies
        self._known = tuple(known)
        self._running: dict[str, tuple[str, Any, float]] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Start the clock of a call."""
        self._running[call_id] = (self._caller(), instance, time.perf_counter())

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Stop the clock and record the call."""
        end = time.perf_counter()
        name, lm, start = self._running.pop(call_id)
        phase = cached_phase(name) if _from_cache(lm, outputs) else name
        self._latencies.record(phase, 1000 * (end - start), exception is None)

    def _caller(self) -> str:
        modules = dspy.settings.caller_modules
        if not modules:
            return OUTSIDE
        module = modules[-1]
        if isinstance(module, dspy.Predict):
            return signature_name(module.signature, self._known)
        return type(module).__name__


def _from_cache(lm: Any, outputs: Any) -> bool:
    """Whether a response cache made these very outputs of an LM."""
    if outputs is None:  # it raised
        return False
    if notes_of(outputs).get("cached"):
        return True
    # Other threads may use the same LM; what it returned is the very object in its history.
    entries = (entry for entry in reversed(lm.history[:]) if entry["outputs"] is outputs)
    return Usage.of(islice(entries, 1)).from_cache


def signature_name(signature: type[dspy.Signature], known: Iterable[type[dspy.Signature]] = ()) -> str:
    """A readable name that stays the same when an optimizer or a module derives a new signature.

    DSPy drops the class's name as soon as a field is added (``ChainOfThought``) or the instructions change
    (every instruction optimizer). So a nameless signature takes the name of the known signature with the
    most fields among those whose inputs and outputs it still has, and else one made of its own fields:
    ``question_context_to_answer``.
    """
    if signature.__name__ != _DERIVED:
        return str(signature.__name__)
    origins = [origin for origin in known if _extends(signature, origin)]
    if not origins:
        return _name_from_fields(signature)
    origin = max(origins, key=lambda candidate: len(candidate.fields))
    return _name_from_fields(origin) if origin.__name__ == _DERIVED else str(origin.__name__)


def _extends(signature: type[dspy.Signature], origin: type[dspy.Signature]) -> bool:
    inputs = origin.input_fields.keys() <= signature.input_fields.keys()
    return bool(inputs and origin.output_fields.keys() <= signature.output_fields.keys())


def _name_from_fields(signature: type[dspy.Signature]) -> str:
    return "_".join([*signature.input_fields, "to", *signature.output_fields])[:_LONGEST_NAME]
