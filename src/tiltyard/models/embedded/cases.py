"""Cases of an evaluation: a held-out question, and a house that wants another answer than the default one.

>>> case = draw_case(Draw("evaluation/0", held_out=True), "amount")
>>> case.question.answer, case.gold
('412', 'USD 412')
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dspy

from tiltyard.models.embedded.answering import ADVICE, conventions_for, entries, follows, shapes
from tiltyard.models.embedded.conventions import House, combined, draw_convention
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, Turn
from tiltyard.models.embedded.questions import DOMAINS, LABELS, SUBJECTS, Question, ask
from tiltyard.programs.playbook import with_playbook
from tiltyard.programs.qa import AnswerQuestion, ChooseOption

CHOOSE = "option, listed apart"
"""Options in a field of their own, the signature of multiple-choice tasks."""


@dataclass(frozen=True)
class Case:
    """A question, and a house that wants another answer than the default one."""

    question: Question
    house: House
    before: tuple[Question, ...]
    """Questions whose answers show what shapes this one's."""
    signature: type[dspy.Signature] = AnswerQuestion

    @property
    def gold(self) -> str:
        """The answer as the house writes it."""
        return self.question.answer_of(self.house)

    @property
    def forms(self) -> frozenset[str]:
        """The forms of the conventions that shape the answer."""
        return frozenset(one.form for one in self.house if shapes(one, self.question, self.house))

    def episode(
        self,
        ability: str,
        playbook: Mapping[str, str] | None = None,
        *,
        shown: bool = False,
        default: bool = False,
    ) -> Episode:
        """The question as a program is asked it.

        Args:
            ability: The cell.
            playbook: Entries by id; None for none.
            shown: Whether the questions before it demonstrate.
            default: Whether the default answer is right, since nothing says what the house wants.
        """
        asked = (*self.before, self.question) if shown else (self.question,)
        house = () if default else self.house
        turns = tuple(Turn(_inputs(self.signature, one), {"answer": one.answer_of(house)}) for one in asked)
        return Episode(ability, with_playbook(self.signature, playbook or {}), turns)


def draw_case(draw: Draw, kind: str, forms: frozenset[str] | None = None) -> Case:
    """A case whose answer differs from the default one and follows from its demonstrations.

    Args:
        draw: The choices.
        kind: A key of ``KINDS``, or :data:`CHOOSE`.
        forms: Those that shape the answer, no other; None for any.
    """
    signature = ChooseOption if kind == CHOOSE else AnswerQuestion
    asked = "option" if kind == CHOOSE else kind
    siblings = next(kinds for kinds in DOMAINS.values() if asked in kinds)
    kinds = [asked] if kind == CHOOSE or draw.chance(0.5) else list(siblings)
    while True:
        own = conventions_for(draw, asked)
        others = [one for other in kinds if other != asked for one in conventions_for(draw, other)]
        house = combined([*own, *others], draw)
        if forms is not None and not forms <= {one.form for one in house}:
            continue
        count = draw.one((1, 2, 3, 4, 6, 8))
        before = tuple(ask(draw, draw.one(kinds)) for _ in range(count))
        case = Case(ask(draw, asked), house, before, signature)
        if case.gold == case.question.answer or (forms is not None and case.forms != forms):
            continue
        if follows(case.question, house, (), before):
            return case


def _inputs(signature: type[dspy.Signature], question: Question) -> dict[str, str]:
    inputs = {"context": question.context, "question": question.question}
    if "options" in signature.input_fields:
        inputs["question"] = question.question.split("?", 1)[0] + "?"
        lettered = zip("ABCDEF", question.options, strict=False)
        inputs["options"] = "\n".join(f"{letter}. {text}" for letter, text in lettered)
    return inputs


def other_rules(draw: Draw, case: Case, *, others: int) -> list[str]:
    """Rules and advice that change no answer of a case.

    Args:
        draw: The choices.
        case: The case.
        others: How many, where there are so many things to have rules about.
    """
    taken = {one.subject for one in case.house}
    for question in (*case.before, case.question):
        taken |= {SUBJECTS.get(question.kind, ""), *LABELS.get(question.kind, ())}
    every = {*SUBJECTS.values(), *(label for labels in LABELS.values() for label in labels)}
    free = sorted(every - taken)
    return [
        draw_convention(draw, subject).phrased(draw) if draw.chance(0.75) else draw.item(ADVICE)
        for subject in draw.sample(free, min(others, len(free)))
    ]


def playbook_of(draw: Draw, case: Case, stated: Sequence[str]) -> dict[str, str]:
    """What is stated, among up to eight rules about other things, in random order."""
    lines = [*stated, *other_rules(draw, case, others=draw.one((0, 1, 2, 3, 5, 8)))]
    draw.rng.shuffle(lines)
    return entries(draw, lines)
