"""The signatures of the finance tasks: calculating with a named formula, and tagging figures of reports.

>>> program = dspy.Predict(CalculateWithFormula)
>>> program(
...     question="Current assets are $1,000,000 and current liabilities $500,000. Find the current ratio.",
...     context="Current Ratio = Current Assets / Current Liabilities",
... ).answer
'2.0'
"""

from collections.abc import Iterable

import dspy


class CalculateWithFormula(dspy.Signature):  # type: ignore[misc]
    """Calculate the number that the question asks for, with the formula that the context gives.

    Answer with one plain number and nothing else: digits alone, rounded to two decimals, without currency,
    percent sign, unit or words. Write amounts out in full: 5 million is 5000000.0.
    """

    context: str = dspy.InputField(desc="the formula and what its terms mean; may be empty")
    question: str = dspy.InputField(desc="the question")
    answer: str = dspy.OutputField(desc="one plain number, rounded to two decimals")


class TagFigures(dspy.Signature):  # type: ignore[misc]
    """Choose for each question the US GAAP tag of XBRL that fits the quoted figure in its sentence best.

    Answer with the tags alone: one for each question, in the order of the questions, with commas between.
    """

    question: str = dspy.InputField(desc="numbered questions: a figure each, and the sentence that states it")
    answer: str = dspy.OutputField(desc="the tags, in the order of the questions, with commas between")


def tag_figures(tags: Iterable[str]) -> type[dspy.Signature]:
    """:class:`TagFigures` with the tags to choose from, named once: in the description of the answer.

    There they stand before all demonstrations and inputs, which do not repeat them, and an optimizer that
    writes new instructions does not lose them.
    """
    description = (
        f"{TagFigures.output_fields['answer'].json_schema_extra['desc']}; known tags: {', '.join(tags)}"
    )
    signature: type[dspy.Signature] = TagFigures.with_updated_fields("answer", desc=description)
    return signature
