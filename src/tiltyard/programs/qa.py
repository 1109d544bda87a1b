"""The signatures of question answering: what a model reads and what it writes.

Techniques are plain DSPy modules, chosen by ``task/program=predict`` or ``task/program=cot``.

The context comes first: questions about one table share its computation, and a small model that has just read
the question looks back for the answer.

    >>> program = dspy.ChainOfThought(AnswerQuestion)
    >>> program(question="What is the limit?", context="The limit is 80 °C.").answer
    '80 °C'
"""

from typing import Literal

import dspy

SCALES = ("", "thousand", "million", "billion", "percent")
"""The scales of TAT-QA. A number without one has the empty scale."""


class AnswerQuestion(dspy.Signature):  # type: ignore[misc]
    """Answer the question from the context. When the context is empty, answer from what you know.

    Give the answer alone: a few words or one number, no sentence and no explanation.
    """

    context: str = dspy.InputField(desc="text or a table that holds the answer; may be empty")
    question: str = dspy.InputField(desc="the question")
    answer: str = dspy.OutputField(desc="the shortest exact answer, worded as in the context")


class ChooseOption(dspy.Signature):  # type: ignore[misc]
    """Choose the one option that answers the question best. Answer with its letter alone."""

    context: str = dspy.InputField(desc="facts that help to decide; may be empty")
    question: str = dspy.InputField(desc="the question")
    options: str = dspy.InputField(desc="the options, one per line, each after its letter")
    answer: str = dspy.OutputField(desc="the letter of the correct option")


class AnswerFromTable(dspy.Signature):  # type: ignore[misc]
    """Answer the question about a company's report from its table and text.

    Copy words and amounts as the report writes them. Work out a number that the report does not state
    (a difference, a sum, an average, a ratio, a count) and round it to two decimals. The scale is stated
    apart from the answer.
    """

    context: str = dspy.InputField(desc="the table, one row per line with | between cells, then the text")
    question: str = dspy.InputField(desc="the question")
    answer: str = dspy.OutputField(
        desc="words copied from the context, or one number without its scale; several items with '; ' between"
    )
    scale: Literal["", "thousand", "million", "billion", "percent"] = dspy.OutputField(
        desc="the scale of a number: thousand, million or billion where the context says that amounts are "
        "in it, percent for a percentage; empty for everything else"
    )
