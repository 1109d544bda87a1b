"""Measures what the embedded model can do on held-out episodes, and writes its model card.

    $ python -m tiltyard.models.embedded evaluate --model trained/model --tatqa tatqa_dataset_dev.json

Each episode is asked through a DSPy program and its ordinary chat adapter, without a fallback to another
adapter. An answer that cannot be read is wrong, stays in the denominator, and is counted.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dspy

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError
from tiltyard.files import write_text
from tiltyard.models.embedded import DOCUMENTS, FOLDER, embedded, weights_digest, weights_folder
from tiltyard.models.embedded.card import write_card
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.held_out import Asked, Reply, Tally, Trial, proportion, trials
from tiltyard.models.embedded.held_out_chains import chain_trials
from tiltyard.models.embedded.held_out_judgements import WITHIN, judgement_trials
from tiltyard.models.embedded.machine import hardware_name
from tiltyard.models.embedded.tatqa_score import measure_tatqa
from tiltyard.models.embedded.writable import writable
from tiltyard.models.engine import max_concurrency
from tiltyard.models.hardware import Hardware

logger = logging.getLogger(__name__)

EVALUATION_FILE = "evaluation.json"
EXAMPLES = 40
"""Cases of each kind, form and combination, unless told otherwise."""
MAX_TOKENS = 256
"""Tokens that an answer may have: long instructions take more than the default of ``model=embedded``."""

HARDWARE = Hardware()
"""What it runs on."""

_ADAPTER = dspy.ChatAdapter(use_json_adapter_fallback=False)


def evaluate_model(lm: dspy.LM, asked: Sequence[Trial], advance: Callable[[], None] | None = None) -> Tally:
    """Ask a model what trials ask, many episodes at once, and judge the answers.

    Args:
        lm: The model.
        asked: The trials.
        advance: Called after each trial.

    Returns:
        What was right. It depends on the model alone, not on the order in which answers come.
    """
    tally = Tally()
    threads = requests_at_once(lm)

    def answers(trial: Trial) -> list[Reply]:
        replies = [_answer(lm, episode) for episode in trial.episodes]
        while (episode := trial.following(replies)) is not None:
            replies.append(_answer(lm, episode))
        if advance:
            advance()
        return replies

    with ThreadPoolExecutor(threads, "evaluate") as pool:
        try:
            futures = [pool.submit(answers, trial) for trial in asked]
            for trial, pending in zip(asked, futures, strict=True):
                replies = pending.result()
                tally.requests += len(replies)
                tally.unread_answers += replies.count(None)
                trial.judge(tally, *replies)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return tally


def requests_at_once(lm: dspy.LM) -> int:
    """How many trials an evaluation asks a model at a time, each one question after the other."""
    return max_concurrency(lm) or 8


def _answer(lm: dspy.LM, episode: Asked) -> Reply:
    from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError

    try:
        if isinstance(episode, PromptEpisode):
            return {"reply": _text(lm(episode.prompt)[0])}
        program = dspy.Predict(episode.signature)
        program.demos = episode.demos
        with dspy.context(lm=lm, adapter=_ADAPTER):
            return dict(program(**episode.asked.inputs))
    except (AdapterParseError, ContextWindowExceededError):
        return None


def _text(output: Any) -> str:
    return str(output["text"] if isinstance(output, dict) else output)


def cells(tally: Tally) -> dict[str, dict[str, Any]]:
    """For each cell, its :func:`proportion`, and in ``unread`` how many answers could not be read."""
    return {
        name: {**proportion(sum(marks), len(marks)), "unread": tally.unread[name]}
        for name, marks in sorted(tally.marks.items())
    }


def scores(tally: Tally) -> dict[str, dict[str, float | int | None]]:
    """For each cell: ``n``, ``asked``, ``mean_absolute_error`` and ``rank_correlation`` (Spearman's).

    Both are of the ``n`` answers that could be read, of as many as were ``asked``. The correlation is None
    where all answers are the same.
    """
    from scipy.stats import spearmanr

    found: dict[str, dict[str, float | int | None]] = {}
    for name, pairs in sorted(tally.pairs.items()):
        right, said = zip(*pairs, strict=True)
        varied = len(set(right)) > 1 and len(set(said)) > 1
        found[name] = {
            "n": len(pairs),
            "asked": max(len(pairs), len(tally.marks.get(f"{name}/{WITHIN}", ()))),
            "mean_absolute_error": round(sum(abs(one - other) for one, other in pairs) / len(pairs), 4),
            "rank_correlation": round(float(spearmanr(right, said).statistic), 4) if varied else None,
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate a model folder and write ``evaluation.json`` and the model card.

    Args:
        arguments: The command line after ``evaluate``; None is that of the process.

    Raises:
        InputError: The arguments are wrong, the folder holds no model, the card is of another model, or
            nothing can be written.
    """
    parser = CommandParser(
        prog="python -m tiltyard.models.embedded evaluate",
        description="Measure the model on held-out episodes and write evaluation.json and its model card.",
    )
    parser.add_argument("--model", metavar="DIR", type=Path, default=FOLDER, help="default: the shipped one")
    parser.add_argument(
        "--examples",
        metavar="N",
        type=int,
        default=EXAMPLES,
        help="cases of each kind (default: %(default)s)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="decides the episodes (default: 0)")
    parser.add_argument("--tatqa", metavar="FILE", type=Path, help="a file of TAT-QA to measure as well")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write; default: the model's folder")
    parser.add_argument(
        "--card",
        action="store_true",
        help="only write the card again, from the evaluation.json that is there",
    )
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    if chosen.examples < 1 or chosen.seed < 0:
        parser.error("--examples takes a number from 1, --seed one from 0")
    if chosen.tatqa is not None and not chosen.tatqa.is_file():
        parser.error(f"--tatqa {chosen.tatqa}: no such file")
    model = weights_folder("shipped" if chosen.model == FOLDER else str(chosen.model))
    out = chosen.out or model
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out} is not a folder")
    found = _kept(out) if chosen.card else None
    if chosen.card:
        if found is None:
            parser.error(f"--card: {out} has no {EVALUATION_FILE}")
        if found.get("model") != weights_digest(_option(model)):
            raise InputError(
                f"--card: {out / EVALUATION_FILE} is of other weights than those in {model}",
                "evaluate these weights, without --card",
            )
    # Before the work, which would be lost.
    writable(out, "give another folder as --out")
    if found is None:
        found = _evaluated(model, out, chosen.examples, chosen.seed, chosen.tatqa)
        write_text(out / EVALUATION_FILE, json.dumps(found, indent=1) + "\n")
    card = write_card(model, out, found)
    print(card)  # noqa: T201 - this was asked for
    return 0


def _evaluated(model: Path, out: Path, examples: int, seed: int, tatqa: Path | None) -> dict[str, Any]:
    # First, since it says at once when the file is not what it should be.
    scored = measure_tatqa(tatqa, model) if tatqa is not None else None
    lm = embedded(hardware=HARDWARE, weights=_option(model), max_tokens=MAX_TOKENS)
    many = -(-5 * examples // 2)
    asked = [*trials(examples, seed), *chain_trials(many, seed), *judgement_trials(many, seed)]
    with _progress(len(asked)) as advance, _counting_what_is_cut_off():
        start = time.perf_counter()
        tally = evaluate_model(lm, asked, advance)
        seconds = time.perf_counter() - start
    digest = weights_digest(_option(model))
    kept = _kept(out)
    found: dict[str, Any] = {
        "model": digest,
        "megabytes": round(
            sum(one.stat().st_size for one in model.iterdir() if one.name not in DOCUMENTS) / 1e6, 2
        ),
        "seed": seed,
        "examples": examples,
        "requests": tally.requests,
        "unread": tally.unread_answers,
        "seconds": round(seconds, 1),
        "examples_per_second": round(tally.requests / seconds, 1),
        **_speed_depends_on(lm, model),
        "versions": {name: version(name) for name in ("torch", "transformers", "dspy")},
        "cells": cells(tally),
        "scores": scores(tally),
    }
    if scored is not None:
        found["tatqa"] = scored
    elif kept and kept.get("model") == digest and "tatqa" in kept:
        found["tatqa"] = kept["tatqa"]
    return found


def _speed_depends_on(lm: dspy.LM, model: Path) -> dict[str, Any]:
    """The machine, and how the model was asked there."""
    import torch

    placement = HARDWARE.resolve()
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    own = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return {
        "hardware": hardware_name(placement.device),
        "device": placement.device,
        "dtype": own if placement.dtype == "auto" else placement.dtype,
        "threads": placement.threads or torch.get_num_threads(),
        "requests_at_once": requests_at_once(lm),
    }


def _option(model: Path) -> str:
    return "shipped" if model == FOLDER else str(model)


def _kept(out: Path) -> dict[str, Any] | None:
    """The evaluation that a folder has; None where it has none that can be read."""
    try:
        found: dict[str, Any] = json.loads((out / EVALUATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


@contextmanager
def _counting_what_is_cut_off() -> Iterator[None]:
    """Answers that are cut off are counted; DSPy's warning for each one says nothing more."""
    dspy_log = logging.getLogger("dspy.clients.lm")
    level = dspy_log.level
    dspy_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        dspy_log.setLevel(level)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("evaluate", total=total)
        yield lambda: bar.advance(task)
