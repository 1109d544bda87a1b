"""What one step of a playbook's optimizer costs beside the models, as the playbook grows.

    $ python benchmarks/playbook_growth.py

A step chooses the entries for a question, counts that they were shown, credits one of them, and carries out
what a curator wrote: a new rule, one that is known, and an update; then it prunes, since the playbook is at
its budget. The steps of all sizes are taken in turns in the same process, after a warm-up; the median
counts, as processor time. Ratios are to the smallest playbook. Steps that compare a new rule with every
other one word by word, or build an index anew, show as ratios of the sizes.
"""

import argparse
import gc
import random
import statistics
import time

from tiltyard.optimizers.playbook.operations import Add, Tag, read_operations
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.optimizers.playbook.selection import Selector

SHOWN = 8
"""Entries that a prompt shows."""
KINDS = ("Write {code} before {subject}.", "Round {subject} to {code}.", "Write {code} instead of {subject}.")


class Growing:
    """A playbook at its budget, with what an optimizer keeps beside it."""

    def __init__(self, size: int) -> None:
        self._random = random.Random(f"playbook-growth/{size}")
        self.playbook = Playbook()
        for _ in range(size):
            self.playbook.apply(Add(self._word(4), self._rule()), step=0)
        self._refinement = Refinement(budget=self.playbook.tokens)
        self._selector = Selector("relevant", k=SHOWN)
        self._step = 0

    def step(self) -> float:
        """Take a step, and return its processor time in seconds."""
        self._step += 1
        entries = self.playbook.entries
        question = f"What about {self._word()} and the {self._word()} of {entries[0].content}"
        known, target = (self._random.choice(entries) for _ in range(2))
        reply = f"ADD x: {self._rule()}\nADD x: Please, {known.content}\nUPDATE {target.id}: {self._rule()}"
        sources = [f"train-{self._step}"]
        start = time.process_time()
        shown = [entry.id for entry in self._selector.select(self.playbook, question)]
        self.playbook.shown(shown, step=self._step)
        self.playbook.apply(Tag(shown[0], "helpful"), step=self._step)
        wishes = read_operations(reply)
        refined = self._refinement.refine(self.playbook, wishes, step=self._step, sources=sources)
        taken = time.process_time() - start
        assert refined.counts.get("add") == refined.counts.get("duplicate") == 1, refined.counts
        return taken

    def _rule(self) -> str:
        kind = self._random.choice(KINDS)
        return kind.format(code=self._word().upper(), subject=f"{self._word()} {self._word()}")

    def _word(self, letters: int = 6) -> str:
        return "".join(self._random.choices("abdeiklmnoprstu", k=letters))


def main() -> None:
    """Print the median step of each size, and its ratio to the smallest one's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()

    gc.disable()
    growing = {size: Growing(size) for size in options.sizes}
    for one in growing.values():
        for _ in range(5):
            one.step()
    times: dict[int, list[float]] = {size: [] for size in growing}
    for _ in range(options.steps):
        for size, one in growing.items():
            times[size].append(one.step())
    medians = {size: statistics.median(taken) for size, taken in times.items()}
    smallest = medians[options.sizes[0]]
    print(f"{options.steps} steps each, {SHOWN} entries shown, similarity=hashed, policy=score")
    for size, median in medians.items():
        print(f"{size:6d} entries  {1000 * median:7.3f} ms per step  ratio {median / smallest:5.2f}")


if __name__ == "__main__":
    main()
