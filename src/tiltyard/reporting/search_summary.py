"""What a search found: its table in the terminal, ``trials.csv``, ``optimization_results.yaml`` and a figure.

>>> print_search(searched, again="tiltyard model=lexical split=test model.trust=0.81")
>>> write_search(searched, again="tiltyard model=lexical split=test model.trust=0.81")
[PosixPath('…/trials.csv'), PosixPath('…/optimization_results.yaml'), …]
"""

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.text import Text

from tiltyard.config import EvaluatedSplit
from tiltyard.files import write_text
from tiltyard.reporting.charts.search import Found, search_figure
from tiltyard.reporting.console import Field, grid, show, table, text
from tiltyard.reporting.figures import save
from tiltyard.reporting.numbers import MISSING, duration, figure, interval
from tiltyard.reporting.terminal import shown_path, typed
from tiltyard.result import ExperimentResult

TRIALS_FILE = "trials.csv"
RESULTS_FILE = "optimization_results.yaml"
"""What Hydra's own plugin for Optuna leaves, under the same name and with the same keys."""
MOST_SHOWN = 40
"""Trials that the terminal shows; of more, the best ones."""
FEWEST_DRAWN = 3
"""Fewer points than that are no figure."""
SCORE = "score"
"""The metric that has an interval."""


@dataclass(frozen=True)
class Trial:
    """One trial of a search."""

    number: int
    state: str
    """``ok``, ``failed`` or ``unfinished``."""
    values: Mapping[str, Any]
    """The values of the searched options."""
    objectives: Mapping[str, float]
    """What is searched for, by metric; empty for a trial that is not ``ok``."""
    overrides: tuple[str, ...]
    best: bool = False
    """Whether it is the best; with several objectives, whether no other trial beats it in one of them without
    losing in another."""
    error: str = ""
    """Why it failed."""
    result: ExperimentResult | None = None
    """What its run found; None where its files are gone."""


@dataclass(frozen=True)
class Searched:
    """A search as far as it has come."""

    name: str
    folder: Path
    keys: tuple[str, ...]
    """The searched options."""
    objectives: Mapping[str, str]
    """``maximize`` or ``minimize``, by metrics."""
    wanted: int
    """How many trials were asked for."""
    trials: tuple[Trial, ...]
    split: EvaluatedSplit = "test"
    """The split that the trials evaluated."""

    @property
    def best(self) -> tuple[Trial, ...]:
        """The best trial; with several objectives, the Pareto front."""
        return tuple(trial for trial in self.trials if trial.best)

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(1 for trial in self.trials if trial.state == state)


def write_search(searched: Searched, *, again: str = "") -> list[Path]:
    """Write the files of a search into its folder, atomically.

    Args:
        searched: The search.
        again: The command line that runs the best trial again, on test, if there is one.

    Returns:
        The files written. A search without a trial that ended well has neither result nor figure.
    """
    write_text(searched.folder / TRIALS_FILE, _csv(searched))
    written = [searched.folder / TRIALS_FILE]
    if searched.best:
        results = yaml.safe_dump(_results(searched) | {"command": again}, sort_keys=False, width=1000)
        write_text(searched.folder / RESULTS_FILE, results)
        written.append(searched.folder / RESULTS_FILE)
        found = [Found(one.number, one.objectives, one.best) for one in searched.trials if one.objectives]
        drawn = search_figure(found, searched.objectives) if len(found) >= FEWEST_DRAWN else None
        if drawn is not None:
            written += save(drawn, searched.folder / "figures" / "search")
    return written


