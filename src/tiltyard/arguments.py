"""Argument parsers of Tiltyard's own commands: wrong arguments are wrong input, said in one line.

>>> parser = CommandParser(prog="tiltyard ui", description="Open MLflow on what ran.")
"""

import argparse
from typing import NoReturn

from tiltyard.errors import InputError


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises :class:`InputError` instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise InputError(f"{self.prog}: {message}", f"{self.prog} --help lists what it takes")
