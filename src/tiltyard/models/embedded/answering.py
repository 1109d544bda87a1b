"""Episodes of answering: in the default way, by a playbook, by demonstrations, or by both.

>>> answering(Draw("train/7")).ability
'reading/playbook'

The conventions of a house stand in a playbook, or only in demonstrations, or there are none. An answer is
learnt where it follows from what stands before it: where each convention that shapes it was stated or shown.
"""

from collections.abc import Iterator, Sequence

import dspy

from tiltyard.models.embedded.conventions import (
    NUMBERS,
    Convention,
    House,
    combined,
    draw_convention,
    limit_of,
)
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, Turn
from tiltyard.models.embedded.questions import DOMAINS, KINDS, LABELS, SUBJECTS, Question, ask
from tiltyard.programs.playbook import with_playbook
from tiltyard.programs.qa import AnswerQuestion, ChooseOption

PLAIN, PLAYBOOK, DEMONSTRATIONS, BOTH = "plain", "playbook", "demonstrations", "both"
SETTINGS = (PLAIN, PLAYBOOK, DEMONSTRATIONS, BOTH)
"""What an answer can follow."""

INSTRUCTIONS = (
    "",
    "Answer the question from the context.",
    "Read the context and answer the question with a short answer.",
    "You are a careful clerk. Answer in the form that the house wants.",
    "Give the short answer to the question.",
    "Find the answer in the context and write nothing else.",
)
"""Instructions in the place of the signature's own, which the empty one stands for."""
ADVICE = (
    "Read the question twice.",
    "Check the row and the column.",
    "Keep answers short.",
    "Do not guess.",
    "Look for the name that is asked for.",
    "Work with care.",
    "Use the context alone.",
    "Never add an explanation.",
    "Make sure that the year is the right one.",
    "Compare with the limit.",
)
"""Entries of playbooks that change no answer."""


def answering(
    draw: Draw, setting: str | None = None, kind: str | None = None, before: int | None = None
) -> Episode:
    """An episode of answering.

    Args:
        draw: The choices.
        setting: One of :data:`SETTINGS`; None for any.
        kind: The kind of the question that is asked; None for any.
        before: Questions that are asked and answered before it; None for any number.
    """
    if setting is None:
        setting = draw.rng.choices(SETTINGS, weights=(2, 6, 5, 1))[0]
    domain = (
        draw.one(tuple(DOMAINS)) if kind is None else next(d for d, kinds in DOMAINS.items() if kind in kinds)
    )
    asked = draw.one(DOMAINS[domain]) if kind is None else kind
    if kind is None and asked == "sum" and draw.chance(0.5):
        asked = "amount"  # sums are learnt late, and teach nothing else
    kinds = _kinds(draw, domain, asked)
    house: House = () if setting == PLAIN else _house(draw, kinds, always=setting != PLAIN)
    stated = house if setting in (PLAYBOOK, BOTH) else ()
    questions = list(_questions(draw, kinds, asked, house, setting, before))
    signature = _signature(draw, asked, kinds, _rules(draw, questions, stated))
    turns = []
    for place, question in enumerate(questions):
        learn = follows(question, house, stated, questions[:place])
        turns.append(Turn(_inputs(signature, question), _outputs(signature, question, house, stated), learn))
    return Episode(f"{asked}/{setting}", signature, tuple(turns))


def shapes(convention: Convention, question: Question, house: House) -> bool:
    """Whether a convention of the house makes a difference to the answer of a question."""
    without = tuple(one for one in house if one != convention)
    return question.answer_of(without) != question.answer_of(house)


def follows(question: Question, house: House, stated: House, before: Sequence[Question]) -> bool:
    """Whether the answer of a question follows from stated conventions and the answers before it."""
    for convention in house:
        if convention in stated or not shapes(convention, question, house):
            continue
        if convention.form == "limit":
            if not _bracketed(question, house, before):
                return False
        elif not any(shapes(convention, other, house) for other in before):
            return False
    return True


def _bracketed(question: Question, house: House, before: Sequence[Question]) -> bool:
    """Whether an earlier reading on the same side of the limit was no farther from it."""
    limit, reading = float(limit_of(house, "")), float(question.reading)
    readings = [float(other.reading) for other in before if other.reading]
    if reading >= limit:
        return any(limit <= other <= reading for other in readings)
    return any(reading <= other < limit for other in readings)


def _kinds(draw: Draw, domain: str, asked: str) -> list[str]:
    how = draw.rng.random()
    if how < 0.45:
        return [asked]
    if how < 0.8:
        return list(dict.fromkeys([asked, *draw.sample(DOMAINS[domain], 2)]))
    return list(dict.fromkeys([asked, *draw.sample(tuple(KINDS), draw.rng.randint(1, 5))]))


