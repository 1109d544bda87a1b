"""The inference benchmarks of one model: what each measures, and against what.

>>> rows = list(Benchmark(options, placement, lm_eval).shared())
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import median

from inference_bound import bound, matrix_speed
from inference_cached import repeated
from inference_contest import Contestant, Outcome, Row, compete
from inference_program import MarkedQuestions, rendered
from inference_prompts import Prompt, described, different_prompts, own_tokens, shared_prompts
from inference_systems import (
    Generate,
    GenerateBatch,
    LmEval,
    LmEvalBatch,
    Placement,
    System,
    Tiltyard,
    Transformers,
)

from tiltyard.models.hardware import Hardware
from tiltyard.models.transformers_engine import transformers_model

AIMS = {
    ("A", "8m", "generate"): "≥ 9",
    ("A", "135m", "generate"): "≥ 11",
    ("A", "8m", "lm-eval"): "≥ 4",
    ("A", "135m", "lm-eval"): "≥ 5.5",
    ("B", "8m", "lm-eval"): "≥ 1.2",
    ("B", "135m", "lm-eval"): "≥ 1.2",
    ("C", "8m", "engine"): "≥ 0.85",
    ("C", "135m", "engine"): "≥ 0.85",
    ("D", "", "dspy"): "≤ 1.5",
    ("E", "135m", "first"): "≥ 20",
}
"""The ratios that Tiltyard is to reach."""

SHARED, OWN, WRITTEN = 540, 20, 32
"""Tokens of A's prompts and answers, and of C's, whose own part DSPy's reminder makes longer."""
LENGTHS, LIMITS = (20, 800), (1, 64)
"""Tokens of B's prompts and answers."""


