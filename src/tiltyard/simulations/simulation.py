"""What a simulation is, and the one that does nothing."""

from pathlib import Path
from typing import Protocol

import dspy


class Simulation(Protocol):
    """Lets a compiled program live in a world, after it has been evaluated."""

    def simulate(self, program: dspy.Module, *, lm: dspy.LM, seed: int, folder: Path) -> dict[str, float]:
        """Run the simulation.

        Args:
            program: The compiled program.
            lm: The model that it runs on.
            seed: Decides every random choice.
            folder: Where the simulation writes its files.

        Returns:
            Its metrics, by name.
        """
        ...


class NoSimulation:
    """The option ``simulation=none``."""

    def simulate(self, program: dspy.Module, *, lm: dspy.LM, seed: int, folder: Path) -> dict[str, float]:
        """Do nothing; there are no metrics."""
        return {}
