"""Loads a transformers model and its tokenizer, once per process for all who want the same one.

>>> weights = load_weights("Qwen/Qwen2.5-0.5B-Instruct", placement=Hardware().resolve())
>>> weights.model, weights.tokenizer, weights.device
"""

import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tiltyard.errors import InputError, JobError
from tiltyard.models.hardware import Placement
from tiltyard.models.sources import cached_commit, check_hub, local_folder, source_digest
from tiltyard.models.threads import apart
from tiltyard.redaction import redact
from tiltyard.telemetry.inference import InferenceMeter

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")


TRIAL_TEXT = "What is the sum of 1 and 2? a b c"
"""Ordinary text, of which every real tokenizer makes tokens."""


class NoTokenizerError(InputError):
    """A model came without a tokenizer that makes tokens of text."""


@dataclass(eq=False)
class Weights:
    """A model in memory with its tokenizer. Hold :attr:`lock` to use either outside the model's batch."""

    name: str
    """The Hub id or folder that they came from."""
    origin: str
    """``hub``, ``folder`` or ``random``."""
    model: Any
    """A transformers causal language model in evaluation mode."""
    tokenizer: Any
    commit: str | None = None
    """The Hub's commit, where they came from there."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    meter: InferenceMeter = field(default_factory=InferenceMeter)
    """What the model has done."""

    @property
    def provenance(self) -> dict[str, str]:
        """What a run's tags should say about the weights."""
        facts = {"weights": self.origin, "device": self.device.type, "dtype": self.dtype}
        return {**facts, "revision": self.commit} if self.commit else facts

    @property
    def device(self) -> "torch.device":
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> str:
        """The number format of the parameters, such as ``float32``."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def context_window(self) -> int | None:
        """The most tokens that prompt and answer may have together, or None where there is no limit."""
        config = self.model.config.get_text_config(decoder=True)
        declared: int | None = getattr(config, "max_position_embeddings", None)
        return declared

    def compute(self, step: Callable[[], T]) -> T:
        """Run a computation on the model's device.

        When MPS cannot do it, the model moves to the CPU for good, with one warning, and it runs there.
        """
        try:
            return step()
        except (NotImplementedError, RuntimeError) as error:
            if self.device.type != "mps" or "mps" not in str(error).lower():
                raise
            logger.warning("MPS cannot run %s (%s); the model moves to the CPU", self.name, _reason(error))
        self.model.to("cpu")
        return step()


class WeightStore:
    """Hands out the same weights to all who ask for them, and loads only what is not in memory.

    The last weights asked for stay in memory between runs. Others live as long as somebody uses them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Weights | None = None
        self._alive: weakref.WeakValueDictionary[Hashable, Weights] = weakref.WeakValueDictionary()

    def get(self, key: Hashable, load: Callable[[], Weights]) -> Weights:
        """The weights of a key, loaded when they are not in memory."""
        with self._lock:
            weights = self._alive.get(key)
            if weights is None:
                self._release_last()
                weights = _timed(load)
                self._alive[key] = weights
            self._last = weights
            return weights

    def clear(self) -> None:
        """Let go of the last weights."""
        with self._lock:
            self._release_last()

    def _release_last(self) -> None:
        import torch

        self._last = None
        gc.collect()  # models hold reference cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


SHARED = WeightStore()
"""The process's weights."""