def _house(draw: Draw, kinds: Sequence[str], *, always: bool) -> House:
    """Conventions about what is asked; nearly always about the kind that comes first."""
    wanted: list[Convention] = []
    for place, kind in enumerate(kinds):
        if draw.chance(0.9 if place == 0 and always else 0.7):
            wanted += conventions_for(draw, kind)
    return combined(wanted, draw)


def conventions_for(draw: Draw, kind: str) -> list[Convention]:
    """Some conventions about the answers of a kind: one, or for numbers up to three."""
    found: list[Convention] = []
    subject = SUBJECTS.get(kind)
    if subject is not None and (subject != "levels" or draw.chance(0.5)):
        more = draw.rng.choice((1, 1, 2, 3)) if subject in NUMBERS else 1
        found += [draw_convention(draw, subject) for _ in range(more)]
    labels = LABELS.get(kind, ())
    if labels and (subject is None or draw.chance(0.5)):
        chosen = labels if draw.chance(0.6) else draw.sample(labels, 1)
        found += [draw_convention(draw, label) for label in chosen]
    return found


def _questions(
    draw: Draw, kinds: Sequence[str], asked: str, house: House, setting: str, count: int | None
) -> Iterator[Question]:
    """The questions of an episode, the one that is asked last."""
    if count is None:
        some = (1, 2, 3, 4, 5, 6, 8, 10, 14) if setting == DEMONSTRATIONS else (0, 0, 0, 1, 2, 3)
        count = draw.rng.choice(some)
    before = [ask(draw, draw.one(kinds)) for _ in range(count)]
    yield from before
    last = ask(draw, asked)
    # What is asked at the end should follow from what was shown, so that no turn is spent in vain.
    for _ in range(8 if setting == DEMONSTRATIONS else 0):
        if follows(last, house, (), before) and last.answer_of(house) != last.answer:
            break
        last = ask(draw, asked)
    yield last


def _rules(draw: Draw, questions: Sequence[Question], stated: House) -> list[str]:
    """The playbook: what is stated, among rules about other things and advice."""
    others = draw.one((0, 1, 2, 3, 5, 8) if stated else (0, 0, 0, 1, 3))
    taken = {one.subject for one in stated}
    for question in questions:
        # A rule about what is asked would change the answer, so none is made up.
        taken |= {question.subject, SUBJECTS.get(question.kind, ""), *LABELS.get(question.kind, ())}
    every = {*SUBJECTS.values(), *(label for labels in LABELS.values() for label in labels)}
    free = sorted(every - taken)
    lines = [convention.phrased(draw) for convention in stated]
    for subject in draw.sample(free, min(others, len(free))):
        lines.append(draw_convention(draw, subject).phrased(draw) if draw.chance(0.75) else draw.item(ADVICE))
    draw.rng.shuffle(lines)
    return lines


def _signature(draw: Draw, asked: str, kinds: Sequence[str], rules: Sequence[str]) -> type[dspy.Signature]:
    choice = asked == "option" and list(kinds) == ["option"] and draw.chance(0.4)
    signature = ChooseOption if choice else AnswerQuestion
    instructions = draw.item(INSTRUCTIONS) if draw.chance(0.4) else ""
    if instructions:
        signature = signature.with_instructions(instructions)
    if draw.chance(0.12):
        signature = dspy.ChainOfThought(signature).predict.signature
    if not rules:
        return signature
    if draw.chance(0.3):
        separator = draw.one((" ", "\n", "\n- "))
        instructed: type[dspy.Signature] = signature.with_instructions(
            signature.instructions + separator + separator.join(rules)
        )
        return instructed
    return with_playbook(signature, entries(draw, rules))


def entries(draw: Draw, rules: Sequence[str]) -> dict[str, str]:
    """Rules with ids, in the order given; the ids rise and leave gaps."""
    number, found = 0, {}
    for rule in rules:
        number += draw.rng.choice((1, 1, 1, 2, 5))
        found[f"k{number}"] = rule
    return found


def _inputs(signature: type[dspy.Signature], question: Question) -> dict[str, str]:
    inputs = {"context": question.context, "question": question.question}
    if "options" in signature.input_fields:
        asked, lettered = question.question.split("?", 1)
        inputs["question"] = f"{asked}?"
        inputs["options"] = "\n".join(
            f"{letter}. {text}" for letter, text in zip("ABCDEF", question.options, strict=False)
        )
        assert lettered.strip()
    return inputs


def _outputs(
    signature: type[dspy.Signature], question: Question, house: House, stated: House
) -> dict[str, str]:
    answer = question.answer_of(house)
    if "reasoning" not in signature.output_fields:
        return {"answer": answer}
    steps = [f"It is {question.answer}."]
    steps += [one.sentence for one in stated if shapes(one, question, house)]
    return {"reasoning": " ".join(steps), "answer": answer}
