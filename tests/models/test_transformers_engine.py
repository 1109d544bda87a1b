import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import dspy
import pytest
import torch
from dspy.lm15 import Config, Message, Request

from tiltyard.errors import InputError
from tiltyard.models.cached_engine import CachedEngine
from tiltyard.models.engine import max_concurrency, model_id, provenance
from tiltyard.models.hardware import Hardware
from tiltyard.models.response_cache import ResponseCache
from tiltyard.models.transformers_engine import transformers_model
from tiltyard.telemetry.usage import notes_of

CPU = Hardware(device="cpu", threads=1)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.getLogger("dspy.clients.lm"), "disabled", True)


@pytest.fixture
def gpt2_lm(gpt2_folder):
    def build(**options):
        return transformers_model(id=str(gpt2_folder), hardware=CPU, **{"max_tokens": 16, **options})

    return build


@pytest.fixture
def llama_lm(llama_folder):
    return transformers_model(id=str(llama_folder), hardware=CPU, max_tokens=16)


def greedy(weights, text, count, special):
    """What transformers' own generate answers, and the lengths of prompt and answer."""
    ids = weights.tokenizer(text, add_special_tokens=special, return_tensors="pt")
    output = weights.model.generate(
        input_ids=ids["input_ids"],
        attention_mask=ids["attention_mask"],
        do_sample=False,
        max_new_tokens=count,
        pad_token_id=0,
    )
    length = ids["input_ids"].shape[1]
    answer = output[0, length:]
    text = weights.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text, length, len(answer)


def test_an_answer_is_the_models_own_with_true_counts(gpt2, gpt2_lm):
    lm = gpt2_lm()
    text, read, written = greedy(gpt2, "User: What is the answer?\n\nAssistant:", 16, special=True)

    assert lm("What is the answer?") == [text]

    usage = lm.history[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (read, written)
    assert lm.history[-1]["response"].finish_reason == "length"


def test_a_chat_template_is_used_and_recorded(llama, llama_lm):
    prompt = "<|im_start|>user\nWhat is the answer?<|im_end|>\n<|im_start|>assistant\n"
    text, _, _ = greedy(llama, prompt, 16, special=False)

    assert llama_lm("What is the answer?") == [text]
    assert provenance(llama_lm)["chat_template"] == "tokenizer"


def test_the_chat_template_can_be_left_out(llama_folder, llama_lm):
    plain = transformers_model(id=str(llama_folder), hardware=CPU, max_tokens=16, chat_template="none")

    assert provenance(plain)["chat_template"] == "none"
    assert plain("What is the answer?") != llama_lm("What is the answer?")


def test_the_model_is_named_after_its_source(gpt2_folder, gpt2_lm):
    lm = gpt2_lm()

    assert model_id(lm) == str(gpt2_folder)
    assert provenance(lm)["weights"] == "folder"


def test_stop_strings_and_limits_of_a_call_hold(gpt2_lm):
    lm = gpt2_lm()
    whole = lm("Revenue", max_tokens=30)[0]
    stop = whole[5:9]

    assert lm("Revenue", max_tokens=30, stop=[stop]) == [whole[: whole.index(stop)]]
    assert lm.history[-1]["response"].finish_reason == "stop"

    lm("Revenue", max_tokens=3)
    assert lm.history[-1]["usage"]["completion_tokens"] == 3
    assert lm.history[-1]["response"].finish_reason == "length"


def test_a_limit_beyond_the_context_window_is_cut_to_what_is_left(gpt2_lm):
    lm = gpt2_lm(max_tokens=10_000)

    lm("word " * 40)

    usage = lm.history[-1]["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == 256
    assert lm.history[-1]["response"].finish_reason == "length"


def test_a_prompt_that_fills_the_window_is_an_error_that_names_both_lengths(gpt2_lm):
    lm = gpt2_lm()

    with pytest.raises(dspy.ContextWindowExceededError) as error:
        lm("word " * 500)

    assert "takes 256, answer included" in str(error.value)
    assert "the prompt has " in str(error.value)
    assert "\n" not in str(error.value)


def test_dspy_does_not_repeat_a_request_that_cannot_fit(gpt2_lm, monkeypatch):
    lm = gpt2_lm()
    calls = []
    generate = lm.engine.generate
    monkeypatch.setattr(lm.engine, "generate", lambda request: calls.append(request) or generate(request))

    with pytest.raises(dspy.ContextWindowExceededError):
        dspy.Predict("question -> answer")(question="word " * 500, lm=lm)

    assert len(calls) == 1


def test_eight_threads_get_the_answers_of_one(gpt2_lm):
    lm = gpt2_lm()
    prompts = [f"The question {number} is" for number in range(12)]
    alone = [lm(prompt) for prompt in prompts]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lm, prompts)) == alone