def load_weights(
    source: str,
    *,
    placement: Placement,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Weights:
    """The weights of a model, from memory if they are there.

    A local folder comes first, then the Hub's cache, then the Hub. Safetensors files are preferred.

    Args:
        source: A local folder or a Hub id.
        placement: The device and number format.
        revision: A branch, tag or commit of a Hub model; None is its default branch.
        trust_remote_code: Whether to run Python code that comes with the model.

    Raises:
        InputError: There is no such model, it may not be read, or its files are not a whole model. It is a
            :class:`~tiltyard.models.sources.HubError` where the Hub does not hand the model out.
        JobError: It does not fit into the device's memory.
    """
    loaded = (placement.device, placement.dtype, placement.compile)
    return SHARED.get(
        (source, source_digest(source), revision, trust_remote_code, *loaded),
        lambda: read_weights(
            source, placement=placement, revision=revision, trust_remote_code=trust_remote_code
        ),
    )


def read_weights(
    source: str,
    *,
    placement: Placement,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Weights:
    """Read a model from disk or the network; :func:`load_weights` without the memory."""
    read = partial(_read, source, revision=revision, trust_remote_code=trust_remote_code, placement=placement)
    try:
        if local_folder(source) is not None:
            return read(origin="folder", network=False)
        if cached_commit(source, revision) is not None:
            try:
                return read(origin="hub", network=False)
            except (OSError, NoTokenizerError):
                logger.debug("The Hub's cache holds only a part of %s", source)
        check_hub(source, revision)
        return read(origin="hub", network=True)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever a library makes of files that are not a model
        if type(error).__name__ == "OutOfMemoryError":
            raise JobError(
                f"model '{source}' does not fit into the memory of {placement.device}",
                "choose a smaller model, hardware.dtype=bfloat16 or hardware=cpu",
            ) from error
        if isinstance(error, ImportError):  # quantised checkpoints and code of a model's own need theirs
            raise InputError(
                f"model '{source}' needs a package that is not installed ({_reason(error)})",
                "install it, or choose another checkpoint of the model",
            ) from error
        raise InputError(
            f"model '{source}' cannot be loaded ({_reason(error)})",
            "give a Hub id, or a folder with config.json, safetensors weights and a tokenizer",
        ) from error


def _read(
    source: str,
    *,
    origin: str,
    network: bool,
    revision: str | None,
    trust_remote_code: bool,
    placement: Placement,
) -> Weights:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # For checkpoints without safetensors, transformers asks the Hub in a thread of its own to convert them.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    where = local_folder(source) or source
    options = {
        "revision": revision or "main",
        "local_files_only": not network,
        "trust_remote_code": trust_remote_code,
    }
    with _progress_bars(shown=network):
        model, found = AutoModelForCausalLM.from_pretrained(
            where,
            dtype=placement.dtype,
            device_map={"": placement.device},
            output_loading_info=True,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    if missing := sorted(found["missing_keys"]):
        # transformers would fill them with random numbers and go on
        raise InputError(
            f"the checkpoint of model '{source}' lacks {len(missing)} weights, such as {missing[0]}",
            "give the checkpoint of a causal language model",
        )
    if not _makes_tokens(tokenizer):
        raise NoTokenizerError(
            f"model '{source}' has no tokenizer that makes tokens of text",
            "save the tokenizer next to the weights: tokenizer.save_pretrained(FOLDER)",
        )
    if placement.compile:
        compile_forward(model)
    commit = cached_commit(source, revision) if origin == "hub" else None
    return Weights(source, origin, model.eval(), tokenizer, commit)


def compile_forward(model: Any) -> None:
    """Let torch compile a model, when it is first used."""
    import torch

    # Row and token counts change from pass to pass; static shapes would be compiled again each time.
    model.forward = torch.compile(model.forward, dynamic=True)


def _makes_tokens(tokenizer: Any) -> bool:
    """Whether text becomes tokens; where files lack, transformers makes a tokenizer of special tokens."""
    tokens = tokenizer.encode(TRIAL_TEXT, add_special_tokens=False)
    return not set(tokens) <= set(tokenizer.all_special_ids)


def _timed(load: Callable[[], Weights]) -> Weights:
    start = time.perf_counter()
    weights = apart(load)
    logger.info(
        "Loaded weights of %s in %.1f s (%s, %s, %s parameters)",
        weights.name,
        time.perf_counter() - start,
        weights.device.type,
        weights.dtype,
        _in_words(weights.model.num_parameters()),
    )
    return weights


def _in_words(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def _reason(error: BaseException) -> str:
    """An error's first sentence, on one line; a bare one, such as a KeyError, with its type."""
    first, _, _ = " ".join(redact(str(error)).split()).partition(". ")
    shown = first if " " in first else f"{type(error).__name__} {first}"
    return shown[:160].rstrip(". ")


@contextmanager
def _progress_bars(*, shown: bool) -> Iterator[None]:
    """Hide the libraries' progress bars: reading from disk takes seconds, and its bar is noise."""
    from transformers.utils import logging as transformers_logging

    hidden = not shown and transformers_logging.is_progress_bar_enabled()
    if hidden:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if hidden:
            transformers_logging.enable_progress_bar()
