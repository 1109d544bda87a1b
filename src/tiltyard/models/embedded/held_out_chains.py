"""The held-out chains that an evaluation asks for: the lesson of a wrong answer, then its curator, by rule.

It is what an optimizer does with the two roles: nothing but the model's own lesson reaches the curator. A
chain is right where exactly the expected rules were added, in whatever section and order, and nothing else of
the playbook was changed.
"""

import re
from collections.abc import Iterator, Sequence

from tiltyard.models.embedded.adapting import NOTHING, broken, feedback_text, section, stated, task_text
from tiltyard.models.embedded.answering import entries
from tiltyard.models.embedded.conventions import draw_convention
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, Turn
from tiltyard.models.embedded.held_out import Reply, Tally, Trial
from tiltyard.models.embedded.questions import KINDS, LABELS, SUBJECTS
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer, listed, rules_of

EMPTY, FILLED = "chain/empty", "chain/filled"
"""The cells: curated into an empty playbook, and into one with rules about other things."""
_OPERATION = re.compile(r"(ADD|UPDATE) ([^:]+): (.+)")


def chain_trials(examples: int, seed: int = 0) -> Iterator[Trial]:
    """All chains of an evaluation.

    Args:
        examples: Of each of the two cells.
        seed: Decides all of them.
    """
    for place in range(examples):
        for cell in (EMPTY, FILLED):
            draw = Draw(f"evaluation/{seed}/{cell}/{place}", held_out=True)
            yield _chain(draw, cell)


def _chain(draw: Draw, cell: str) -> Trial:
    question, house = broken(draw, draw.one(tuple(KINDS)))
    sections = {one.sentence: section(one) for one in house}
    lesson = stated(question, house)
    wrong, right = question.answer, question.answer_of(house)
    inputs = {
        "task": task_text(question),
        "answer": wrong,
        "expected": right,
        "feedback": feedback_text(draw, question, wrong, right, lesson),
    }
    reflection = Episode(cell, ReflectOnAnswer, (Turn(inputs, {"lesson": lesson}),))
    before: dict[str, str] = {}
    if cell == FILLED:
        every = {*SUBJECTS.values(), *(label for labels in LABELS.values() for label in labels)}
        free = sorted(every - {one.subject for one in house})
        others = draw.sample(free, draw.one((1, 3, 5)))
        before = entries(draw, [draw_convention(draw, subject).phrased(draw) for subject in others])

    def following(replies: Sequence[Reply]) -> Episode | None:
        rules = _rules(replies)
        if len(replies) > len(rules):
            return None
        rule = rules[len(replies) - 1]
        operations = f"ADD {sections[rule]}: {rule}" if rule in sections else NOTHING
        turn = Turn(
            {"playbook": listed(_curated(before, replies[1:])), "lesson": rule}, {"operations": operations}
        )
        return Episode(cell, CuratePlaybook, (turn,))

    def judge(tally: Tally, *replies: Reply) -> None:
        unread = None in replies
        after = _curated(before, replies[1:])
        expected = sorted([*before.values(), *sections])
        kept = before.items() <= after.items()
        tally.mark(cell, None if unread else replies[0], kept and sorted(after.values()) == expected)

    return Trial((reflection,), judge, following)


def _rules(replies: Sequence[Reply]) -> list[str]:
    """The rules of the lesson that comes first."""
    return rules_of(str((replies[0] or {}).get("lesson", "")))


def _curated(entries: dict[str, str], replies: Sequence[Reply]) -> dict[str, str]:
    """Entries by id after the curator's operations, in order; a line that is no operation changes nothing."""
    found = dict(entries)
    for reply in replies:
        for line in str((reply or {}).get("operations", "")).splitlines():
            if operation := _OPERATION.fullmatch(line.strip()):
                what, target, rule = operation.groups()
                if what == "ADD":
                    last = max((int(key.removeprefix("k")) for key in found), default=0)
                    found[f"k{last + 1}"] = rule
                elif target in found:
                    found[target] = rule
    return found
