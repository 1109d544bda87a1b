"""The embedded model: a small transformer that this project trained itself and ships with its package.

    >>> lm = embedded(hardware=Hardware())
    >>> dspy.Predict("context, question -> answer")(context="pump 7.2 bar", question="And the pump?", lm=lm)

Its context window has 2048 tokens. The other modules here train and evaluate it; none of them is needed to
run it.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import dspy
from pydantic import AfterValidator

from tiltyard.config import Content
from tiltyard.errors import InputError
from tiltyard.models.hardware import Hardware
from tiltyard.models.transformers_engine import MaxTokens, Seed, Temperature, TopP, local_lm
from tiltyard.models.weights import SHARED, Weights, read_weights

NAME = "embedded"
"""What rows call the model."""
FOLDER = Path(__file__).resolve().parent / "weights"
"""The shipped weights, their tokenizer and their model card."""
SHIPPED = "shipped"
"""The option's value that stands for :data:`FOLDER`, wherever the package is."""

DOCUMENTS = frozenset({"README.md", "training.json", "evaluation.json"})
"""Files beside the weights that say something about them and change no answer."""
NEEDED = ("model.safetensors", "config.json", "tokenizer.json")
"""Files without which there is no model."""


def weights_folder(weights: str = SHIPPED) -> Path:
    """The folder of the shipped weights, or of those that a training of one's own left.

    Args:
        weights: ``shipped``, or a folder.

    Raises:
        InputError: It holds no trained model.
    """
    folder = FOLDER if weights == SHIPPED else Path(weights).expanduser()
    if lacking := next((name for name in NEEDED if not (folder / name).is_file()), None):
        raise InputError(
            f"the embedded model's weights are not in {folder} (no {lacking})",
            "reinstall tiltyard, or train them: python -m tiltyard.models.embedded train --help"
            if weights == SHIPPED
            else "give the folder 'model' that a training left, or 'shipped'",
        )
    return folder


def weights_digest(weights: str = SHIPPED) -> str:
    """A digest of the weights, the tokenizer and their settings, wherever they are (128 hexadecimal digits).

    Args:
        weights: ``shipped``, or a folder.

    Raises:
        InputError: There are no such weights.
        OSError: A file cannot be read.
    """
    digest = hashlib.blake2b()
    for path in sorted(weights_folder(weights).iterdir()):
        if path.is_file() and path.name not in DOCUMENTS and not path.name.startswith("."):
            digest.update(f"{path.name}\0".encode(errors="surrogateescape"))
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, hashlib.blake2b).digest())
    return digest.hexdigest()


def _existing(weights: str) -> str:
    weights_folder(weights)  # its error says more than one of the type would
    return weights


EmbeddedWeights = Annotated[str, AfterValidator(_existing), Content(weights_digest)]
"""``shipped``, or a folder that a training left. A run's fingerprint holds its digest."""


def embedded(
    *,
    hardware: Hardware,
    weights: EmbeddedWeights = SHIPPED,
    max_tokens: MaxTokens = 160,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    constrained: bool = False,
) -> dspy.LM:
    """The embedded model as a DSPy language model. It needs no network and no download.

    Args:
        hardware: The device, number format and threads; given by ``hardware=``.
        weights: ``shipped``, or the folder ``model`` that a training of one's own left.
        max_tokens: The most tokens of an answer, at least 1.
        temperature: 0 (greedy) to 2. Above 0, tokens are sampled.
        top_p: Sample among the likeliest tokens that together have this probability, in (0, 1].
        seed: Decides sampled answers. A request that is repeated draws anew.
        constrained: Let the model write only what keeps the format that its signature asks for. Needs the
            extra ``constrained``.

    Raises:
        InputError: The device is not there, or the weights are not.
    """
    placement = hardware.resolve()
    folder = weights_folder(weights)

    def load() -> Weights:
        return replace(read_weights(str(folder), placement=placement), name=NAME)

    key = (NAME, weights_digest(weights), placement.device, placement.dtype, placement.compile)
    return local_lm(
        SHARED.get(key, load),
        placement,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        constrained=constrained,
    )
