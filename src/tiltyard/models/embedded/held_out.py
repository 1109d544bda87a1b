"""What the embedded model is evaluated on: held-out episodes, cell by cell, with what counts as right.

A case is one question with a house whose conventions shape the answer, with demonstrations that show them and
rules that state them. It is asked alone, with rules about other things, with a playbook, with demonstrations,
and with both. So the cells of a kind differ in nothing but the context, and the answers that are asked for
with a playbook or demonstrations cannot be known without.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiltyard.models.embedded.adapting import curating, proposing, reflecting
from tiltyard.models.embedded.answering import (
    BOTH,
    DEMONSTRATIONS,
    PLAIN,
    PLAYBOOK,
    entries,
)
from tiltyard.models.embedded.cases import CHOOSE, Case, draw_case, other_rules, playbook_of
from tiltyard.models.embedded.conventions import (
    NUMBERS,
    PHRASINGS,
    RESERVED_PAIRS,
)
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, PromptEpisode
from tiltyard.models.embedded.questions import KINDS, LABELS, SUBJECTS

WITHOUT, UNRELATED, REPHRASED = "without", "unrelated", "rephrased"
"""The house's answer asked for without a word about the house; the default one with rules about other things;
rules in phrasings that training never used."""

NUMBER_KINDS = tuple(kind for kind, subject in SUBJECTS.items() if subject in NUMBERS)
KINDS_OF_FORM: dict[str, tuple[str, ...]] = {
    "bracket": ("option",),
    "small": ("option",),
    "text": ("option",),
    "both": ("option",),
    "surname": ("person",),
    "dots": ("date",),
    "slashes": ("date",),
    "limit": ("level",),
    "say": tuple(LABELS),
    "whole": ("amount", "dose", "reading"),
    "tenth": NUMBER_KINDS,
    "commas": ("amount", "reading", "count"),
    "before": NUMBER_KINDS,
    "after": NUMBER_KINDS,
}
"""The kinds whose answers a form can shape."""

Reply = Mapping[str, Any] | None
"""A program's output fields; a prompt's ``reply``; None where there is no answer that can be read."""
Asked = Episode | PromptEpisode


def proportion(correct: int, n: int) -> dict[str, Any]:
    """``n``, ``correct``, ``share`` and its 95% Wilson interval from ``low`` to ``high``.

    Args:
        correct: How many were right.
        n: Of how many; at least 1.
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(method="wilson")
    return {
        "n": n,
        "correct": correct,
        "share": round(correct / n, 4),
        "low": round(float(interval.low), 4),
        "high": round(float(interval.high), 4),
    }


@dataclass
class Tally:
    """What was right, by cell."""

    marks: dict[str, list[bool]] = field(default_factory=dict)
    """For each cell, whether each answer was right."""
    unread: dict[str, int] = field(default_factory=dict)
    """For each cell, how many of its answers could not be read; they count as wrong."""
    unread_answers: int = 0
    """How many answers could not be read, each counted once."""
    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """For each cell of scores, what is right and what was answered, of answers that could be read."""
    requests: int = 0
    """How many episodes were asked."""

    def mark(self, cell: str, reply: Reply, right: bool) -> None:
        """Count one answer."""
        self.marks.setdefault(cell, []).append(right and reply is not None)
        self.unread[cell] = self.unread.get(cell, 0) + (reply is None)


class Judge(Protocol):
    """Counts what the replies to the episodes of a trial are worth."""

    def __call__(self, tally: Tally, *replies: Reply) -> None:
        """Count the replies, one for each episode."""


@dataclass(frozen=True)
class Trial:
    """Episodes that are judged together: nearly always one."""

    episodes: tuple[Asked, ...]
    judge: Judge
    following: Callable[[Sequence[Reply]], Asked | None] = lambda replies: None
    """What is asked next, after the replies so far; None when that is all."""


