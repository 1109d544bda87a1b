"""Whether the official metrics can be trusted: gold answers score 1, and corrupted ones what they deserve.

    $ python benchmarks/metric_sanity.py --data FOLDER

FOLDER holds any of ``tatqa_dev.json``, ``gsm8k_train.jsonl``, ``gsm8k_test.jsonl``,
``pubmedqa_ori_pqal.json``, ``formula_*.jsonl``, ``finer_*.jsonl`` and ``medqa_*.jsonl``. The shipped
``medqa_tiny`` stands in for MedQA where the folder has no file of it. Every example of every split is scored;
no model is asked.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import dspy

from tiltyard.tasks.finer import Finer
from tiltyard.tasks.formula import Formula
from tiltyard.tasks.gsm8k import GSM8K
from tiltyard.tasks.medqa import MedQA
from tiltyard.tasks.pubmedqa import PubMedQA
from tiltyard.tasks.qa import QuestionAnswering
from tiltyard.tasks.task import Judged, Task
from tiltyard.tasks.tatqa import TatQA
from tiltyard.tasks.tatqa_metric import read_number

Fields = Mapping[str, str]
Corruption = Callable[[dspy.Example, dspy.Example], Fields]
"""Makes an answer from an example and the example after it."""


@dataclass(frozen=True)
class Subject:
    """A task with what is done to its gold answers."""

    gold: Callable[[dspy.Example], Fields]
    """The gold answer as a model would write it."""
    corruptions: Mapping[str, Corruption]


def _answer(example: dspy.Example) -> Fields:
    return {"answer": str(example.answer)}


def _with_scale(example: dspy.Example) -> Fields:
    return {"answer": str(example.answer), "scale": str(example.scale)}


def _times(text: str, factor: int) -> str:
    return f"{Decimal(text.replace(',', '')) * factor:f}"


def _steps(answer: str) -> str:
    return answer[: answer.rindex("####")].rstrip()


def _stated(answer: str) -> str:
    return answer[answer.rindex("####") + 4 :].strip()


def _other_scale(example: dspy.Example, _: dspy.Example) -> Fields:
    return {**_with_scale(example), "scale": "million" if example.scale != "million" else "thousand"}


def _tatqa_scaled(example: dspy.Example, _: dspy.Example) -> Fields:
    """The number ten times too large; where there is none, the spans with a word too many."""
    number = read_number(example.spans[0]) if len(example.spans) == 1 else None
    text = f"{example.answer} restated" if number is None else f"{number.value * 1000:f}"
    return {**_with_scale(example), "answer": text}


def _next_letter(example: dspy.Example, _: dspy.Example) -> Fields:
    letters = list(example.choices)
    return {"answer": letters[(letters.index(example.answer) + 1) % len(letters)]}


def _hedged(example: dspy.Example, _: dspy.Example) -> Fields:
    first, second = list(example.choices)[:2]
    return {"answer": f"{first} or {second}"}


_FLIPPED = {"yes": "no", "no": "yes", "maybe": "yes"}

CHOICE = Subject(
    _answer,
    {
        "another example's letter": lambda _, other: _answer(other),
        "the next letter": _next_letter,
        "two letters": _hedged,
    },
)
SUBJECTS: dict[str, Subject] = {
    "tatqa": Subject(
        _with_scale,
        {
            "another example's answer": lambda _, other: _with_scale(other),
            "another scale": _other_scale,
            "number x 1000, or a word too many": _tatqa_scaled,
        },
    ),
    "gsm8k": Subject(
        _answer,
        {
            "another example's answer": lambda _, other: _answer(other),
            "number x 10": lambda example, _: {
                "answer": f"{_steps(example.answer)}\n#### {_times(_stated(example.answer), 10)}"
            },
            "cut off before ####": lambda example, _: {"answer": _steps(example.answer)},
        },
    ),
    "pubmedqa": Subject(
        _answer,
        {
            "another example's answer": lambda _, other: _answer(other),
            "label flipped": lambda example, _: {"answer": _FLIPPED[example.answer]},
            "two labels": lambda example, _: {"answer": f"{example.answer}, or {_FLIPPED[example.answer]}"},
        },
    ),
    "formula": Subject(
        _answer,
        {
            "another example's answer": lambda _, other: _answer(other),
            "number x 10": lambda example, _: {"answer": _times(example.answer, 10)},
            "with a percent sign": lambda example, _: {"answer": f"{example.answer}%"},
        },
    ),
    "finer": Subject(
        _answer,
        {
            "another example's tags": lambda _, other: _answer(other),
            "order rotated by one": lambda example, _: {
                "answer": ",".join([*example.answer.split(",")[1:], example.answer.split(",")[0]])
            },
            "cut off half-way": lambda example, _: {
                "answer": ",".join(example.answer.split(",")[: len(example.answer.split(",")) // 2])
            },
        },
    ),
    "medqa": CHOICE,
}
"""Every official task with three systematic corruptions."""


@dataclass(frozen=True)
class Line:
    """The metrics of one way to answer, over all examples."""

    case: str
    examples: int
    metrics: Mapping[str, float]
    """``score``, the further metrics and those of the whole run."""


def measure(task: Task, name: str, examples: Sequence[dspy.Example]) -> Iterator[Line]:
    """Score the gold answers, then each corruption of them.

    Args:
        task: The task.
        name: Its name in :data:`SUBJECTS`.
        examples: At least two of its examples.
    """
    subject = SUBJECTS[name]
    after = [*examples[1:], examples[0]]
    yield _line("gold", task, examples, [subject.gold(example) for example in examples])
    for case, corrupt in subject.corruptions.items():
        answers = [corrupt(example, other) for example, other in zip(examples, after, strict=True)]
        yield _line(case, task, examples, answers)


def _line(case: str, task: Task, examples: Sequence[dspy.Example], answers: Sequence[Fields]) -> Line:
    columns: dict[str, list[float]] = {}
    judged = []
    extra: Any = getattr(task, "extra_metrics", lambda *_: {})
    for example, fields in zip(examples, answers, strict=True):
        prediction = dspy.Prediction(**fields)
        score = float(task.metric(example, prediction))
        judged.append(Judged(example, task.answer(prediction), score))
        for metric, value in {"score": score, **extra(example, prediction)}.items():
            columns.setdefault(metric, []).append(value)
    summary: Any = getattr(task, "summary", lambda _: {})
    means = {metric: sum(values) / len(values) for metric, values in columns.items()}
    whole = {
        metric: value
        for metric, value in summary(judged).items()
        if not metric.startswith(("accuracy.gold_", "predicted_"))
    }
    return Line(case, len(examples), {**means, **whole})


def tasks_in(folder: Path) -> Iterator[tuple[str, str, Task]]:
    """The official tasks whose files a folder has: the task's name, what was read, and the task."""
    predict = dspy.Predict
    if (path := folder / "tatqa_dev.json").is_file():
        yield "tatqa", path.name, TatQA(path=str(path), program=predict)
    if (folder / "gsm8k_test.jsonl").is_file():
        yield "gsm8k", "gsm8k_*.jsonl", GSM8K(path=str(folder), program=predict)
    if (path := folder / "pubmedqa_ori_pqal.json").is_file():
        yield "pubmedqa", path.name, PubMedQA(path=str(path), program=predict)
    if list(folder.glob("formula_test*")):
        yield "formula", "formula_*.jsonl", Formula(path=str(folder), program=predict)
    for path in sorted(folder.glob("finer_*.jsonl")):
        yield "finer", path.name, Finer(path=str(path), program=predict)
    if list(folder.glob("medqa_test*")):
        yield "medqa", "medqa_*", MedQA(path=str(folder), program=predict)
    else:
        shipped = "pkg://tiltyard.tasks.data/medqa_tiny.jsonl"
        yield "medqa", "medqa_tiny", QuestionAnswering(path=shipped, domain="medical", program=predict)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def main() -> int:
    """Print a table for each task; 1 where a gold answer does not score 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the files are")
    folder: Path = parser.parse_args().data
    broken = 0
    for name, source, task in tasks_in(folder):
        splits = task.splits(seed=0, limit=None)
        lines = list(measure(task, name, [*splits.train, *splits.validation, *splits.test]))
        metrics = list(lines[0].metrics)
        print(f"\n{name}: {source}, {lines[0].examples} examples; score: {getattr(task, 'primary', '')}\n")
        print(f"| answers | {' | '.join(metrics)} |")
        print(f"| :-- | {' | '.join('--:' for _ in metrics)} |")
        for line in lines:
            print(f"| {line.case} | {' | '.join(_shown(line.metrics.get(metric)) for metric in metrics)} |")
        broken += lines[0].metrics["score"] != 1.0
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
