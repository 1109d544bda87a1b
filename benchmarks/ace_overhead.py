"""What ACE costs beside the models: its own time for each step, on models that answer at once.

    $ python benchmarks/ace_overhead.py --steps 200

A step is one example that is answered wrong, one lesson, and one rule that the curator adds; checkpoints are
written. The same calls of the same models with prompts of the same length are then made by DSPy alone: the
difference is ACE's own. It is processor time, of which other programs on the machine take none. A step's is
what twice as many steps take longer, so that beginning and end do not count; the best round of each counts.
"""

import argparse
import gc
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Request

from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.ace.teleprompter import ACE
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer, listed, with_playbook
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tasks.task import Score

PASSAGE = "A passage of the length that passages have. " * 20


class NullEngine(TextEngine):
    """Answers wrong, states a new rule each time, and adds it, all at once."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def generate(self, request: Request) -> Completion:
        """The reply that the prompt asks for."""
        asked = message_text(request.messages[-1])
        if "[[ ## operations ## ]]" in asked:
            rule = asked.split("[[ ## lesson ## ]]\n")[1].split("\n")[0]
            text = f"[[ ## operations ## ]]\nADD codes: {rule}"
        elif "[[ ## lesson ## ]]" in asked:
            text = f"[[ ## lesson ## ]]\n{rule_of(next(self._numbers))}"
        else:
            text = "[[ ## answer ## ]]\n41"
        return Completion(f"{text}\n\n[[ ## completed ## ]]", 100, 10)


def rule_of(number: int) -> str:
    """A rule like no other."""
    return f"Write code{number:05d} before the amounts of department {number * 7919 % 100_003}."


def metric(example: dspy.Example, prediction: dspy.Prediction, *further: Any) -> Score:
    """Whether the answers are equal."""
    return Score(float(example.answer == prediction.answer), f"Expected '{example.answer}'.")


def playbook_of(entries: int) -> Playbook:
    """A playbook with so many rules, none of which the engine will state."""
    playbook = Playbook()
    for number in range(entries):
        playbook.apply(Add("codes", rule_of(50_000 + number)), step=0)
    return playbook


def examples(count: int) -> list[dspy.Example]:
    """Questions whose answer is 42."""
    return [
        dspy.Example(id=str(number), question=f"What is {number}?", context=PASSAGE, answer="42").with_inputs(
            "question", "context"
        )
        for number in range(count)
    ]


def seconds_of_ace(train: list[dspy.Example], entries: int, selection: str) -> float:
    """How long ACE takes, from a playbook of so many entries on."""
    student = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(entries))
    limits = {"selection": "relevant", "k": 10} if selection == "relevant" else {}
    with tempfile.TemporaryDirectory() as folder:
        optimizer = ACE(metric, Path(folder), refinement=Refinement(budget=None), **limits)  # type: ignore[arg-type]
        start = time.process_time()
        optimizer.compile(student, trainset=train)
        return time.process_time() - start


def seconds_of_calls(train: list[dspy.Example], entries: int, selection: str) -> float:
    """How long DSPy takes for the same calls; the playbook grows by a rule a step, as it does with ACE."""
    shown = playbook_of(10 if selection == "relevant" else entries).contents()
    reflect, curate = dspy.Predict(ReflectOnAnswer), dspy.Predict(CuratePlaybook)
    start = time.process_time()
    for number, example in enumerate(train):
        answer = dspy.Predict(with_playbook(AnswerQuestion, shown))
        prediction = answer(**example.inputs())
        score = metric(example, prediction)
        lesson = reflect(
            task=f"question: {example.question}\ncontext: {example.context}",
            answer=prediction.answer,
            expected=example.answer,
            feedback=score.feedback,
        ).lesson
        curate(playbook=listed(shown), lesson=lesson)
        if selection == "all":
            shown[f"k{entries + number + 1}"] = lesson
    return time.process_time() - start


def main() -> None:
    """Print milliseconds per step, with ACE and without, for several sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entries", type=int, nargs="+", default=[0, 100, 1000])
    options = parser.parse_args()

    short, long = examples(options.steps), examples(2 * options.steps)
    print(f"{options.steps} steps, best of {options.rounds} rounds; milliseconds a step")
    print(f"{'selection':<10}{'entries':>8}{'with ACE':>10}{'calls alone':>13}{'ACE itself':>12}{'ratio':>7}")
    for selection, entries in itertools.product(("all", "relevant"), options.entries):
        with dspy.context(lm=engine_lm("local/null", NullEngine()), num_threads=1):
            seconds_of_ace(short[:3], entries, selection)
            rounds = []
            for _ in range(options.rounds):
                gc.collect()
                rounds.append(
                    [
                        measure(train, entries, selection)
                        for measure in (seconds_of_ace, seconds_of_calls)
                        for train in (short, long)
                    ]
                )
        ace_short, ace_long, calls_short, calls_long = map(min, zip(*rounds, strict=True))
        ours = 1000 * (ace_long - ace_short) / options.steps
        calls = 1000 * (calls_long - calls_short) / options.steps
        print(
            f"{selection:<10}{entries:>8}{ours:>10.2f}{calls:>13.2f}{ours - calls:>12.2f}{ours / calls:>7.2f}"
        )


if __name__ == "__main__":
    main()
