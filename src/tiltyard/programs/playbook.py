"""The signatures of an evolving playbook: who answers with it, who reflects, who keeps it.

The generator is any program: its instructions get the playbook's entries, one a line after its id. The
reflector states a lesson from one answer; the curator turns the lesson into operations, one a line, that a
small model can write and a reader can check.

    >>> print(with_playbook(AnswerQuestion, {"k3": "Write USD before amounts."}).instructions)
    Answer the question from the context. …
    <BLANKLINE>
    Playbook:
    [k3] Write USD before amounts.
"""

from collections.abc import Mapping

import dspy

HEADING = "Playbook:"
"""What stands before the entries."""


def listed(entries: Mapping[str, str]) -> str:
    """The entries as a model reads them: one a line, each after its id in brackets."""
    return "\n".join(f"[{identifier}] {content}" for identifier, content in entries.items())


def with_playbook(signature: type[dspy.Signature], entries: Mapping[str, str]) -> type[dspy.Signature]:
    """A signature whose instructions end with a playbook; without entries, the signature as it is.

    Args:
        signature: The signature of the program that answers.
        entries: Contents by id.
    """
    if not entries:
        return signature
    return signature.with_instructions(f"{signature.instructions}\n\n{HEADING}\n{listed(entries)}")


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