def _results(searched: Searched) -> dict[str, Any]:
    """The best trials as Hydra's own plugin writes them."""
    if len(searched.objectives) == 1:
        [best] = searched.best
        [value] = best.objectives.values()
        return {"name": "optuna", "best_params": _plain(best.values), "best_value": value}
    return {
        "name": "optuna",
        "solutions": [
            {"params": _plain(trial.values), "values": list(trial.objectives.values())}
            for trial in searched.best
        ],
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as YAML has them: a listed one is known as the text of an override."""
    return {key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in values.items()}


def _csv(searched: Searched) -> str:
    columns = ["trial", "state", *searched.keys, *searched.objectives]
    columns += ["score.low", "score.high", "best", "kept_from", "seconds", "run_id", "folder", "error"]
    with io.StringIO(newline="") as buffer:
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        for trial in searched.trials:
            result = trial.result
            metrics = result.metrics if result is not None else {}
            folder = result.folder if result is not None else None
            if folder is not None and folder.is_relative_to(searched.folder):
                folder = folder.relative_to(searched.folder)
            writer.writerow(
                [
                    *(trial.number, trial.state),
                    *(trial.values.get(key, "") for key in searched.keys),
                    *(trial.objectives.get(name, "") for name in searched.objectives),
                    *(metrics.get(f"score.{end}", "") for end in ("low", "high")),
                    *("yes" if trial.best else "", result.kept_from if result else ""),
                    *(result.seconds if result else "", (result.run_id or "") if result else ""),
                    *(folder or "", trial.error),
                ]
            )
        return buffer.getvalue()


def print_search(searched: Searched, *, again: str = "", store: Sequence[str] = ()) -> None:
    """Print the trials of a search, where its files are, and what to type next.

    Args:
        searched: The search.
        again: The command line that runs the best trial again, on test, if there is one.
        store: The options with which ``tiltyard report`` finds the runs; none where the defaults do.
    """
    counts = [f"{len(searched.trials)} of {searched.wanted} trials"]
    counts += ["scores on validation"] if searched.split == "validation" else []
    counts += [f"{number} {state}" for state in ("failed", "unfinished") if (number := searched.count(state))]
    show("", text(f"search {searched.name}: {', '.join(counts)}", "bold"))
    shown = _shown(searched)
    if shown:
        show("", table(_fields(searched, shown)))
    notes = _notes(searched, len(shown))
    if notes:
        show("", *(text(note, "dim") for note in notes))
    failed = [trial for trial in searched.trials if trial.state == "failed"]
    if failed:
        reasons = [(str(trial.number), text(trial.error or "its files are gone", "red")) for trial in failed]
        show("", Text("failed", "bold red"), grid(reasons, indent=2))
    show("", Text("files in ", "bold") + text(shown_path(searched.folder), "cyan"))
    steps = []
    if again:
        which = "the best trial" if len(searched.best) == 1 else "one of the front"
        why = "again" if searched.split == "test" else "on test, which the search has not seen"
        steps.append((again, f"{which} {why}"))
    if any(trial.result is not None and trial.result.run_id for trial in searched.trials):
        report = ["tiltyard", "report", "--sweep", searched.folder.name, *store]
        steps.append((shlex.join(report), "all trials, with figures"))
    if steps:
        show("", Text("next", "bold"), *typed(steps))


def _shown(searched: Searched) -> list[Trial]:
    """The trials that the terminal shows, in their order: of many, the best."""
    if len(searched.trials) <= MOST_SHOWN:
        return list(searched.trials)
    [first, *_] = searched.objectives
    sign = -1 if searched.objectives[first] == "maximize" else 1
    ranked = sorted(
        (trial for trial in searched.trials if trial.objectives),
        key=lambda trial: (not trial.best, sign * trial.objectives[first]),
    )
    return sorted(ranked[:MOST_SHOWN], key=lambda trial: trial.number)


def _fields(searched: Searched, trials: Sequence[Trial]) -> list[Field]:
    fields = [Field("trial", [str(trial.number) for trial in trials], right=True)]
    endings = [key.rpartition(".")[2] for key in searched.keys]
    for key, ending in zip(searched.keys, endings, strict=True):
        heading = ending if endings.count(ending) == 1 else key
        cells = [_value(trial.values.get(key)) for trial in trials]
        fields.append(
            Field(heading, cells, right=not any(isinstance(t.values.get(key), str) for t in trials))
        )
    for name in searched.objectives:
        fields.append(Field(name, [_objective(trial, name) for trial in trials], right=True))
    took = [duration(1000 * trial.result.seconds) if trial.result else MISSING for trial in trials]
    fields.append(Field("took", took, right=True))
    if any(trial.result is not None and trial.result.kept_from for trial in trials):
        fields.append(
            Field("kept from", [trial.result.kept_from if trial.result else "" for trial in trials])
        )
    return fields


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _objective(trial: Trial, name: str) -> Text:
    if trial.state != "ok":
        return Text(trial.state, "red" if trial.state == "failed" else "dim")
    cell = figure(trial.objectives[name])
    if name == SCORE and trial.result is not None:
        limits = interval(trial.result.metrics.get("score.low"), trial.result.metrics.get("score.high"))
        cell = f"{cell} {limits}".rstrip()
    return Text(f"*{cell}", "bold green") if trial.best else Text(cell)


def _notes(searched: Searched, shown: int) -> list[str]:
    notes = []
    if searched.best:
        several = len(searched.objectives) > 1
        notes.append(
            "* Pareto front: no other trial is better in one objective without being worse in another"
            if several
            else "* best trial"
        )
        if SCORE in searched.objectives and searched.count("ok") > 1:
            notes.append(
                f"the best of {searched.count('ok')} scores on the same examples is higher than it would be "
                "on others: "
                + (
                    "report its score on test"
                    if searched.split == "validation"
                    else "search with split=validation, and score the best on test"
                )
            )
    if shown < len(searched.trials):
        notes.append(f"{shown} of {len(searched.trials)} trials; {TRIALS_FILE} has all")
    if searched.count("unfinished") or len(searched.trials) < searched.wanted:
        notes.append("the same command goes on with the rest")
    return notes


def print_space(
    name: str, folder: Path, space: Mapping[str, str], objectives: Mapping[str, str], *, trials: int
) -> None:
    """Print what would be searched.

    Args:
        name: The study.
        folder: The search's folder.
        space: The values of each searched option, in words.
        objectives: ``maximize`` or ``minimize``, by metrics.
        trials: How many trials there would be altogether.
    """
    show(
        text(f"plan: search {name}, {trials} trials", "bold"),
        "",
        grid(list(space.items()), indent=2),
        "",
        grid([[f"{direction} {metric}"] for metric, direction in objectives.items()], indent=2),
        "",
        text(
            f"{shown_path(folder)} {'is there, and is gone on with' if folder.exists() else 'is new'}", "dim"
        ),
        Text("nothing was started; leave out plan=true to run it", "dim"),
    )
