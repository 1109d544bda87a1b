"""The signatures of an evolving playbook: who answers with it, who reflects, who keeps it.

The generator is any program: its instructions get the playbook's entries, one a line after its id. The
reflector states a lesson from one answer: a rule, or several. The curator turns one rule into operations, one
a line, that a small model can write and a reader can check. It is given a lesson rule by rule, since the
embedded model has learnt to curate one at a time: ``CuratePlaybook`` once for each of ``rules_of(lesson)``.

    >>> print(with_playbook(AnswerQuestion, {"k3": "Write USD before amounts."}).instructions)
    Answer the question from the context. …
    <BLANKLINE>
    Playbook:
    [k3] Write USD before amounts.
    >>> rules_of("Write USD before sums. Write dates as day.month.year.")
    ['Write USD before sums.', 'Write dates as day.month.year.']
"""

import re
from collections.abc import Mapping

import dspy

HEADING = "Playbook:"
"""What stands before the entries."""
CITATIONS = "followed_rules"
"""The output field in which an answer cites entries, where that is asked for."""

_PLAYBOOK_AT_THE_END = re.compile(rf"\n\n{HEADING}(?:\n\[[^\]\n]+\][^\n]*)+\s*\Z")
_MARKER = re.compile(r"\s*(?:[-*•]|\(?\d{1,2}[.)])\s+")
"""What stands before an item of a list."""
_STOP = re.compile(r"[.!?][\"'”’)\]]*\s+")
"""Where a sentence may end: the point in a number or a date has no space behind it."""
_ABBREVIATED = re.compile(
    r"(?:\b(?:[a-z]\.[a-z]|approx|cf|etc|fig|incl|max|min|no|resp|vs))\.\s+\Z", re.IGNORECASE
)


def listed(entries: Mapping[str, str]) -> str:
    """The entries as a model reads them: one a line, each after its id in brackets.

    Line breaks in an entry become spaces, so that no entry can pass for several.
    """
    return "\n".join(f"[{identifier}] {' '.join(content.split())}" for identifier, content in entries.items())


def with_playbook(signature: type[dspy.Signature], entries: Mapping[str, str]) -> type[dspy.Signature]:
    """A signature whose instructions end with a playbook, which replaces the one that they end with already.

    Args:
        signature: The signature of the program that answers.
        entries: Contents by id; without any, the signature comes back without a playbook.
    """
    bare = _PLAYBOOK_AT_THE_END.sub("", signature.instructions)
    instructions = f"{bare}\n\n{HEADING}\n{listed(entries)}" if entries else bare
    if instructions == signature.instructions:
        return signature
    changed: type[dspy.Signature] = signature.with_instructions(instructions)
    return changed


def asking_for_citations(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """A signature that also asks which entries the answer follows, before anything else that it asks for.

    A reply without that field is as good as one whose field is empty, since small models leave it out. A
    signature that has a field of this name keeps its own.

    Args:
        signature: One whose instructions end with a playbook.
    """
    if CITATIONS in signature.fields:
        return signature
    field = dspy.OutputField(
        default="", desc="the ids of the playbook's rules that the answer follows, such as k3, k7; or none"
    )
    changed: type[dspy.Signature] = signature.prepend(CITATIONS, field, type_=str)
    return changed


def rules_of(lesson: str) -> list[str]:
    """The rules of a lesson, each once: its sentences, or the items of its list, without their markers.

    Args:
        lesson: What a reflector states.
    """
    rules: list[str] = []
    for line in lesson.splitlines():
        rest = _MARKER.sub("", line, count=1) if _MARKER.match(line) else line
        start = 0
        for stop in _STOP.finditer(rest):
            upto = rest[start : stop.end()]
            # What goes on in lower case is the same sentence.
            if _ABBREVIATED.search(upto) or rest[stop.end() : stop.end() + 1].islower():
                continue
            rules.append(upto)
            start = stop.end()
        rules.append(rest[start:])
    return list(dict.fromkeys(rule.strip() for rule in rules if rule.strip()))


class ReflectOnAnswer(dspy.Signature):  # type: ignore[misc]
    """Compare the answer with what was expected and state the lesson: the rule that the answer broke."""

    task: str = dspy.InputField(desc="what was asked, with its context")
    answer: str = dspy.InputField(desc="what was answered")
    expected: str = dspy.InputField(desc="what is right; may be empty")
    feedback: str = dspy.InputField(desc="what the judge says")
    lesson: str = dspy.OutputField(desc="one general rule in a short sentence, or several")


class CuratePlaybook(dspy.Signature):  # type: ignore[misc]
    """Bring the playbook up to date with the lesson.

    Write one operation a line: ADD SECTION: RULE for a new rule, UPDATE ID: RULE for an entry that the
    lesson corrects, NONE where the playbook says it already or the lesson holds no rule.
    """

    playbook: str = dspy.InputField(desc="its entries, one a line, each after its id; may be empty")
    lesson: str = dspy.InputField(desc="what was learnt")
    operations: str = dspy.OutputField(desc="one operation a line")
