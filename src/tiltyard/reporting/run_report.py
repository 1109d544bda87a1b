"""The report of one run, ``report.md``: figures, what failed and why, and examples to read.

>>> write_run_report(result, rows, latencies.summary(), folder, command="tiltyard task=iot_tiny")
[PosixPath('…/figures/latency.svg'), PosixPath('…/figures/latency.png'), PosixPath('…/report.md')]
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tiltyard.config import HealthLimits
from tiltyard.evaluation.rows import Row
from tiltyard.files import write_text
from tiltyard.optimizers.report import OptimizationReport
from tiltyard.reporting import numbers
from tiltyard.reporting.epochs import epoch_sections
from tiltyard.reporting.figures import latency_figure, save
from tiltyard.reporting.further import further
from tiltyard.reporting.health import health_sections, position_sections
from tiltyard.reporting.markdown import Column, code_block, escape, shorten, table
from tiltyard.reporting.optimization import optimization_sections
from tiltyard.result import ExperimentResult

WRONG_SHOWN = 5
RIGHT_SHOWN = 3
SAMPLES_SHOWN = 5
"""How many of the examples that failed in the same way are named."""
_QUESTION_LIMIT = 200
_ANSWER_LIMIT = 120
_MESSAGE_LIMIT = 300
_LAST = ("energy.", "inference.")
"""Beginnings of the metrics that stand below the others under their own names."""


def write_run_report(
    result: ExperimentResult,
    rows: Sequence[Row],
    latencies: Mapping[str, Mapping[str, float]],
    folder: Path,
    *,
    command: str = "",
    optimization: OptimizationReport | None = None,
    limits: HealthLimits | None = None,
) -> list[Path]:
    """Write ``report.md``, and ``figures/latency.svg`` and ``.png`` where latencies were measured.

    Args:
        result: The run.
        rows: Its rows, one per example.
        latencies: The figures of each phase, as :meth:`tiltyard.telemetry.latency.LatencyRecorder.summary`
            gives them.
        folder: Where the files go.
        command: The command line that runs the same again; left out when empty.
        optimization: How the program was compiled, where that is known.
        limits: The highest rates at which the run passes its health checks; None for any.

    Returns:
        The files written.
    """
    figure = latency_figure(rows)
    written = save(figure, folder / "figures" / "latency") if figure else []
    sections = [
        f"# {escape(result.name)}",
        *_summary(result, rows),
        *health_sections(result.metrics, limits or HealthLimits()),
        *position_sections(result.metrics),
        *epoch_sections(result.epochs, result.split),
        *(optimization_sections(optimization) if optimization else ()),
        *_latency(latencies, has_figure=bool(written)),
        *_failures(rows),
        *_examples("Wrong answers", _wrong(rows), WRONG_SHOWN),
        *_examples("Right answers", [row for row in rows if row.correct], RIGHT_SHOWN),
        *_reproduction(result, command),
    ]
    write_text(folder / "report.md", "\n\n".join(sections) + "\n")
    return [*written, folder / "report.md"]


def _summary(result: ExperimentResult, rows: Sequence[Row]) -> Iterator[str]:
    score = [result.metrics.get(name) for name in ("score", "score.low", "score.high")]
    cost = result.metrics.get("cost.usd")
    memory = result.metrics.get("memory.peak_mb")
    facts = {
        "task": result.labels.task,
        "model": result.model_id or result.labels.model,
        "mode": result.labels.mode,
        "simulation": result.labels.simulation,
        "seed": str(result.seed),
        "evaluated split": result.split,
        "score [95% interval]": numbers.scored(score[0], score[1], score[2]),
        "accuracy (full marks)": numbers.fraction(result.metrics.get("accuracy")),
        **{name: numbers.figure(value) for name, value in further(result.metrics).items()},
        "examples": numbers.count(result.metrics.get("examples")),
        "failed": numbers.count(result.metrics.get("examples.failed")),
        "cut off at the token limit": numbers.count(result.metrics.get("examples.truncated")),
        "not in the format asked for": numbers.count(result.metrics.get("examples.unparsed")),
        "answered by a response cache": numbers.count(sum(row.cached for row in rows)),
        "tokens read": numbers.count(result.metrics.get("tokens.prompt")),
        "tokens written": numbers.count(result.metrics.get("tokens.completion")),
        "prompt tokens shared": numbers.count(result.metrics.get("tokens.cached")),
        "speed of reading": numbers.rate(result.metrics.get("inference.prefill_tokens_per_second"), "tokens"),
        "speed of writing": numbers.rate(result.metrics.get("inference.decode_tokens_per_second"), "tokens"),
        "first token, median": numbers.duration(result.metrics.get("latency.first_token.p50_ms")),
        "cost": numbers.MISSING if cost is None else f"{cost:.4f} USD",
        "speed": numbers.rate(result.metrics.get("examples_per_second"), "examples"),
        "peak memory": numbers.MISSING if memory is None else f"{numbers.count(memory)} MB",
        "took": numbers.duration(1000 * result.seconds),
        "tracked as": result.run_id or numbers.MISSING,
        "fingerprint": result.fingerprint or numbers.MISSING,
    }
    last = {
        name: f"{value:.4g}"
        for name, value in sorted(result.metrics.items())
        if name.startswith(_LAST) and not name.endswith("_per_second")
    }
    yield table((Column("what"), Column("value")), list((facts | last).items()))


def _latency(latencies: Mapping[str, Mapping[str, float]], *, has_figure: bool) -> Iterator[str]:
    if not latencies:
        return
    yield "## Latency"
    headings = ("calls", "succeeded", "mean", "p50", "p95", "p99")
    yield table(
        (Column("phase"), *(Column(heading, right=True) for heading in headings)),
        [
            [
                phase,
                numbers.count(figures.get("count")),
                numbers.MISSING if "success_rate" not in figures else f"{figures['success_rate']:.1%}",
                *(numbers.duration(figures.get(name)) for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")),
            ]
            for phase, figures in latencies.items()
        ],
    )
    if has_figure:
        yield "![The cumulative distribution of latencies per example](figures/latency.svg)"


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    from tiltyard.evaluation.failures import HINTS

    failed: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.error:
            failed[row.error.partition(":")[0]].append(row)
    if not failed:
        return
    hints: Mapping[str, str] = {str(kind): hint for kind, hint in HINTS.items()}
    yield "## Failures"
    yield "Failed examples count 0 in the score. `errors.jsonl` has each of them."
    yield table(
        (
            Column("kind"),
            Column("examples", right=True),
            Column("samples"),
            Column("first"),
            Column("what to do"),
        ),
        [
            [kind, str(len(group)), _samples(group), _message(group[0]), hints.get(kind, numbers.MISSING)]
            for kind, group in sorted(failed.items(), key=lambda item: -len(item[1]))
        ],
    )


def _samples(rows: Sequence[Row]) -> str:
    named = ", ".join(row.sample_id for row in rows[:SAMPLES_SHOWN])
    return f"{named}, …" if len(rows) > SAMPLES_SHOWN else named


def _message(row: Row) -> str:
    return shorten(row.error.partition(":")[2] or row.error, _MESSAGE_LIMIT)


def _wrong(rows: Sequence[Row]) -> list[Row]:
    """Answers without full marks, worst first."""
    return sorted((row for row in rows if not row.correct and not row.error), key=lambda row: row.score)


def _examples(heading: str, rows: Sequence[Row], limit: int) -> Iterator[str]:
    if not rows:
        return
    yield f"## {heading}"
    yield f"{min(limit, len(rows))} of {len(rows)}; `predictions.csv` has all."
    yield table(
        (
            Column("sample"),
            Column("question"),
            Column("expected"),
            Column("answered"),
            Column("score", right=True),
        ),
        [
            [
                row.sample_id,
                shorten(row.question, _QUESTION_LIMIT),
                shorten(row.gold, _ANSWER_LIMIT),
                _answer(row),
                numbers.fraction(row.score),
            ]
            for row in rows[:limit]
        ],
    )


def _answer(row: Row) -> str:
    answer = shorten(row.pred, _ANSWER_LIMIT) or "(empty)"
    return f"{answer} (cut off at the token limit)" if row.finish_reason == "length" else answer


def _reproduction(result: ExperimentResult, command: str) -> Iterator[str]:
    if not command:
        return
    yield "## Run it again"
    yield code_block(command, "sh")
    yield "With the same config, data, weights and package versions, the fingerprint is the same."
