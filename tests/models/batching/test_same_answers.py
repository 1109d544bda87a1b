"""A batch gives each request the answer that it gets alone, whatever else is going on."""

import dataclasses
import os
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import ENDS, MODELS, VOCABULARY, WINDOW

from tiltyard.models.batching.batch import RunningBatch
from tiltyard.models.batching.limits import SMALLEST_STEP_SCORES, Limits
from tiltyard.models.batching.rows import BatchedRequest
from tiltyard.models.batching.stop_strings import StopStrings
from tiltyard.models.decoding import Decoding, decoded
from tiltyard.models.sequential import decode
from tiltyard.telemetry.inference import InferenceMeter

EXAMPLES = int(os.environ.get("TILTYARD_BATCHING_EXAMPLES", "20"))
"""Random batches for each model, of one to ten requests each."""
TIE = 1e-4
"""Logits of these models are a few units large; float32 keeps seven digits of sums over dozens of terms."""
SMALLER_STEPS = 5
"""How often steps can be halved where memory runs out: up to so many failures, no request may be given up."""


@dataclasses.dataclass
class Case:
    """A request, and after how many passes it comes in."""

    prompt: tuple[int, ...]
    how: Decoding
    share: bool
    arrival: int


@st.composite
def cases(draw):
    """Up to ten requests that share beginnings of several lengths, or nothing, in any order."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    trunk = [rng.randrange(VOCABULARY) for _ in range(WINDOW)]
    branches = [[rng.randrange(VOCABULARY) for _ in range(WINDOW)] for _ in range(3)]
    found = []
    for _ in range(draw(st.integers(1, 10))):
        common = draw(st.sampled_from([0, 1, 20, 50, 90]))
        branch = draw(st.sampled_from([0, 0, 30, 40]))
        own = draw(st.integers(0, 30))
        prompt = trunk[:common] + draw(st.sampled_from(branches))[:branch]
        prompt = (prompt + [rng.randrange(VOCABULARY) for _ in range(own)])[: WINDOW - 1] or [5]
        most = draw(st.sampled_from([1, 2, 9, 40, WINDOW]))
        letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=3)
        how = Decoding(
            max_tokens=min(most, WINDOW - len(prompt)),
            stop=tuple(draw(st.lists(letters, max_size=2))),
        )
        found.append(
            Case(tuple(prompt), how, draw(st.booleans()) or draw(st.booleans()), draw(st.integers(0, 12)))
        )
    return found


@st.composite
def tight_limits(draw):
    """From ample limits to such that rows are put back, prompts read in pieces and prefixes forgotten."""
    return Limits(
        batch_tokens=draw(st.sampled_from([150, 400, 10**6])),
        prefix_bytes=draw(st.sampled_from([0, 100_000, 10**9])),
        rows=draw(st.sampled_from([1, 3, 64])),
        step_tokens=draw(st.sampled_from([7, 64, 2048])),
        step_scores=draw(st.sampled_from([2000, 2**25])),
    )


def run_batch(model, layout, tokenizer, given_cases, limits, spoil=None):
    batch = RunningBatch(model, ENDS, layout, limits, InferenceMeter())
    requests = [
        BatchedRequest(
            case.prompt,
            case.how,
            share_prefix=case.share,
            stops=StopStrings(tokenizer, case.how.stop) if case.how.stop else None,
        )
        for case in given_cases
    ]
    waiting = sorted(zip(given_cases, requests, strict=True), key=lambda pair: pair[0].arrival)
    turn = 0
    with torch.inference_mode():
        while waiting or batch.busy:
            while waiting and (waiting[0][0].arrival <= turn or not batch.busy):
                batch.add(waiting.pop(0)[1])
            if spoil:
                spoil(turn)
            batch.turn()
            turn += 1
            assert turn < 20_000
    return requests


def same_or_tied(reference, prompt, alone, batched):
    """Whether two completions agree, or part where the reference's two likeliest tokens tie."""
    if alone == batched:
        return True
    at = next(
        (place for place, (one, other) in enumerate(zip(alone, batched, strict=False)) if one != other), None
    )
    if at is None:
        return False
    with torch.inference_mode():
        logits = reference(torch.tensor([[*prompt, *alone[:at]]])).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    print(f"parted at token {at}: {first} and {second}")  # noqa: T201 - shown where the test fails
    return first - second <= TIE * max(1.0, abs(first))


def alone_tokens(reference, case):
    """What transformers' own generate writes for a request by itself, stop strings left aside."""
    ids = torch.tensor([case.prompt])
    output = reference.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=case.how.max_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=list(ENDS),
    )
    return output[0, len(case.prompt) :].tolist()


def check_answer(reference, tokenizer, case, written):
    """The answer is the whole of the one that the request gets alone, unless a tie parted them."""
    tokens = list(written.tokens)
    found = decoded(tokenizer, tokens, case.how.stop, ENDS)
    # Also behind a tie, where nothing is left to compare with, an answer ends for a reason only.
    assert found.finish_reason == "stop" or len(tokens) == case.how.max_tokens
    whole = alone_tokens(reference, case)
    if not case.how.stop:
        assert same_or_tied(reference, case.prompt, whole, tokens)
        return
    assert same_or_tied(reference, case.prompt, whole[: len(tokens)], tokens)
    if whole[: len(tokens)] == tokens:
        # transformers' own loop, with the stop strings looked for in the whole text at each token
        assert found == decode(reference, tokenizer, case.prompt, case.how)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_cases=cases(), limits=tight_limits())
def test_greedy_answers_are_those_of_generate(built, tokenizer, name, given_cases, limits):
    model, layout, reference = built(name)

    requests = run_batch(model, layout, tokenizer, given_cases, limits)

    for case, request in zip(given_cases, requests, strict=True):
        check_answer(reference, tokenizer, case, request.future.result(timeout=0))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_cases=cases(), limits=tight_limits(), data=st.data())
def test_sampled_answers_depend_on_their_seed_alone(built, tokenizer, name, given_cases, limits, data):
    model, layout, reference = built(name)
    sampled = []
    for case in given_cases:
        how = dataclasses.replace(
            case.how,
            stop=(),
            temperature=data.draw(st.sampled_from([0.3, 1.0])),
            top_p=data.draw(st.sampled_from([0.7, 1.0])),
            top_k=data.draw(st.sampled_from([None, 20])),
            seed=data.draw(st.integers(0, 3)),
        )
        sampled.append(dataclasses.replace(case, how=how))

    requests = run_batch(model, layout, tokenizer, sampled, limits)

    for case, request in zip(sampled, requests, strict=True):
        written = request.future.result(timeout=0)
        assert (
            decoded(tokenizer, written.tokens, (), ENDS).text
            == decode(reference, tokenizer, case.prompt, case.how).text
        )


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_cases=cases(), failing=st.sets(st.integers(0, 15), min_size=1, max_size=SMALLER_STEPS))
def test_memory_that_runs_out_costs_no_answer(built, tokenizer, given_cases, failing):
    model, layout, reference = built("llama")
    forward = model.forward
    limits = Limits(
        batch_tokens=4000,
        prefix_bytes=10**8,
        rows=64,
        step_tokens=2048,
        step_scores=SMALLEST_STEP_SCORES << SMALLER_STEPS,
    )

    def spoil(turn):
        def fail(*args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        model.forward = fail if turn in failing else forward

    try:
        requests = run_batch(model, layout, tokenizer, given_cases, limits, spoil)
    finally:
        model.forward = forward

    for case, request in zip(given_cases, requests, strict=True):
        check_answer(reference, tokenizer, case, request.future.result(timeout=0))
