"""Episodes of the roles that adapt a program: reflector, curator, proposer of instructions.

>>> reflecting(Draw("train/7")).asked.outputs["lesson"]
'Write USD before amounts.'

The reflector states the conventions that a wrong answer broke, in their canonical sentences, or that the
value itself was wrong. The curator adds a rule, updates the entry that says otherwise, or does nothing. The
proposer writes an instruction with the rules that its examples show.
"""

from collections.abc import Sequence

from dspy.propose.grounded_proposer import TIPS, generate_instruction_class
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from tiltyard.models.embedded.answering import ADVICE, INSTRUCTIONS, conventions_for, entries, shapes
from tiltyard.models.embedded.conventions import Convention, House, combined, draw_convention
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, PromptEpisode, Turn
from tiltyard.models.embedded.feedback import FORM_WRONG, LIMIT_TOLD, VALUE_WRONG
from tiltyard.models.embedded.questions import DOMAINS, KINDS, LABELS, SUBJECTS, Question, ask
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer, listed
from tiltyard.programs.qa import AnswerQuestion

LOOK_AGAIN = "Look the value up again."
"""The lesson of an answer in the right form with a wrong value."""
NOTHING = "NONE"
"""The operation that changes nothing."""

MIPRO = generate_instruction_class(
    use_dataset_summary=False, program_aware=False, use_instruct_history=False
).signature
"""The signature that MIPRO's proposer asks with, where it looks at demonstrations alone."""


def reflecting(draw: Draw, kind: str | None = None) -> Episode:
    """An episode of the reflector.

    Args:
        draw: The choices.
        kind: The kind of question that was answered; None for any.
    """
    turns = tuple(_reflection(draw, kind) for _ in range(draw.rng.choice((1, 1, 1, 2))))
    return Episode("reflect" if kind is None else f"reflect/{kind}", ReflectOnAnswer, turns)


def _reflection(draw: Draw, kind: str | None) -> Turn:
    kind = kind or draw.one(tuple(KINDS))
    if draw.chance(0.12):
        question = ask(draw, kind)
        right = question.answer
        wrong = _other_value(draw, question)
        lesson = LOOK_AGAIN
    else:
        question, house = broken(draw, kind)
        right, wrong = question.answer_of(house), question.answer
        lesson = stated(question, house)
    inputs = {
        "task": task_text(question),
        "answer": wrong,
        "expected": right if draw.chance(0.9) else "",
        "feedback": feedback_text(draw, question, wrong, right, lesson),
    }
    return Turn(inputs, {"lesson": lesson})


def broken(draw: Draw, kind: str) -> tuple[Question, House]:
    """A question of a kind and a house whose conventions its default answer breaks."""
    while True:
        question = ask(draw, kind)
        house = combined(conventions_for(draw, kind), draw)
        if question.answer_of(house) != question.answer:
            return question, tuple(one for one in house if shapes(one, question, house))


def stated(question: Question, house: House) -> str:
    """The conventions that shape an answer, as a lesson."""
    return " ".join(one.sentence for one in sorted(house, key=_rank) if shapes(one, question, house))


def _rank(convention: Convention) -> tuple[int, str]:
    forms = ("limit", "whole", "tenth", "commas", "before", "after")
    return (forms.index(convention.form) if convention.form in forms else len(forms), convention.value)


def _other_value(draw: Draw, question: Question) -> str:
    """A wrong answer in the default way: the answer to another question of the kind."""
    while True:
        other = ask(draw, question.kind)
        if other.answer != question.answer and other.subject == question.subject:
            return other.answer
        if other.answer != question.answer and question.kind in LABELS:
            return other.answer


def task_text(question: Question) -> str:
    """A program's inputs as the reflector reads them."""
    return f"context: {question.context}\nquestion: {question.question}"


def feedback_text(draw: Draw, question: Question, wrong: str, right: str, lesson: str) -> str:
    """What a metric says about a wrong answer. A limit is told, since no single answer shows it."""
    if "high from" in lesson:
        limit = lesson.split("high from ", 1)[1].split(" on.", 1)[0]
        told = f" {LIMIT_TOLD.format(limit=limit)}"
    elif draw.chance(0.5):
        told = f" {VALUE_WRONG}" if lesson == LOOK_AGAIN else f" {FORM_WRONG}"
    else:
        told = ""
    said = draw.item((
        "Expected '{right}', got '{wrong}'.", "The answer should be '{right}'.",
        "'{wrong}' is wrong; '{right}' is right.", "Wrong. Right is '{right}'.",
        "Expected '{right}', but got '{wrong}'.", "Not '{wrong}' but '{right}'.",
    ))  # fmt: skip
    return said.format(right=right, wrong=wrong) + told


