r"""Episodes of applying rules: a house's rules, and answers to write as it wants them, several in a row.

>>> applying(Draw("train/11")).exchanges
(('Write AZ before doses.\n\ndoses: 12.5', '\nAZ 12.5'), ('doses: 340', '\nAZ 340'))

Each of them applies rules time and again, with nothing around them, so what a rule does to an answer is found
out apart from where the answer stands in a context.
"""

from collections.abc import Sequence

from tiltyard.models.embedded.answering import ADVICE, conventions_for
from tiltyard.models.embedded.conventions import House, combined, draw_convention
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Conversation
from tiltyard.models.embedded.questions import KINDS, LABELS, SUBJECTS, Question, ask
from tiltyard.models.embedded.recalling import ASKED_ONCE

TURNS = (2, 3, 4, 5)


def applying(draw: Draw) -> Conversation:
    """Answers in the default way, to write by the rules: nothing has to be found."""
    kinds = draw.sample(tuple(KINDS), draw.one((1, 1, 2, 3)))
    house = _house(draw, kinds)
    questions = [ask(draw, draw.one(kinds)) for _ in range(draw.one(TURNS))]
    asked = [_to_write(one) for one in questions]
    return _conversation(
        "apply", [f"{_rules(draw, house, kinds)}\n\n{asked[0]}", *asked[1:]], questions, house
    )


def asking_by_rules(draw: Draw) -> Conversation:
    """Questions of one kind over one context below rules, and the answers that the rules make of theirs."""
    kind, seed = draw.one(tuple(KINDS)), repr(draw.rng.random())
    house = _house(draw, [kind])
    turns = 1 if kind in ASKED_ONCE else draw.one(TURNS)
    questions = [
        ask(Draw(seed, held_out=draw.held_out, asking=f"{seed}/{turn}"), kind) for turn in range(turns)
    ]
    asked = [one.question for one in questions]
    first = f"{_rules(draw, house, [kind])}\n\n{questions[0].context}\n\n{asked[0]}"
    return _conversation("apply/questions", [first, *asked[1:]], questions, house)


def _house(draw: Draw, kinds: Sequence[str]) -> House:
    return combined([one for kind in kinds for one in conventions_for(draw, kind)], draw)


def _rules(draw: Draw, house: House, kinds: Sequence[str]) -> str:
    """The house's rules, among some about other things and advice."""
    taken = {one.subject for one in house}
    for kind in kinds:
        taken |= {SUBJECTS.get(kind, ""), *LABELS.get(kind, ())}
    every = {*SUBJECTS.values(), *(label for labels in LABELS.values() for label in labels)}
    lines = [one.phrased(draw) for one in house]
    for subject in draw.sample(sorted(every - taken), draw.one((0, 0, 1, 2, 3, 4))):
        lines.append(draw_convention(draw, subject).phrased(draw) if draw.chance(0.8) else draw.item(ADVICE))
    draw.rng.shuffle(lines)
    return "\n".join(lines)


def _to_write(question: Question) -> str:
    about = SUBJECTS.get(question.kind, question.kind)
    if question.reading:
        return f"{about}: {question.reading}, limit {question.limit}"
    if question.options:
        lettered = " ".join(
            f"{letter}. {text}" for letter, text in zip("ABCDEF", question.options, strict=False)
        )
        return f"{about}: {question.answer} of {lettered}"
    return f"{about}: {question.answer}"


def _conversation(
    ability: str, asked: Sequence[str], questions: Sequence[Question], house: House
) -> Conversation:
    replies = (f"\n{one.answer_of(house)}" for one in questions)
    return Conversation(ability, tuple(zip(asked, replies, strict=True)))
