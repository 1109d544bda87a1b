"""What a metric may add to its feedback: the sentences that the embedded reflector was trained on.

>>> LIMIT_TOLD.format(limit="51")
'The limit of the house is 51.'
"""

VALUE_WRONG = "The value is wrong."
FORM_WRONG = "The value is right, its form is not."
LIMIT_TOLD = "The limit of the house is {limit}."
"""Where a level is wrong; no single answer shows the limit."""
