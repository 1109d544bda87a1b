"""Writes down how a compilation went: its texts, its candidates, its answers to training examples.

>>> write_optimization(report, folder, attempts=rows)
['playbook.jsonl', 'playbook.md', 'candidates.csv', 'adaptation.csv']
>>> list(optimization_sections(report))[0]
'## Optimization'
"""

import csv
import io
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from tiltyard.errors import InputError
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.files import write_text
from tiltyard.optimizers.playbook.history import History
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.rendering import difference
from tiltyard.optimizers.report import Candidate, OptimizationReport
from tiltyard.reporting import numbers
from tiltyard.reporting.markdown import Column, code_block, escape, shorten, table

logger = logging.getLogger(__name__)

CANDIDATES_FILE = "candidates.csv"
ATTEMPTS_FILE = "adaptation.csv"
PLAYBOOK_FILE = "playbook.jsonl"
HISTORY_FILE = "playbook_history.jsonl"
OWN = "optimizer."
"""How the names of an optimizer's metrics begin."""
CURVE = "optimizer.curve."
"""How those of its curves begin that have the name of a figure of the whole."""
CANDIDATES_SHOWN = 20
"""How many candidates the run's report shows; the table of all is in the file."""
LINES_SHOWN = 40
"""How many lines of a text it shows."""
_DETAIL_LIMIT = 120
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
_LONGEST_NAME = 100


def legal_files(report: OptimizationReport, taken: Iterable[str] = ()) -> dict[str, str]:
    """An optimizer's texts whose names are plain file names, not those of the run's own files.

    The others are left out with a warning in the log: an optimizer is not to write elsewhere.

    Args:
        report: How the compilation went.
        taken: Names of the run's own files, beside those that are written here.
    """
    own = {name.lower() for name in (*taken, CANDIDATES_FILE, ATTEMPTS_FILE)}
    legal = {}
    for name, text in report.files.items():
        if _is_plain(name) and name.lower() not in own:
            legal[name] = text
        else:
            logger.warning("The optimizer's file %r is not kept: it needs a plain name of its own", name)
    return legal


def _is_plain(name: str) -> bool:
    return _FILE_NAME.fullmatch(name) is not None and len(name) <= _LONGEST_NAME


def legal_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """An optimizer's figures by names that are its own; what is no finite number is left out."""
    return {
        name if name.startswith(OWN) else OWN + name: float(value)
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def legal_curves(report: OptimizationReport) -> list[tuple[int, dict[str, float]]]:
    """An optimizer's curves, each step with its figures, by names that are its own.

    A store shows a curve's last value as the metric's value. Hence a curve that has the name of a figure of
    the whole compilation is called ``optimizer.curve.…`` instead of ``optimizer.…``.
    """
    whole = legal_metrics(report.metrics)
    return [
        (
            point.step,
            {
                name.replace(OWN, CURVE, 1) if name in whole else name: value
                for name, value in legal_metrics(point.values).items()
            },
        )
        for point in report.points
    ]


def write_optimization(
    report: OptimizationReport, folder: Path, *, attempts: Sequence[Row], taken: Iterable[str] = ()
) -> list[str]:
    """Write an optimizer's texts, ``candidates.csv`` and ``adaptation.csv``, each where it holds something.

    Args:
        report: How the compilation went.
        folder: The run's folder.
        attempts: The answers to training examples, as rows.
        taken: Names of the run's own files, which the optimizer's texts cannot have.

    Returns:
        The names of the files written.
    """
    texts = legal_files(report, taken)
    for name, text in texts.items():
        write_text(folder / name, text)
    written = list(texts)
    if report.candidates:
        write_text(folder / CANDIDATES_FILE, _as_csv(report.candidates))
        written.append(CANDIDATES_FILE)
    if attempts:
        write_rows(folder / ATTEMPTS_FILE, attempts)
        written.append(ATTEMPTS_FILE)
    return written


def _as_csv(candidates: Sequence[Candidate]) -> str:
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, [field.name for field in fields(Candidate)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(one), "chosen": int(one.chosen)} for one in candidates)
    return lines.getvalue()


def optimization_sections(report: OptimizationReport) -> Iterator[str]:
    """The part of the run's report that is about the optimizer: paragraphs of Markdown, or none."""
    texts = {
        name: text
        for name, text in report.files.items()
        if name.endswith(".md") and _is_plain(name) and text.strip()
    }
    figures = legal_metrics(report.metrics)
    if not (report.notes or report.warnings or report.candidates or texts or figures):
        return
    yield "## Optimization"
    for warning in report.warnings:
        yield f"> **Warning:** {escape(warning)}"
    if report.notes:
        yield "\n".join(f"- {escape(note)}" for note in report.notes)
    if figures:
        rows = [(name.removeprefix(OWN), numbers.figure(value)) for name, value in sorted(figures.items())]
        yield table((Column("what"), Column("value", right=True)), rows)
    yield from _candidates(report.candidates)
    yield from _playbook(report.files)
    for name, text in texts.items():
        yield f"### {escape(name)}"
        yield code_block(_beginning(text))


def _candidates(candidates: Sequence[Candidate]) -> Iterator[str]:
    if not candidates:
        return
    yield "### Candidates"
    shown = _worth_showing(candidates)
    if len(shown) < len(candidates):
        yield f"{len(shown)} of {len(candidates)}, the best; `{CANDIDATES_FILE}` has all."
    yield table(
        (
            Column("candidate"),
            Column("score", right=True),
            Column("examples", right=True),
            Column("metric calls", right=True),
            Column("chosen"),
            Column("what it is"),
        ),
        [
            [
                one.name,
                numbers.fraction(one.score),
                numbers.count(one.examples),
                numbers.count(one.metric_calls),
                "chosen" if one.chosen else "",
                shorten(one.detail, _DETAIL_LIMIT),
            ]
            for one in shown
        ],
    )


def _worth_showing(candidates: Sequence[Candidate]) -> list[Candidate]:
    """All, or those that were chosen and the best of the others, in the order in which they were tried."""
    if len(candidates) <= CANDIDATES_SHOWN:
        return list(candidates)

    def rank(place: int) -> tuple[bool, float]:
        one = candidates[place]
        return one.chosen, -math.inf if one.score is None else one.score

    best = sorted(range(len(candidates)), key=rank, reverse=True)[:CANDIDATES_SHOWN]
    return [candidates[place] for place in sorted(best)]


def _playbook(files: Mapping[str, str]) -> Iterator[str]:
    """The playbook before and after, by its history."""
    if not files.get(PLAYBOOK_FILE) or not files.get(HISTORY_FILE):
        return
    try:
        before = History.loads(files[HISTORY_FILE]).rebuild(step=-1)
        after = Playbook.loads(files[PLAYBOOK_FILE])
    except InputError as error:  # another optimizer's files of these names
        logger.warning("The report does not show the playbook: %s", error)
        return
    yield "### The playbook, before and after"
    yield (
        f"{len(before)} entries of {before.tokens:,} tokens before, {len(after)} of {after.tokens:,} after: "
        "added (+), changed (~), gone (-)."
    )
    yield code_block(_beginning(difference(before, after) or "unchanged"))


def _beginning(text: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) <= LINES_SHOWN:
        return "\n".join(lines)
    return "\n".join([*lines[:LINES_SHOWN], f"… and {len(lines) - LINES_SHOWN} more lines"])
