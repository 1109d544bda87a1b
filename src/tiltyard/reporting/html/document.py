"""Writes the report as one HTML file: styles, script and figures are in it, and it asks no network.

>>> html = document(analysis, drawn, command="tiltyard report --sweep latest")

Everything that a model, a data file or a config says is escaped by jinja2. The page's own policy lets nothing
be fetched, and no other script run than the one whose digest it names.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import arm
from tiltyard.reporting.html import compared, of_runs
from tiltyard.reporting.html.leaderboard import leaderboard

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

    from tiltyard.reporting.analysis import Analysis
    from tiltyard.reporting.drawing import Drawn

TITLE = "Tiltyard report"
MOST_TASKS = 8
"""Tasks that the findings in a few sentences tell of."""


def document(analysis: "Analysis", drawn: "Sequence[Drawn]", *, command: str) -> str:
    """The whole page.

    Args:
        analysis: What was found.
        drawn: The figures.
        command: The command line that makes this report.
    """
    script = _part("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _template().render(
        title=TITLE,
        style=_part("report.css"),
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        facts=facts(analysis),
        glance=at_a_glance(analysis),
        remarks=analysis.remarks,
        command=command,
        figures={
            section: [one for one in drawn if one.section == section]
            for section in dict.fromkeys(one.section for one in drawn)
        },
        picture=_picture,
        reference=analysis.comparisons.reference,
        leaderboard=leaderboard(analysis),
        matrix=compared.matrix(analysis),
        comparisons=compared.comparisons(analysis),
        refusals=compared.refusals(analysis),
        seeds=compared.seeds(analysis),
        disagreements=analysis.disagreements,
        failed_runs=of_runs.failed_runs(analysis),
        failed_examples=of_runs.failed_examples(analysis),
        reproduction=of_runs.reproduction(analysis),
        arm=arm,
        fraction=numbers.fraction,
        counted=numbers.counted,
    )
    return page.lstrip()  # the template begins with its macros


def facts(analysis: "Analysis") -> dict[str, str]:
    """Where the runs are from, for the heading."""
    runs = analysis.evidence.runs
    first, last = (pick(run.started for run in runs) for pick in (min, max))
    failed = analysis.failed_runs
    return {
        "runs": numbers.counted(len(runs), "run")
        + (f", and {len(failed)} that did not finish" if failed else ""),
        "from": analysis.evidence.source,
        "started": _period(first, last),
        "sweeps": _tally(run.sweep for run in runs),
        "Tiltyard": _tally(run.tags.get("tiltyard.version", "") for run in runs),
        "git commit": _tally(run.tags.get("tiltyard.git_commit", "")[:12] for run in runs),
        "users": _tally(run.tags.get("mlflow.user", "") for run in runs),
        "reference arm": str(analysis.comparisons.reference or "none"),
    }


def _period(first: datetime, last: datetime) -> str:
    """From when to when, in minutes; a day that both share stands once."""
    begins, ends = (f"{time:%Y-%m-%d %H:%M}" for time in (first, last))
    if first.date() == last.date():
        ends = ends.partition(" ")[2]
    return f"{begins} UTC" if begins.endswith(ends) else f"{begins} to {ends} UTC"


def _tally(values: Any, limit: int = 5) -> str:
    """The values that there are, the most frequent first, each with its count where there are several."""
    counts = Counter(value for value in values if value)
    if len(counts) < 2:
        return next(iter(counts), numbers.MISSING)
    told = [f"{value} ({numbers.counted(count, 'run')})" for value, count in counts.most_common(limit)]
    return ", ".join([*told, *([f"{len(counts) - limit} more"] if len(counts) > limit else [])])


def at_a_glance(analysis: "Analysis") -> list[str]:
    """The findings in a few sentences, without a full stop."""
    sentences = []
    summary = analysis.summary
    tasks = list(summary.groupby("task", sort=False))
    for task, rows in tasks[:MOST_TASKS]:
        best = rows.sort_values("score", ascending=False, kind="stable").iloc[0]
        ties = int((rows["score"] == best["score"]).sum()) - 1
        also = f", as {numbers.counted(ties, 'other arm')}" if ties else ""
        name = arm(tuple(str(best[axis]) for axis in analysis.axes))
        scored = numbers.scored(best["score"], best["low"], best["high"])
        sentences.append(
            f"{task}: the highest score of {len(rows)} arms is {scored} of {name}{also}"
            if len(rows) > 1
            else f"{task}: {name} has {scored}"
        )
    if len(tasks) > MOST_TASKS:
        sentences.append(f"{numbers.counted(len(tasks) - MOST_TASKS, 'more task')} in the leaderboard")
    found = analysis.comparisons.compared
    if found:
        verdicts = Counter(one.verdict for one in found)
        told = ", ".join(
            f"{verdicts[verdict]} {verdict}" for verdict in ("better", "worse", "not told apart")
        )
        sentences.append(
            f"{numbers.counted(len(found), 'comparison')} with "
            f"{analysis.comparisons.reference}: {told} (p<0.05 after Holm's adjustment)"
        )
    if analysis.comparisons.refused:
        sentences.append(f"{numbers.counted(len(analysis.comparisons.refused), 'arm')} could not be compared")
    return sentences


def _picture(figure: "Figure") -> str:
    """The figure as an SVG in an address: its ids and styles stay its own."""
    from tiltyard.reporting.figures import fix_ids

    fix_ids()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@cache
def _part(name: str) -> str:
    return files("tiltyard.reporting.html").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("report.html.jinja"))
