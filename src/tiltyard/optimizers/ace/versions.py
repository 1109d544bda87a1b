"""The playbook as it was behind each step of an adaptation.

>>> Versions(grown).behind(steps=40).entries
(Entry(id='k1', …), …)
"""

from dataclasses import dataclass

from tiltyard.optimizers.ace.choice import Choice
from tiltyard.optimizers.ace.records import Measured
from tiltyard.optimizers.playbook.playbook import Playbook


@dataclass(frozen=True)
class Versions:
    """All versions of a playbook that has grown."""

    grown: Playbook
    """The last one, with its history."""

    def behind(self, steps: int) -> Playbook:
        """The playbook as it was after so many steps of the adaptation."""
        return self.grown.history.rebuild(steps - 1)

    def of(self, measured: Measured) -> Playbook:
        """The playbook of a measured program; an empty one for the student without any.

        It goes on with ids that no later version had: in the history they stand for other rules.
        """
        entries = () if measured.program == "student" else self.behind(measured.steps).entries
        return Playbook(entries, next_number=self.grown.next_number)

    def chosen(self, choice: Choice) -> Playbook:
        """The playbook that a compilation returns."""
        return self.grown.copy() if choice.measured is None else self.of(choice.measured)
