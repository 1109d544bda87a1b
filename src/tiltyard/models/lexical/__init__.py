"""A deterministic in-context reader in the place of a language model: the floor that models have to beat.

>>> lm = lexical()
>>> with dspy.context(lm=lm):
...     dspy.Predict("question, context -> answer")(question="What is the limit?", context="The limit is 80 °C.")
"""

from tiltyard.models.lexical.model import LexicalEngine, lexical

__all__ = ["LexicalEngine", "lexical"]
