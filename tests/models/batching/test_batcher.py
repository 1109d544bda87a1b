"""Threads ask at once and wait for nothing but the model; nobody waits for ever, and nothing stays behind."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest
import torch
from small_models import ENDS, MODELS, VOCABULARY, Letters

from tiltyard.models.batching import batcher as module
from tiltyard.models.batching.batcher import Batcher
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.support import examine
from tiltyard.models.decoding import Decoding
from tiltyard.models.hardware import Hardware
from tiltyard.models.sequential import decode
from tiltyard.models.transformers_engine import transformers_model
from tiltyard.models.weights import SHARED
from tiltyard.telemetry.inference import InferenceMeter

SOON = 0.3
"""Seconds; less than the working thread lingers, and far more than a pass of these models takes."""
AMPLE = Limits(batch_tokens=10**6, prefix_bytes=10**8, rows=64, step_tokens=2048, step_scores=2**25)


def a_batcher(model=None):
    if model is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = MODELS["llama"]().eval()
    meter = InferenceMeter()
    layout = examine(model)
    return Batcher(model, Letters(), layout=layout, limits=AMPLE, meter=meter, threads=1), meter, model


@pytest.fixture
def batcher():
    found, meter, model = a_batcher()
    return found, meter, model


def prompt(number):
    return [(11 * at) % VOCABULARY for at in range(50)] + [number, number // 2 + 3]


HOW = Decoding(max_tokens=20, stop=("xy", "q"))


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "inference"]


def test_many_threads_get_the_answers_that_each_gets_alone(batcher, built, tokenizer):
    found, meter, _ = batcher
    _, _, reference = built("llama")
    numbers = range(64)
    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda number: found.complete(prompt(number), HOW), numbers))

    for number, answer in zip(numbers, answers, strict=True):
        expected = decode(reference, tokenizer, prompt(number), HOW)
        assert (answer.text, answer.tokens, answer.finish_reason) == (
            expected.text,
            expected.tokens,
            expected.finish_reason,
        )
    done = meter.snapshot()
    assert done.prompt_tokens == 64 * 52
    assert len(done.first_token_ms) == 64
    assert done.metrics()["inference.mean_batch"] > 2


def test_a_lone_request_starts_at_once(batcher):
    found, meter, _ = batcher
    found.complete(prompt(0), Decoding(max_tokens=1))  # warms torch up
    for number in range(5):
        found.complete(prompt(number), Decoding(max_tokens=1))
        time.sleep(0.02)  # the working thread is idle in between

    assert sorted(meter.snapshot().first_token_ms)[2] < 1000 * SOON / 3


def test_a_request_joins_those_that_run(batcher):
    """It does not wait until they have their answers."""
    found, _, model = batcher
    plain, running, finished = model.forward, threading.Event(), []

    def slow(*args, **inputs):
        running.set()
        time.sleep(0.01)
        return plain(*args, **inputs)

    model.forward = slow
    endless = Decoding(max_tokens=100)
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(lambda: finished.append(("long", found.complete(prompt(1), endless))))
        running.wait(5)
        threads.submit(lambda: finished.append(("short", found.complete(prompt(2), Decoding(max_tokens=1)))))
        long.result(20)

    assert finished[-1][1].tokens > 20
    assert [name for name, _ in finished] == ["short", "long"]


def test_errors_reach_the_caller_and_the_next_request_is_answered(batcher):
    found, _, model = batcher
    plain = model.forward

    def broken(*_, **__):
        raise ValueError("a broken kernel")

    model.forward = broken
    with pytest.raises(ValueError, match="a broken kernel"):
        found.complete(prompt(1), HOW)
    model.forward = plain

    assert found.complete(prompt(1), HOW).tokens >= 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_working_thread_that_dies_lets_nobody_wait(batcher):
    found, _, model = batcher
    plain = model.forward

    def exits(*_, **__):
        raise SystemExit("some library ends the thread")

    model.forward = exits
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(found.complete, prompt(number), HOW) for number in range(8)]
        assert all(isinstance(one.exception(timeout=10), SystemExit) for one in asked)
    model.forward = plain

    assert found.complete(prompt(1), HOW).tokens >= 1


def test_a_thread_that_cannot_start_is_an_error_and_no_trap(batcher, monkeypatch):
    found, _, _ = batcher

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            found.complete(prompt(1), HOW)

    assert found.complete(prompt(1), HOW).tokens >= 1


def test_the_thread_ends_and_a_second_burst_starts_another(batcher, monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.02)
    found, _, _ = batcher
    first = found.complete(prompt(1), HOW)
    end = time.monotonic() + 5
    while workers() and time.monotonic() < end:
        time.sleep(0.01)
    assert not workers()

    with ThreadPoolExecutor(4) as threads:
        again = list(threads.map(lambda _: found.complete(prompt(1), HOW), range(4)))

    assert {answer.text for answer in again} == {first.text}


def test_bursts_at_the_moment_the_thread_ends_lose_nothing(batcher, monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.001)
    found, _, _ = batcher
    expected = found.complete(prompt(1), Decoding(max_tokens=1)).text
    with ThreadPoolExecutor(4) as threads:

        def often(pause):
            answers = set()
            for _ in range(40):
                answers.add(found.complete(prompt(1), Decoding(max_tokens=1)).text)
                time.sleep(pause)
            return answers

        answers = list(threads.map(often, [0.0, 0.0005, 0.001, 0.0015], timeout=60))

    assert answers == [{expected}] * 4


def test_a_model_that_nobody_asks_any_more_goes_at_once():
    found, _, model = a_batcher()
    found.complete(prompt(1), HOW)
    gone = weakref.ref(model)

    del found, model
    gc.collect()

    assert gone() is None, "the idle working thread holds the model"
    end = time.monotonic() + 5
    while workers() and time.monotonic() < end:
        time.sleep(0.01)
    assert not workers()


@pytest.fixture
def lms(llama_folder, fresh_memory):
    def build(count, **options):
        hardware = Hardware(device="cpu", threads=1)
        return [
            transformers_model(id=str(llama_folder), hardware=hardware, max_tokens=12, **options)
            for _ in range(count)
        ]

    return build


def test_awaited_calls_share_a_batch(lms):
    (lm,) = lms(1)
    texts = [f"What is {number}?" for number in range(20)]
    expected = [lm(text) for text in texts]
    before = lm.engine.inference()

    async def ask():
        return await asyncio.gather(*(lm.acall(text) for text in texts))

    assert asyncio.run(ask()) == expected
    assert lm.engine.inference().since(before).metrics()["inference.mean_batch"] > 2


def test_several_models_of_one_name_share_a_batch(lms):
    one, other = lms(2)
    texts = [f"What is {number}?" for number in range(12)]
    expected = [one(text) for text in texts]
    before = one.engine.inference()
    with ThreadPoolExecutor(24) as threads:
        first = [threads.submit(one, text) for text in texts]
        second = [threads.submit(other, text) for text in texts]

    assert [answer.result() for answer in first] == expected
    assert [answer.result() for answer in second] == expected
    done = one.engine.inference().since(before)
    assert len(done.first_token_ms) == 24
    assert other.engine.inference() == one.engine.inference()


def test_programs_in_threads_share_a_batch(lms):
    (lm,) = lms(1)
    program = dspy.Predict("question -> answer")

    def ask(number):
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            try:
                program(question=f"What is {number}?")
            except dspy.utils.exceptions.AdapterParseError:
                return "noise"
        return "answer"

    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(ask, range(8), timeout=60))) == 8
    done = lm.engine.inference()
    assert done.cached_tokens > 0.5 * done.prompt_tokens


def test_another_model_takes_the_place_of_the_last(lms):
    (lm,) = lms(1)
    lm("What is 1?")
    gone = weakref.ref(lm.engine._weights.model)

    del lm
    SHARED.clear()
    gc.collect()

    assert gone() is None


SCRIPT = """
    import os, signal, sys, threading
    sys.path.insert(0, {folder!r})
    import torch
    from small_models import MODELS, Letters
    from tiltyard.models.batching.batcher import Batcher
    from tiltyard.models.batching.limits import Limits
    from tiltyard.models.batching.support import examine
    from tiltyard.models.decoding import Decoding
    from tiltyard.telemetry.inference import InferenceMeter

    model = MODELS["llama"]().eval()
    model.generation_config.eos_token_id = None  # a random model may end at once
    limits = Limits(10**6, 10**8, 64, 2048, 2**25)
    batcher = Batcher(
        model, Letters(), layout=examine(model), limits=limits, meter=InferenceMeter(), threads=1
    )
    plain = model.forward

    def slow(*args, **inputs):
        for _ in range(30):
            torch.randn(200, 200) @ torch.randn(200, 200)
        return plain(*args, **inputs)

    model.forward = slow
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        batcher.complete(list(range(10)), Decoding(max_tokens=10**6))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_program_ends_in_order():
    """A thread that the interpreter cuts off in the middle of torch would abort the process."""
    script = textwrap.dedent(SCRIPT.format(folder=str(Path(__file__).parent)))

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False
    )

    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_the_end_tokens_are_the_models(batcher):
    found, _, _ = batcher
    for number in range(30):
        answer = found.complete(prompt(number), Decoding(max_tokens=60))
        if answer.finish_reason == "stop":
            assert answer.tokens <= 60
            return
    pytest.fail(f"no answer ended with one of {ENDS}")
