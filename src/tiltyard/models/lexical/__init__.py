"""A deterministic in-context reader in the place of a language model: the floor that models have to beat.

>>> lm = lexical()
>>> with dspy.context(lm=lm):
...     dspy.Predict("context, question -> answer")(context="The limit is 80 °C.", question="The limit?")
"""

from tiltyard.models.lexical.model import LexicalEngine, lexical

__all__ = ["LexicalEngine", "lexical"]