def test_a_sampled_request_draws_anew_and_a_new_run_draws_the_same(gpt2_lm):
    def run(seed):
        lm = gpt2_lm(temperature=1.0, seed=seed)
        return [lm("Revenue")[0], *lm("Revenue", n=3), lm.copy(rollout_id=1)("Revenue")[0]]

    first = run(seed=0)

    assert len(set(first)) == 5
    assert run(seed=0) == first
    assert run(seed=1) != first


def test_sampled_answers_of_threads_are_those_of_one(gpt2_lm):
    prompts = ["Revenue", "fever", "sensor"] * 4
    one, many = gpt2_lm(temperature=1.0), gpt2_lm(temperature=1.0)
    alone = sorted(one(prompt)[0] for prompt in prompts)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(answer[0] for answer in pool.map(many, prompts)) == alone


def test_a_requests_own_seed_decides_alone(gpt2_folder, gpt2_lm):
    def ask(lm, seed):
        config = Config(temperature=1.0, max_tokens=16, seed=seed)
        request = Request(model=lm.model, messages=(Message.user("Revenue"),), config=config)
        return lm.engine.generate(request).text

    lm = gpt2_lm(seed=0)

    assert ask(lm, 4) == ask(lm, 4) == ask(gpt2_lm(seed=1), 4)
    assert ask(lm, 4) != ask(lm, 5)
    assert lm("Revenue", temperature=1.0, seed=4) == [ask(lm, 4)]


def test_sampling_leaves_the_callers_random_numbers_alone(gpt2_lm):
    lm = gpt2_lm(temperature=1.0)
    state = torch.random.get_rng_state()

    lm("Revenue")

    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_a_local_model_cannot_do_is_refused(gpt2_lm):
    lm = gpt2_lm()

    with pytest.raises(dspy.LMUnsupportedFeatureError, match="does not support frequency_penalty"):
        lm("Revenue", frequency_penalty=0.5)
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="does not support logit_bias"):
        lm("Revenue", logit_bias={"5": 1})


def test_many_requests_are_answered_at_once(gpt2_lm):
    assert max_concurrency(gpt2_lm()) == 64


def test_copies_of_a_program_share_the_engine(gpt2_lm):
    program = dspy.Predict("question -> answer")
    program.set_lm(gpt2_lm())

    copied = program.deepcopy()

    assert copied.get_lm().engine is program.get_lm().engine


def test_streams_end_with_the_whole_answer(gpt2_lm):
    lm = gpt2_lm()
    request = Request(model=lm.model, messages=(Message.user("Revenue"),))

    events = list(lm.engine.stream(request))

    assert "".join(event.delta.text for event in events if event.type == "delta") == lm("Revenue")[0]


def test_an_absent_device_is_told_before_any_weights_are_looked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(InputError, match="hardware=cuda"):
        transformers_model(id="no-such-model", hardware=Hardware(device="cuda"))


def test_seeds_share_kept_greedy_answers_and_no_sampled_ones(gpt2_lm, tmp_path):
    """The model's identity, which is one for all seeds, is half of the key; requests are the other."""

    def answers(seed):
        engine = CachedEngine(gpt2_lm(seed=seed).engine, cache, "one model")
        return [engine.complete(ask(temperature)) for temperature in (0.0, 1.5)]

    def ask(temperature):
        messages = (Message.user("What is the answer?"),)
        return Request(model="m", messages=messages, config=Config(temperature=temperature, max_tokens=16))

    def kept(responses):
        return [notes_of(response).get("cached", False) for response in responses]

    with closing(ResponseCache(tmp_path, 100)) as cache:
        first, second, first_again = answers(0), answers(1), answers(0)
    assert [kept(first), kept(second), kept(first_again)] == [[False, False], [True, False], [True, True]]
    assert second[0].text == first[0].text
    assert second[1].text != first[1].text == first_again[1].text
