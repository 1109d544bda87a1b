"""Compiles with ACE in processes that die half-way: python compile_and_die.py FOLDER

Each is a fork that kills itself with SIGKILL in the middle of a call of a model; the checkpoints stay in
FOLDER/MODE-CALL. Forks, because one import serves them all.
"""

import os
import signal
import sys
from pathlib import Path

import dspy
from house_of_codes import Generator, Oracle, examples, lm, metric

from tiltyard.optimizers.ace.teleprompter import ACE
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.programs.qa import AnswerQuestion

DEATHS = {"offline": (1, 13, 23, 40), "online": (3, 17)}
"""At which call of a model a process dies, by mode: while measuring, answering, reflecting and curating."""
SETTINGS = {
    "offline": {"epochs": 2, "window": 2, "curate_every": 2, "validate_every": 3, "rounds": 2},
    "online": {"window": 1},
}


class Death:
    """Kills the process at its nth call."""

    def __init__(self, call):
        self.left = call

    def comes_nearer(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalGenerator(Generator):
    def __init__(self, death):
        super().__init__(cites=True)
        self.death = death

    def generate(self, request):
        self.death.comes_nearer()
        return super().generate(request)


class MortalOracle(Oracle):
    def __init__(self, death):
        super().__init__()
        self.death = death

    def generate(self, request):
        self.death.comes_nearer()
        return super().generate(request)


def compiled(mode, folder, death=0):
    """The report and the program of a compilation; at the nth call, death."""
    end = Death(death)
    optimizer = ACE(
        metric,
        folder,
        reflector=lm(MortalOracle(end), "oracle"),
        mode=mode,
        seed=5,
        refinement=Refinement(budget=30, policy="random", seed=5),
        **SETTINGS[mode],
    )
    with dspy.context(lm=lm(MortalGenerator(end), "generator"), num_threads=1):
        program = optimizer.compile(
            dspy.ChainOfThought(AnswerQuestion), trainset=examples(9), valset=examples(4, first=50)
        )
    return program, optimizer.report


def main():
    for mode, deaths in DEATHS.items():
        for death in deaths:
            child = os.fork()
            if child == 0:
                compiled(mode, Path(sys.argv[1]) / f"{mode}-{death}", death)
                os._exit(0)  # it did not die
            _, status = os.waitpid(child, 0)
            if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                sys.exit(f"{mode}-{death} ended with {status}")


if __name__ == "__main__":
    main()
