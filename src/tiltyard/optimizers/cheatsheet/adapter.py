"""Shows a cheatsheet in every call of a program, without a change to the program.

>>> with dspy.context(adapter=CheatsheetAdapter("- Write USD before sums.")):
...     program(question="…")
"""

from typing import Any

from tiltyard.optimizers.adapting.adapter import SignatureChangingAdapter
from tiltyard.optimizers.cheatsheet.signatures import with_cheatsheet


class CheatsheetAdapter(SignatureChangingAdapter):
    """Puts a sheet behind the instructions of what another adapter is asked to send.

    Args:
        sheet: What is shown; empty shows nothing.
        reads: The adapter that does the work; None for DSPy's own.
    """

    def __init__(self, sheet: str, reads: Any = None) -> None:
        super().__init__(lambda signature: with_cheatsheet(signature, sheet), reads)
        self.sheet = sheet