def curating(draw: Draw, change: str | None = None) -> Episode:
    """An episode of the curator.

    Args:
        draw: The choices.
        change: ``add``, ``update`` or ``none``; None for any.
    """
    turns = tuple(_curation(draw, change) for _ in range(draw.rng.choice((1, 1, 2))))
    return Episode("curate" if change is None else f"curate/{change}", CuratePlaybook, turns)


def _curation(draw: Draw, change: str | None) -> Turn:
    change = change or draw.one(("add", "add", "update", "update", "none"))
    subjects = sorted({*SUBJECTS.values(), *(label for labels in LABELS.values() for label in labels)})
    chosen = draw.sample(subjects, draw.rng.choice((1, 2, 4, 7, 10)))
    rule = draw_convention(draw, chosen[0])
    others = [draw_convention(draw, subject) for subject in chosen[1:]]
    lines = [other.phrased(draw) for other in others]
    lines += [draw.item(ADVICE) for _ in range(draw.rng.choice((0, 0, 1)))]
    lesson, clash = rule.sentence, None
    if change == "update":
        clash = _clashing(draw, rule)
        if clash is None:
            change = "add"
        else:
            lines.append(clash.phrased(draw))
    if change == "none":
        if draw.chance(0.3):
            lesson = LOOK_AGAIN
        else:
            lines.append(rule.sentence)
    draw.rng.shuffle(lines)
    playbook = entries(draw, lines)
    if change == "add":
        operations = f"ADD {section(rule)}: {rule.sentence}"
    elif clash is not None:
        target = next(key for key, text in playbook.items() if text in clash.phrasings)
        operations = f"UPDATE {target}: {rule.sentence}"
    else:
        operations = NOTHING
    return Turn({"playbook": listed(playbook), "lesson": lesson}, {"operations": operations})


def section(convention: Convention) -> str:
    """The section of the playbook that a rule belongs to: its subject, or ``labels``."""
    return "labels" if convention.form == "say" else convention.subject


def _clashing(draw: Draw, rule: Convention) -> Convention | None:
    """Another convention about the same that cannot hold beside this one."""
    for _ in range(20):
        other = draw_convention(draw, rule.subject)
        if other != rule and other.clashes(rule):
            return other
    return None


def proposing(draw: Draw) -> Episode | PromptEpisode:
    """An episode of writing an instruction: from GEPA's prompt, or from MIPRO's signature."""
    kinds = draw.sample(draw.one(tuple(DOMAINS.values())), draw.rng.choice((1, 1, 2)))
    house = combined([one for kind in kinds for one in broken(draw, kind)[1]], draw)
    questions: list[Question] = []
    while len(questions) < 3:
        question = ask(draw, draw.one(kinds))
        if question.answer_of(house) != question.answer or draw.chance(0.15):
            questions.append(question)
    base = draw.item(INSTRUCTIONS) or AnswerQuestion.instructions
    rules = [one.sentence for one in house if any(shapes(one, question, house) for question in questions)]
    return (
        _gepa(draw, base, questions, house, rules)
        if draw.chance(0.5)
        else _mipro(draw, base, questions, house, rules)
    )


def _gepa(
    draw: Draw, base: str, questions: Sequence[Question], house: House, rules: Sequence[str]
) -> PromptEpisode:
    examples = [
        {
            "Inputs": {"question": one.question, "context": one.context},
            "Generated Outputs": {"answer": one.answer},
            "Feedback": feedback_text(draw, one, one.answer, one.answer_of(house), stated(one, house))
            if one.answer_of(house) != one.answer
            else "Correct.",
        }
        for one in questions
    ]
    prompt = InstructionProposalSignature.prompt_renderer(
        {
            "current_instruction_doc": base,
            "dataset_with_feedback": examples,
            "prompt_template": InstructionProposalSignature.default_prompt_template,
        }
    )
    return PromptEpisode("propose/gepa", str(prompt), f"```\n{instruction(base, rules)}\n```")


def _mipro(
    draw: Draw, base: str, questions: Sequence[Question], house: House, rules: Sequence[str]
) -> Episode:
    shown = "\n\n".join(
        f"Context: {one.context}\nQuestion: {one.question}\nAnswer: {one.answer_of(house)}"
        for one in questions
    )
    inputs = {"task_demos": f"{shown}\n\n", "basic_instruction": base, "tip": draw.one(tuple(TIPS.values()))}
    return Episode(
        "propose/mipro", MIPRO, (Turn(inputs, {"proposed_instruction": instruction(base, rules)}),)
    )


def instruction(base: str, rules: Sequence[str]) -> str:
    """An instruction that adds rules to another."""
    return "\n".join([" ".join(base.split()), *rules])
