"""Reads what a report shows of runs: rows, curves, configs. Hundreds of runs are read side by side.

>>> evidence = read(select(chosen), source="experiment tiltyard of mlruns")
>>> len(evidence.runs), len(evidence.rows[evidence.runs[0].run_id])
(24, 60)
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tiltyard.errors import InputError
from tiltyard.redaction import redact
from tiltyard.reporting.comparison import latest
from tiltyard.reporting.markdown import shorten
from tiltyard.reporting.numbers import counted

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.reporting.selection import Selected
    from tiltyard.tracking.reader import TrackedRun

T = TypeVar("T")

AT_ONCE = 8
"""Runs that are read at the same time; a server answers several questions while one waits."""
LONGEST_TEXT = {"question": 600, "gold": 400, "pred": 400, "error": 300}
"""Characters that are kept of a row's texts: a report shows no more."""
HISTORY_FILE = "playbook_history.jsonl"
"""The artifact in which a run keeps all that happened to its playbook."""
LEARNING = (
    "epoch.score",
    "optimizer.validation.score",
    "optimizer.train.score",
    "optimizer.prequential_score",
    "optimizer.best_score",
    "optimizer.curve.best_score",
)
"""Curves of scores, by what a run may call them."""
GROWTH = {
    "entries": ("optimizer.playbook.entries", "optimizer.curve.playbook.entries"),
    "tokens": (
        "optimizer.playbook.tokens",
        "optimizer.curve.playbook.tokens",
        "optimizer.sheet.tokens",
        "optimizer.curve.sheet.tokens",
    ),
}
"""Curves of a playbook's size, by what they measure: the first that a run has more than one step of."""
Curve = list[tuple[int, float]]
"""Steps and values."""


@dataclass(frozen=True)
class Question:
    """An example, as far as a report shows it."""

    text: str
    gold: str


@dataclass(frozen=True)
class Evidence:
    """What a report is made of."""

    runs: "list[TrackedRun]"
    """The last run of each fingerprint that has rows, oldest first; at least one."""
    rows: "Mapping[str, pd.DataFrame]"
    """The rows of each, by run id: answers are shortened, question and context are digests."""
    questions: Mapping[str, Question]
    """What was asked, by the digest that stands in a row's ``question``: of all that the example says."""
    curves: Mapping[str, Mapping[str, Curve]]
    """The curves of each run, by run id and metric; those with a single step are left out."""
    growth: Mapping[str, Mapping[str, Curve]]
    """The size of the playbook after each step, by run id and what is measured, where a run kept it."""
    configs: Mapping[str, str]
    """The resolved config of each run, by run id, where it has one."""
    failed: "list[TrackedRun]"
    """Runs that did not finish."""
    remarks: list[str]
    """What a reader must know of the runs, one sentence each."""
    source: str
    """Where the runs are from."""


def read(selected: "Selected", *, source: str) -> Evidence:
    """Read the chosen runs.

    Raises:
        InputError: None of them has rows.
        JobError: The store failed.
    """
    distinct = latest(selected.finished)
    rows, left_out = _rows(distinct)
    if not rows:
        raise InputError("none of these runs has examples", left_out[0])
    runs = [run for run in distinct if run.run_id in rows]
    questions: dict[str, Question] = {}
    for run in runs:
        rows[run.run_id] = _lean(rows[run.run_id], questions)
    growth = dict(zip((run.run_id for run in runs), _side_by_side(_growth_or_reason, runs), strict=True))
    return Evidence(
        runs,
        rows,
        questions,
        curves=dict(zip((run.run_id for run in runs), _side_by_side(_curves, runs), strict=True)),
        growth={run_id: curves for run_id, curves in growth.items() if not isinstance(curves, str)},
        configs={
            run.run_id: redact(text)
            for run, text in zip(runs, _side_by_side(lambda run: run.text("config.yaml"), runs), strict=True)
            if text is not None
        },
        failed=selected.failed,
        remarks=[
            *_repetitions(len(selected.finished), len(distinct)),
            *_unended(len(selected.unended)),
            *left_out,
            *(reason for reason in growth.values() if isinstance(reason, str)),
        ],
        source=source,
    )


def _side_by_side(read_one: "Callable[[TrackedRun], T]", runs: "Iterable[TrackedRun]") -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(read_one, runs))


def _rows(runs: "Sequence[TrackedRun]") -> "tuple[dict[str, pd.DataFrame], list[str]]":
    """The rows of each run by its id; and a remark on each run that has none."""
    found = dict(zip((run.run_id for run in runs), _side_by_side(_rows_or_reason, runs), strict=True))
    rows = {run_id: rows for run_id, rows in found.items() if not isinstance(rows, str)}
    return rows, [f"left out: {reason}" for reason in found.values() if isinstance(reason, str)]


def _rows_or_reason(run: "TrackedRun") -> "pd.DataFrame | str":
    try:
        rows = run.rows()
    except InputError as error:
        return error.what
    return rows if len(rows) else f"run {run.name} ({run.run_id}) has no examples in its rows"


def _lean(rows: "pd.DataFrame", questions: dict[str, Question]) -> "pd.DataFrame":
    """The rows without what repeats from run to run: five hundred runs share their questions."""
    asked = [
        _digest("\n".join(map(str, content)))
        for content in zip(
            *(rows[name] for name in ("sample_id", "question", "context", "gold")), strict=True
        )
    ]
    for digest, text, gold in zip(asked, rows["question"], rows["gold"], strict=True):
        if digest not in questions:
            questions[digest] = Question(
                shorten(text, LONGEST_TEXT["question"]), shorten(gold, LONGEST_TEXT["gold"])
            )
    return rows.drop(columns="gold").assign(
        question=asked,
        context=[_digest(text) if text else "" for text in rows["context"]],
        pred=[shorten(text, LONGEST_TEXT["pred"]) for text in rows["pred"]],
        error=[shorten(text, LONGEST_TEXT["error"]) for text in rows["error"]],
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _curves(run: "TrackedRun") -> dict[str, Curve]:
    names = [*LEARNING, *(name for group in GROWTH.values() for name in group)]
    curves = {name: run.curve(name) for name in names if name in run.metrics}
    return {name: curve for name, curve in curves.items() if len(curve) > 1}


def _growth_or_reason(run: "TrackedRun") -> dict[str, Curve] | str:
    """The playbook's size by step, empty without a history; what is wrong with a damaged one."""
    if not any(name.startswith("optimizer.") for name in run.metrics):
        return {}  # a server need not be asked
    text = run.text(HISTORY_FILE)
    if text is None:
        return {}
    from tiltyard.reporting.playbook_growth import growth

    try:
        return growth(text)
    except InputError as error:
        return f"the growth of the playbook of {run.name} ({run.run_id}) by step is left out: {error.what}"


def _unended(several: int) -> list[str]:
    what = f"{counted(several, 'run')} {'has' if several == 1 else 'have'} not ended"
    return [f"{what}, or the process was killed: what was found so far is left out"] if several else []


def _repetitions(found: int, distinct: int) -> list[str]:
    if found == distinct:
        return []
    return [
        f"{found - distinct} of {found} runs were repeated later with the same fingerprint: the last that "
        "asked the model counts"
    ]
