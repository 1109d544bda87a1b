"""The errors that a user sees as one line, with the exit code that each one means.

>>> raise InputError("no option 'gpt5' in group 'model'", "choose one of: lexical, tiny-gpt2")
Traceback (most recent call last):
...
tiltyard.errors.InputError: no option 'gpt5' in group 'model'; choose one of: lexical, tiny-gpt2
"""


class TiltyardError(Exception):
    """A failure that Tiltyard understands: shown as one line, without a traceback.

    Args:
        what: What is wrong, in one line.
        remedy: What to do about it, in one line; empty when the first part already says so.
    """

    exit_code = 1
    """The process's exit code when this error ends it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what, remedy)

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class InputError(TiltyardError):
    """Wrong input: a config, a data file, a model's name, a missing key. Exit code 2."""

    exit_code = 2


class JobError(TiltyardError):
    """A job that started and could not finish. Exit code 1."""
