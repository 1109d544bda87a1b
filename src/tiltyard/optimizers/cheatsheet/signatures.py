"""What the roles of Dynamic Cheatsheet read and write: the curator of either variant, and who answers.

    >>> print(with_cheatsheet(AnswerQuestion, "- Write USD before sums.").instructions)
    Answer the question from the context. …
    <BLANKLINE>
    Cheatsheet:
    - Write USD before sums.

The roles are those of Suzgun et al. 2025 (arXiv 2504.07952); the wording is Tiltyard's.
"""

import dspy

HEADING = "Cheatsheet:"
"""What stands before the sheet in the instructions of the program."""


class CurateCheatsheet(dspy.Signature):  # type: ignore[misc]
    """Rewrite the cheatsheet so that it helps with further tasks of this kind.

    Write the whole cheatsheet anew, one short note a line: what is not written is lost. Keep each note that
    still holds, mend what turned out wrong, and add what other tasks can use: rules, forms, methods, facts.
    Judge for yourself whether the answer is right. Do not note the answer itself.
    """

    previous: str = dspy.InputField(desc="the cheatsheet so far; may be empty")
    task: str = dspy.InputField(desc="what was asked, with its context")
    answer: str = dspy.InputField(desc="what was answered")
    cheatsheet: str = dspy.OutputField(desc="the whole new cheatsheet, one note a line")


class CurateCheatsheetByFeedback(dspy.Signature):  # type: ignore[misc]
    """Rewrite the cheatsheet so that it helps with further tasks of this kind.

    Write the whole cheatsheet anew, one short note a line: what is not written is lost. Keep each note that
    still holds, mend what turned out wrong, and add what other tasks can use: rules, forms, methods, facts.
    Learn from what the judge says of the answer. Do not note the answer itself.
    """

    previous: str = dspy.InputField(desc="the cheatsheet so far; may be empty")
    task: str = dspy.InputField(desc="what was asked, with its context")
    answer: str = dspy.InputField(desc="what was answered")
    feedback: str = dspy.InputField(desc="what the judge says of the answer")
    cheatsheet: str = dspy.OutputField(desc="the whole new cheatsheet, one note a line")


class SynthesizeCheatsheet(dspy.Signature):  # type: ignore[misc]
    """Write the cheatsheet for the next task, from the one so far and from similar tasks with their answers.

    Write the whole cheatsheet anew, one short note a line: what is not written is lost. Keep each note that
    still holds, and add what the similar tasks teach that the next one can use: rules, forms, methods, facts.
    Their answers may be wrong. Do not answer the next task.
    """

    previous: str = dspy.InputField(desc="the cheatsheet so far; may be empty")
    examples: str = dspy.InputField(desc="similar tasks with their answers, the most similar one last")
    task: str = dspy.InputField(desc="the next task")
    cheatsheet: str = dspy.OutputField(desc="the whole new cheatsheet, one note a line")


def within_budget(signature: type[dspy.Signature], budget_tokens: int) -> type[dspy.Signature]:
    """The signature of a curator, with the sheet's budget in its instructions.

    Args:
        signature: One of this module's.
        budget_tokens: What the sheet may hold; told in words, of which models have a better idea.
    """
    words = max(1, budget_tokens * 3 // 4)
    changed: type[dspy.Signature] = signature.with_instructions(
        f"{signature.instructions}\nThe cheatsheet has at most {words} words."
    )
    return changed


def with_cheatsheet(signature: type[dspy.Signature], sheet: str) -> type[dspy.Signature]:
    """A signature whose instructions end with a cheatsheet; the same one where the sheet is empty.

    Args:
        signature: Of the program that answers.
        sheet: Its lines stand there as they are.
    """
    if not sheet:
        return signature
    changed: type[dspy.Signature] = signature.with_instructions(
        f"{signature.instructions}\n\n{HEADING}\n{sheet}"
    )
    return changed
