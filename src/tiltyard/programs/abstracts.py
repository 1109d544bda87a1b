"""The signature of questions that an abstract answers with yes, no or maybe.

>>> program = dspy.Predict(DecideFromAbstract)
>>> program(question="Does the drug help?", context="RESULTS: It did in 3 of 200 patients.").answer
'no'
"""

import dspy


class DecideFromAbstract(dspy.Signature):  # type: ignore[misc]
    """Answer the research question from the abstract, whose conclusion is left out.

    Answer with one word: yes, no, or maybe where the results do not decide it.
    """

    context: str = dspy.InputField(desc="the abstract, a labelled section a line")
    question: str = dspy.InputField(desc="the research question")
    answer: str = dspy.OutputField(desc="yes | no | maybe")