def trials(examples: int, seed: int = 0) -> Iterator[Trial]:
    """All trials of an evaluation.

    Args:
        examples: Cases of each kind of question, form and combination; two and a half times as many of each
            other ability.
        seed: Decides all of them. Whatever it is, they hold only what training never sees.
    """
    many = -(-5 * examples // 2)
    for place in range(examples):
        for kind in (*KINDS, CHOOSE):
            yield from _answers(_draw(seed, "answers", kind, place), kind)
        for form in PHRASINGS:
            yield from _forms(_draw(seed, "forms", form, place), form)
        for pair in RESERVED_PAIRS:
            yield from _combinations(_draw(seed, "combinations", *sorted(pair), place), frozenset(pair))
        for kind in KINDS:
            yield _reflection(_draw(seed, "reflect", kind, place), kind)
    for place in range(many):
        for change in ("add", "update", "none"):
            yield _curation(_draw(seed, "curate", change, place), change)
        for source in ("gepa", "mipro"):
            yield _proposal(_draw(seed, "propose", source, place), f"propose/{source}")


def _draw(seed: int, *place: object) -> Draw:
    return Draw("/".join(map(str, ("evaluation", seed, *place))), held_out=True)


def _answers(draw: Draw, kind: str) -> Iterator[Trial]:
    case = draw_case(draw, kind)
    cell = f"answers/{kind}/"
    default = case.question.answer
    playbook = playbook_of(draw, case, [one.phrased(draw) for one in case.house])
    unrelated = entries(draw, other_rules(draw, case, others=draw.one((1, 2, 3, 5))))

    def judge(tally: Tally, *replies: Reply) -> None:
        alone, *others = (_text(reply, "answer") for reply in replies)
        tally.mark(cell + PLAIN, replies[0], alone == default)
        tally.mark(cell + WITHOUT, replies[0], alone == case.gold)
        golds = {UNRELATED: default} | dict.fromkeys((PLAYBOOK, DEMONSTRATIONS, BOTH), case.gold)
        for answer, reply, (setting, gold) in zip(others, replies[1:], golds.items(), strict=True):
            tally.mark(cell + setting, reply, answer == gold)

    episodes = (
        case.episode(cell + PLAIN, default=True),
        case.episode(cell + UNRELATED, unrelated, default=True),
        case.episode(cell + PLAYBOOK, playbook),
        case.episode(cell + DEMONSTRATIONS, shown=True),
        case.episode(cell + BOTH, playbook, shown=True),
    )
    yield Trial(episodes, judge)


def _forms(draw: Draw, form: str) -> Iterator[Trial]:
    case = draw_case(draw, draw.one(KINDS_OF_FORM[form]), frozenset({form}))
    cell = f"forms/{form}/"
    canonical = [one.sentence for one in case.house]
    yield _asked(case, cell + PLAYBOOK, case.episode(cell + PLAYBOOK, playbook_of(draw, case, canonical)))
    kept = {one.form: draw.item(range(len(one.phrasings))) for one in case.house}
    rephrased = [one.phrasings[kept[one.form]] for one in case.house]
    yield _asked(case, cell + REPHRASED, case.episode(cell + REPHRASED, playbook_of(draw, case, rephrased)))
    yield _asked(case, cell + DEMONSTRATIONS, case.episode(cell + DEMONSTRATIONS, shown=True))


def _combinations(draw: Draw, pair: frozenset[str]) -> Iterator[Trial]:
    kinds = sorted(set.intersection(*(set(KINDS_OF_FORM[form]) for form in pair)))
    case = draw_case(draw, draw.one(kinds), pair)
    cell = f"combinations/{' + '.join(sorted(pair))}/"
    playbook = playbook_of(draw, case, [one.phrased(draw) for one in case.house])
    yield _asked(case, cell + PLAYBOOK, case.episode(cell + PLAYBOOK, playbook))
    yield _asked(case, cell + DEMONSTRATIONS, case.episode(cell + DEMONSTRATIONS, shown=True))
    yield _asked(case, cell + BOTH, case.episode(cell + BOTH, playbook, shown=True))


def _asked(case: Case, cell: str, episode: Episode) -> Trial:
    def judge(tally: Tally, *replies: Reply) -> None:
        tally.mark(cell, replies[0], _text(replies[0], "answer") == case.gold)

    return Trial((episode,), judge)


def _text(reply: Reply, name: str) -> str:
    return "" if reply is None else str(reply.get(name, "")).strip()


def sentences(text: str) -> set[str]:
    """The sentences of a lesson or an instruction."""
    return {one.strip() for one in re.split(r"(?<=[.!?])\s+|\n", text) if one.strip()}


def _reflection(draw: Draw, kind: str) -> Trial:
    episode = reflecting(draw, kind)
    lesson = str(episode.asked.outputs["lesson"])

    def judge(tally: Tally, *replies: Reply) -> None:
        said = _text(replies[0], "lesson")
        tally.mark(f"reflect/{kind}/exact", replies[0], said == lesson)
        tally.mark(f"reflect/{kind}/some", replies[0], bool(sentences(said) & sentences(lesson)))

    return Trial((episode,), judge)


def _curation(draw: Draw, change: str) -> Trial:
    while True:
        episode = curating(draw, change)
        operations = str(episode.asked.outputs["operations"])
        # A rule that nothing clashes with is added where an update was wanted.
        if operations.split()[0].lower() == change:
            break

    def judge(tally: Tally, *replies: Reply) -> None:
        tally.mark(f"curate/{change}", replies[0], _text(replies[0], "operations") == operations)

    return Trial((episode,), judge)


def _proposal(draw: Draw, ability: str) -> Trial:
    while True:
        episode = proposing(draw)
        gold = _instruction(episode)
        rules = gold.splitlines()[1:]
        if episode.ability == ability and rules:
            break
    name = "reply" if isinstance(episode, PromptEpisode) else "proposed_instruction"

    def judge(tally: Tally, *replies: Reply) -> None:
        said = _text(replies[0], name)
        for rule in rules:
            tally.mark(ability, replies[0], rule in sentences(said))

    return Trial((episode,), judge)


def _instruction(episode: Asked) -> str:
    if isinstance(episode, PromptEpisode):
        return episode.reply.strip("`\n")
    return str(episode.asked.outputs["proposed_instruction"])
