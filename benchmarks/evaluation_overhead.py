"""What an evaluation costs beside the model: our evaluate against dspy.Evaluate on a model that is free.

    $ python benchmarks/evaluation_overhead.py --examples 2000 --threads 4

Both run the same program, examples and metric in the same process, in turns, after a warm-up; the best of the
rounds counts, since noise only ever adds time. Ours writes the rows, latencies and token counts as well, and
the journal that lets an interrupted evaluation go on.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Request

from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.journal import TrialJournal
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.engine import Completion, TextEngine
from tiltyard.tasks.task import Score, Splits
from tiltyard.telemetry.latency import LatencyRecorder


class NullEngine(TextEngine):
    """Answers at once, whatever is asked."""

    def generate(self, request: Request) -> Completion:
        """The same answer to everything."""
        return Completion("[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]", 100, 10)


class NullTask:
    """Questions whose answer is 42."""

    domain = "none"
    signature = dspy.Signature("question, context -> answer")
    program = dspy.Predict

    def splits(self, seed: int, limit: int | None) -> Splits:
        """The test split only: ``limit`` questions with a passage each."""
        passage = "A passage of the length that passages have. " * 20
        test = [
            dspy.Example(
                id=str(number), question=f"What is {number}?", context=passage, answer="42"
            ).with_inputs("question", "context")
            for number in range(limit or 0)
        ]
        return Splits(train=[], validation=[], test=test)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Score:
        """Whether the answers are equal."""
        return Score(float(example.answer == prediction.answer), "")

    def gold(self, example: dspy.Example) -> str:
        """The gold answer."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """The predicted answer."""
        return str(prediction.answer)


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Print milliseconds per example of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    task = NullTask()
    examples = task.splits(seed=0, limit=options.examples).test
    program = task.program(task.signature)
    lm = dspy.LM("local/null", engine=NullEngine(), cache=False)
    theirs = dspy.Evaluate(
        devset=examples, metric=task.metric, num_threads=options.threads, display_progress=False
    )

    def run_ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            evaluate(
                program,
                examples,
                task,
                lm=lm,
                labels=RowLabels("null", "null", "baseline"),
                threads=options.threads,
                latencies=LatencyRecorder(),
                folder=Path(folder),
                progress=False,
                journal=TrialJournal(Path(folder) / "journal.jsonl", program),
            )

    def run_theirs() -> None:
        with dspy.context(lm=lm):
            theirs(program)

    run_ours()
    run_theirs()
    times = [(seconds(run_ours), seconds(run_theirs)) for _ in range(options.rounds)]
    ours, dspys = (1000 * min(column) / len(examples) for column in zip(*times, strict=True))
    print(f"{options.examples} examples, {options.threads} threads, best of {options.rounds} rounds")
    print(f"tiltyard evaluate  {ours:.3f} ms per example")
    print(f"dspy.Evaluate      {dspys:.3f} ms per example")
    print(f"ratio              {ours / dspys:.2f}")


if __name__ == "__main__":
    main()
