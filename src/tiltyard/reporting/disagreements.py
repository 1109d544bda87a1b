"""The examples that tell arms apart: some get them right, others wrong.

>>> found = disagreements(evidence, axes)
>>> found.shown[0].question.text, [answer.score for answer in found.shown[0].answers]
('What is the limit?', [0.0, 1.0])
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from tiltyard.reporting.arms import Line, by_line

if TYPE_CHECKING:
    from tiltyard.reporting.reading import Evidence, Question

LIMIT = 40
"""Examples that a report shows, taken from the tasks in turn."""
ANSWERS = 12
"""Answers that it shows of one example."""


@dataclass(frozen=True)
class Answer:
    """What one arm said."""

    line: Line
    text: str
    score: float
    error: str
    """Why the example failed; empty where it did not."""


@dataclass(frozen=True)
class Disagreement:
    """An example with the answers of all arms that were asked it."""

    task: str
    sample: str
    question: "Question"
    answers: list[Answer]
    left_out: int
    """Further arms, for whose answers there is no room."""
    right: int
    """How many of all arms that were asked it got full marks."""

    @property
    def spread(self) -> float:
        """The best score less the worst."""
        scores = [answer.score for answer in self.answers]
        return max(scores) - min(scores)

    @property
    def asked(self) -> int:
        """How many arms were asked it."""
        return len(self.answers) + self.left_out


@dataclass(frozen=True)
class Disagreements:
    """The examples in which arms disagree."""

    shown: list[Disagreement]
    total: int
    """How many there are."""


def disagreements(evidence: "Evidence", axes: Sequence[str], limit: int = LIMIT) -> Disagreements:
    """Find the examples whose best and worst answer differ in score.

    Those with the greatest difference come first; of these, those that split the arms most evenly.

    An arm that was run with several seeds speaks with its first run that was asked the example.

    Args:
        evidence: The runs with their rows.
        axes: What tells the arms apart.
        limit: The most examples that are shown.
    """
    answers: defaultdict[tuple[str, str], dict[Line, tuple[str, float, str, str]]] = defaultdict(dict)
    for line, runs in by_line(evidence.runs, axes).items():
        for run in runs:
            rows = evidence.rows[run.run_id]
            for asked, sample, pred, score, error in zip(
                *(rows[name] for name in ("question", "sample_id", "pred", "score", "error")), strict=True
            ):
                answers[line[0], asked].setdefault(line, (str(pred), float(score), str(error), str(sample)))
    ranked: defaultdict[str, list[tuple[tuple[float, float], str]]] = defaultdict(list)
    for (task, asked), given in answers.items():
        scores = [score for _, score, _, _ in given.values()]
        if len(scores) > 1 and max(scores) > min(scores):
            share = sum(score >= max(scores) for score in scores) / len(scores)
            ranked[task].append(((min(scores) - max(scores), abs(share - 0.5)), asked))
    for found in ranked.values():
        found.sort()
    in_turn = chain.from_iterable(
        zip_longest(*([(task, asked) for _, asked in found] for task, found in ranked.items()))
    )
    chosen = [key for key in in_turn if key is not None][:limit]
    return Disagreements(
        sorted((_shown(task, asked, answers[task, asked], evidence) for task, asked in chosen), key=_order),
        sum(map(len, ranked.values())),
    )


def _order(one: Disagreement) -> tuple[str, float]:
    return one.task, -one.spread


def _shown(
    task: str, asked: str, given: dict[Line, tuple[str, float, str, str]], evidence: "Evidence"
) -> Disagreement:
    answers = [Answer(line, text, score, error) for line, (text, score, error, _) in given.items()]
    sample = next(iter(given.values()))[3]
    kept = answers if len(answers) <= ANSWERS else _best_and_worst(answers)
    right = sum(answer.score >= 1 for answer in answers)
    return Disagreement(task, sample, evidence.questions[asked], kept, len(answers) - len(kept), right)


def _best_and_worst(answers: list[Answer]) -> list[Answer]:
    """As many of the best as of the worst answers, in the order in which they came."""
    by_score = sorted(range(len(answers)), key=lambda place: answers[place].score)
    kept = {*by_score[: ANSWERS // 2], *by_score[-(ANSWERS - ANSWERS // 2) :]}
    return [answer for place, answer in enumerate(answers) if place in kept]
