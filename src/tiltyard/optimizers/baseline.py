"""The baseline arm: a teleprompter that leaves the program as it is."""

from typing import Any

import dspy
from dspy.teleprompt import Teleprompter


class Unoptimized(Teleprompter):  # type: ignore[misc]
    """Returns an unchanged copy of the student. Every optimizer is compared with it."""

    uses_both_sets = False

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: list[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
        valset: list[dspy.Example] | None = None,
        **kwargs: Any,
    ) -> dspy.Module:
        """Copy the student; the sets are not looked at."""
        return student.deepcopy()