class Benchmark:
    """The benchmarks of one model.

    Args:
        options: The command line's.
        placement: The model, and where it runs.
        lm_eval: The harness with that model, where there is one.
    """

    def __init__(self, options: argparse.Namespace, placement: Placement, lm_eval: LmEval | None) -> None:
        self.options = options
        self.size: str = options.size
        self.placement = placement
        self.lm_eval = lm_eval
        hardware = Hardware(device=placement.device, dtype=placement.dtype, threads=placement.threads)
        self.lm = transformers_model(
            id=str(placement.folder), hardware=hardware, max_tokens=WRITTEN, chat_template="none"
        )
        self.tiltyard = Tiltyard(self.lm.engine, options.threads)
        self.transformers = Transformers(placement)
        self.tokenizer = self.transformers.tokenizer

    def shared(self) -> Iterator[Row]:
        """A."""

        def prompts(seed: int) -> list[Prompt]:
            return shared_prompts(
                self.tokenizer,
                count=self.options.prompts,
                shared=SHARED,
                own=OWN,
                max_tokens=WRITTEN,
                seed=seed,
            )

        self._say("A", [prompt.rendered for prompt in prompts(0)])
        few = self.options.sample
        systems: list[tuple[System, int, str]] = [
            (self.tiltyard, self.options.prompts, ""),
            (Generate(self.transformers, 1), max(1, few // 2), "generate"),
            (Generate(self.transformers, 16), few, ""),
        ]
        if self.options.generate_batch:
            systems.append((GenerateBatch(self.transformers), few, ""))
        if self.lm_eval:
            systems.append((self.lm_eval.of(16), few, "lm-eval"))
        contestants = [self._contestant(system, prompts, count) for system, count, _ in systems]
        outcomes = compete(contestants, self.options.repeat)
        yield from self._rows("A", outcomes, [aim for _, _, aim in systems])
        yield self._bound(outcomes[0])

    def different(self) -> Iterator[Row]:
        """B."""

        def prompts(seed: int) -> list[Prompt]:
            return different_prompts(
                self.tokenizer, count=self.options.prompts, tokens=LENGTHS, max_tokens=LIMITS, seed=seed
            )

        self._say("B", [prompt.rendered for prompt in prompts(0)])
        systems: list[System] = [self.tiltyard]
        if self.lm_eval:
            systems.append(self._best_of_lm_eval(prompts(99)))
        contestants = [self._contestant(system, prompts, self.options.prompts) for system in systems]
        yield from self._rows("B", compete(contestants, self.options.repeat), ["", "lm-eval"])

    def program(self) -> Iterator[Row]:
        """C. The two get different prompts of one kind, since the second would profit from the first's.

        They are A's as nearly as DSPy's chat format allows: its reminder behind each question makes the part
        of their own longer.
        """
        count, threads = self.options.prompts, self.options.threads

        def task(seed: int) -> MarkedQuestions:
            return MarkedQuestions(self.tokenizer, shared=SHARED, own=OWN, seed=seed, max_tokens=WRITTEN)

        loads = [[rendered(request) for request in task(seed).requests(count)] for seed in (0, 1)]
        for load in loads:
            self._say("C", load)
        own = f"prompts' own tokens: {own_tokens(self.tokenizer, loads[0]):.0f}, A's: {OWN}"
        contestants = [
            Contestant(
                f"Tiltyard's evaluate, {threads} threads; {own}",
                lambda seed, count: task(2 * seed).evaluate(self.lm, count=count, threads=threads),
                count,
                warm_up=count,
            ),
            Contestant(
                f"the engine, {threads} threads; {own}",
                lambda seed, count: self.tiltyard.complete(task(2 * seed + 1).requests(count)),
                count,
                warm_up=count,
            ),
        ]
        outcomes = compete(contestants, self.options.repeat)
        yield from self._rows("C", outcomes, ["", "engine"], compare=False)

    def cached(self) -> Iterator[Row]:
        """E."""
        first, second = repeated(
            self.placement, self.tokenizer, examples=self.options.prompts, threads=self.options.threads
        )
        if not second.metrics.get("examples.cached"):
            print("E  not measured: the second run did not answer from a response cache")
            return
        yield Row("E", self.size, "repeated from the response cache", f"{second.seconds:.2f} s", "", "")
        yield Row(
            "E",
            self.size,
            "first run",
            f"{first.seconds:.2f} s",
            f"{first.seconds / second.seconds:.1f}",
            AIMS.get(("E", self.size, "first"), ""),
        )

    def _best_of_lm_eval(self, prompts: list[Prompt]) -> LmEvalBatch:
        """The harness at the batch size, and in the way, that is fastest for these prompts."""
        assert self.lm_eval is not None
        limits = [prompt.max_tokens for prompt in prompts]
        most_alike = max(map(limits.count, limits))
        sizes = sorted(self.options.batch_sizes)
        # It batches equal limits only: a size beyond their number changes nothing.
        own = [size for size in sizes if size < most_alike] + [s for s in sizes if s >= most_alike][:1]
        ways = [self.lm_eval.of(size) for size in own]
        ways += [self.lm_eval.of(size, one_limit=True) for size in sizes]
        rates = {}
        for way in ways:
            rates[way] = way.run(prompts).rate
            print(f"   looking for its best: {way.name}: {rates[way]:.2f} prompts/s", flush=True)
        return max(rates, key=lambda way: rates[way])

    def _contestant(self, system: System, prompts: Callable[[int], list[Prompt]], count: int) -> Contestant:
        warm_up = count if system is self.tiltyard else 2
        return Contestant(system.name, lambda seed, count: system.run(prompts(seed)[:count]), count, warm_up)

    def _rows(
        self, letter: str, outcomes: list[Outcome], aims: list[str], compare: bool = True
    ) -> Iterator[Row]:
        ours = outcomes[0]
        for outcome, aim in zip(outcomes, aims, strict=False):
            theirs = outcome is not ours
            if theirs and compare:
                # With one limit for all, an answer may go on; cut off, a character may be half there.
                pairs = zip(ours.texts, outcome.texts, strict=False)
                same = [other.startswith(own.rstrip("\ufffd")) for own, other in pairs]
                print(
                    f"   {outcome.name}: {sum(same)} of {len(same)} answers begin as Tiltyard's", flush=True
                )
            yield Row(
                letter,
                self.size,
                outcome.name,
                outcome.figure,
                f"{median(ours.rates) / median(outcome.rates):.2f}" if theirs else "",
                AIMS.get((letter, self.size, aim), ""),
            )

    def _bound(self, ours: Outcome) -> Row:
        speed = matrix_speed(self.placement.device, self.placement.dtype)
        limit = bound(
            self.transformers.model.config,
            shared=SHARED,
            own=OWN,
            written=WRITTEN,
            prompts=self.options.prompts,
            speed=speed,
        )
        name = f"floating-point bound at {speed / 1e9:.0f} GFLOP/s"
        return Row("A", self.size, name, f"{limit:.2f}", f"{median(ours.rates) / limit:.2f}", "")

    def _say(self, letter: str, texts: list[str]) -> None:
        print(f"{letter}, {self.size}: {described(self.tokenizer, texts)}", flush=True)
