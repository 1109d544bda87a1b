"""Lets systems take turns on the same work, and writes the table of what they reached.

>>> outcomes = compete([Contestant("ours", ours, 64), Contestant("theirs", theirs, 32)], rounds=3)
>>> outcomes[0].figure
'27.31 (26.90–27.40)'
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from statistics import median

from inference_systems import Answers

WARM_UP = 1000
"""The seed of the work that is done before anything counts."""


@dataclass(frozen=True)
class Contestant:
    """A system at a piece of work."""

    name: str
    run: Callable[[int, int], Answers]
    """Does the work of a seed, as many prompts as it is told."""
    prompts: int
    """How many prompts it gets in a round."""
    warm_up: int = 2
    """How many prompts it gets before the first."""


@dataclass
class Outcome:
    """What a contestant reached."""

    name: str
    rates: list[float] = field(default_factory=list)
    """Prompts a second of each round."""
    texts: Sequence[str] = ()
    """The answers of the last round."""

    @property
    def figure(self) -> str:
        """The median with the range."""
        return f"{median(self.rates):.2f} ({min(self.rates):.2f}–{max(self.rates):.2f})"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    benchmark: str
    model: str
    system: str
    figure: str
    ratio: str
    aim: str


def compete(contestants: Sequence[Contestant], rounds: int) -> list[Outcome]:
    """Every contestant warms up, then all of them take each round, every other one in reverse order."""
    outcomes = [Outcome(contestant.name) for contestant in contestants]
    pairs = list(zip(contestants, outcomes, strict=True))
    for contestant in contestants:
        contestant.run(WARM_UP, contestant.warm_up)
    for number in range(rounds):
        for contestant, outcome in pairs if number % 2 == 0 else reversed(pairs):
            answers = contestant.run(number, contestant.prompts)
            outcome.rates.append(answers.rate)
            outcome.texts = answers.texts
            reused = "" if answers.reused is None else f", {answers.reused:.0%} of prompt tokens reused"
            print(f"   {contestant.name}: {answers.rate:.2f} prompts/s{reused}", flush=True)
    return outcomes


def markdown(rows: Sequence[Row]) -> str:
    """The table. A ratio is Tiltyard's figure to that row's; where both are times, see the aim."""
    head = ("", "model", "system", "prompts/s: median (range)", "ratio", "aim")
    lines = [head, ("---",) * len(head), *(astuple(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
