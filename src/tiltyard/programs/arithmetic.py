r"""The signature of word problems: the steps of a calculation, and the number that they come to.

>>> program = dspy.Predict(SolveWordProblem)
>>> program(question="Ann has 3 apples and buys twice as many. How many has she now?").answer
'She buys 3 * 2 = 6. Now she has 3 + 6 = 9.\n#### 9'
"""

import dspy


class SolveWordProblem(dspy.Signature):  # type: ignore[misc]
    """Solve the word problem step by step.

    Write the steps of the calculation, a line each. The last line is `#### ` and then the number alone.
    """

    question: str = dspy.InputField(desc="the word problem")
    answer: str = dspy.OutputField(desc="the steps, and a last line of #### and the number")
