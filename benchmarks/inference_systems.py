"""The systems that the inference benchmark compares: each answers prompts and says how long it took.

>>> system = Generate(model, batch=16)
>>> answers = system.run(prompts)
>>> answers.seconds, answers.texts
(9.1, […])
"""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from dspy.lm15 import Request
from inference_prompts import Prompt

from tiltyard.models.engine import message_text
from tiltyard.models.threads import apart


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs."""

    folder: Path
    device: str
    dtype: str
    threads: int


@dataclass(frozen=True)
class Answers:
    """What a system wrote, and how long it took."""

    seconds: float
    texts: Sequence[str]
    reused: float | None = None
    """The share of prompt tokens whose computation was reused; None where that is not told."""

    @property
    def rate(self) -> float:
        """Prompts a second."""
        return len(self.texts) / self.seconds


class System(Protocol):
    """Something that answers prompts."""

    name: str

    def run(self, prompts: Sequence[Prompt]) -> Answers:
        """Answer the prompts."""


def timed(action: Callable[[], Sequence[str]]) -> Answers:
    """The texts that an action makes, with its time.

    It runs in a thread that ends with it, as Tiltyard's batch does: the helper threads that torch leaves with
    a thread that lives on would slow down whoever comes next.
    """

    def run() -> Answers:
        start = time.perf_counter()
        texts = action()
        return Answers(time.perf_counter() - start, texts)

    return apart(run)


class Tiltyard:
    """Tiltyard's engine, asked by many threads at once.

    Args:
        engine: The engine of a model.
        threads: How many requests are in flight.
    """

    def __init__(self, engine: Any, threads: int) -> None:
        self.name = f"Tiltyard, {threads} threads"
        self._engine = engine
        self._threads = threads

    def run(self, prompts: Sequence[Prompt]) -> Answers:
        """Answer the prompts, ``threads`` at a time."""
        return self.complete([prompt.request for prompt in prompts])

    def complete(self, requests: Sequence[Request]) -> Answers:
        """Answer requests, ``threads`` at a time."""
        with ThreadPoolExecutor(self._threads) as pool:
            start = time.perf_counter()
            responses = list(pool.map(self._engine.complete, requests))
            seconds = time.perf_counter() - start
        usages = [response.usage for response in responses]
        reused = sum(usage.cache_read_tokens or 0 for usage in usages)
        texts = [message_text(response.message) for response in responses]
        return Answers(seconds, texts, reused / sum(usage.input_tokens for usage in usages))


class Transformers:
    """A model of our own for transformers' ways to generate; Tiltyard's is left alone.

    Args:
        placement: Where it runs.
    """

    def __init__(self, placement: Placement) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(placement.folder, padding_side="left")
        dtype = getattr(torch, placement.dtype)
        self.model: Any = apart(lambda: AutoModelForCausalLM.from_pretrained(placement.folder, dtype=dtype))
        self.model = self.model.to(placement.device).eval()

    def decode(self, ids: Any) -> str:
        """The text of tokens that a model wrote."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text


class Generate:
    """transformers' ``generate``, in batches that are padded and wait for their longest answer.

    Args:
        transformers: The model.
        batch: Prompts in a batch, in the order in which they come; 1 is one at a time.
    """

    def __init__(self, transformers: Transformers, batch: int) -> None:
        self.name = f"generate, batch of {batch}" if batch > 1 else "generate, one at a time"
        self._of = transformers
        self._batch = batch

    def run(self, prompts: Sequence[Prompt]) -> Answers:
        """Answer the prompts batch by batch."""
        batches = [prompts[at : at + self._batch] for at in range(0, len(prompts), self._batch)]
        return timed(lambda: [text for batch in batches for text in self._answer(batch)])

    def _answer(self, prompts: Sequence[Prompt]) -> list[str]:
        import torch

        encoded = self._of.tokenizer(
            [prompt.rendered for prompt in prompts], padding=True, return_tensors="pt"
        )
        inputs = {key: encoded[key].to(self._of.model.device) for key in ("input_ids", "attention_mask")}
        limit = max(prompt.max_tokens for prompt in prompts)
        with torch.inference_mode():
            output = self._of.model.generate(**inputs, max_new_tokens=limit, do_sample=False)
        width = inputs["input_ids"].shape[1]
        return [
            self._of.decode(row[width : width + prompt.max_tokens])
            for row, prompt in zip(output, prompts, strict=True)
        ]


class GenerateBatch:
    """transformers' ``generate_batch``: its own continuous batching over a paged cache."""

    name = "generate_batch"

    def __init__(self, transformers: Transformers) -> None:
        self._of = transformers

    def run(self, prompts: Sequence[Prompt]) -> Answers:
        """Hand over all prompts at once; they have one limit, the first one's."""
        from transformers import GenerationConfig

        end = self._of.tokenizer.eos_token_id
        config = GenerationConfig(
            max_new_tokens=prompts[0].max_tokens, do_sample=False, eos_token_id=end, pad_token_id=end
        )

        def answer() -> list[str]:
            inputs = [self._of.tokenizer(prompt.rendered)["input_ids"] for prompt in prompts]
            outputs = self._of.model.generate_batch(inputs=inputs, generation_config=config)
            return [self._of.decode(output.generated_tokens) for output in outputs.values()]

        return timed(answer)


class LmEval:
    """lm-evaluation-harness's ``hf`` model, in a process of its own environment.

    Args:
        python: The environment's interpreter.
        placement: Where the model runs.
    """

    def __init__(self, python: Path, placement: Placement) -> None:
        script = Path(__file__).with_name("inference_lm_eval.py")
        arguments = {
            "--model": placement.folder,
            "--device": placement.device,
            "--dtype": placement.dtype,
            "--threads": placement.threads,
        }
        command = [str(python), str(script), *(str(part) for pair in arguments.items() for part in pair)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def of(self, batch: int, one_limit: bool = False) -> "LmEvalBatch":
        """The harness with a batch size."""
        return LmEvalBatch(self, batch, one_limit)

    def answer(self, batch: int, prompts: Sequence[tuple[str, int]]) -> Answers:
        """Answer rendered prompts, each with its limit."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps({"batch_size": batch, "prompts": prompts}), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"lm-eval's process ended with exit code {self._child.wait()}: run it by hand")
        return Answers(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()


class LmEvalBatch:
    """lm-evaluation-harness with one batch size.

    It batches only requests whose limits are equal. With ``one_limit`` all get the largest, which makes
    whole batches and writes more tokens than were asked for.
    """

    def __init__(self, process: LmEval, batch: int, one_limit: bool) -> None:
        self.batch = batch
        self.name = f"lm-eval, batch of {batch}" + (", one limit for all" if one_limit else "")
        self._process = process
        self._one_limit = one_limit

    def run(self, prompts: Sequence[Prompt]) -> Answers:
        """Answer the prompts."""
        largest = max(prompt.max_tokens for prompt in prompts)
        return self._process.answer(
            self.batch,
            [(prompt.rendered, largest if self._one_limit else prompt.max_tokens) for prompt in prompts],
        )
