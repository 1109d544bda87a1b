import copy

import pytest
import torch

from tiltyard.models.decoding import Decoding
from tiltyard.models.sequential import decode
from tiltyard.models.threads import use_threads


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    use_threads(1)
    yield
    use_threads(None)


@pytest.fixture(params=["gpt2", "llama"])
def weights(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def generation_config(weights):
    shipped = copy.deepcopy(weights.model.generation_config)
    yield weights.model.generation_config
    weights.model.generation_config = shipped


def encode(weights, text="The answer to the question is"):
    return weights.tokenizer(text)["input_ids"]


def reference(weights, prompt, **options):
    """What transformers' own generate writes."""
    ids = torch.tensor([prompt])
    output = weights.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **options
    )
    return output[0, len(prompt) :].tolist()


def text_of(weights, tokens):
    return weights.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def run(weights, prompt, **how):
    return decode(weights.model, weights.tokenizer, prompt, Decoding(**{"max_tokens": 24, **how}))


@pytest.mark.parametrize("prompt", ["The answer to the question is", "Revenue", "fever and cough. " * 8])
def test_greedy_is_transformers_own_token_for_token(weights, prompt):
    ids = encode(weights, prompt)
    tokens = reference(weights, ids, max_new_tokens=24)

    decoded = run(weights, ids)

    assert decoded.text == text_of(weights, tokens)
    assert decoded.tokens == len(tokens)


def test_a_checkpoints_repetition_penalty_holds_and_its_sampling_does_not(weights, generation_config):
    ids = encode(weights)
    generation_config.repetition_penalty = 1.8
    penalised = text_of(weights, reference(weights, ids, max_new_tokens=24))
    generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.8)

    assert run(weights, ids).text == penalised


def test_the_limit_is_told(weights):
    decoded = run(weights, encode(weights), max_tokens=5)

    assert (decoded.tokens, decoded.finish_reason) == (5, "length")


@pytest.mark.parametrize("as_list", [True, False])
def test_an_end_token_stops_and_counts(weights, generation_config, as_list):
    ids = encode(weights)
    tokens = reference(weights, ids, max_new_tokens=24)
    end = next(token for position, token in enumerate(tokens) if position >= 3)
    position = tokens.index(end)
    generation_config.eos_token_id = [end] if as_list else end

    decoded = run(weights, ids)

    assert (decoded.tokens, decoded.finish_reason) == (position + 1, "stop")


def test_the_tokenizers_end_token_stops_where_the_checkpoint_names_another(weights, generation_config):
    ids = encode(weights)
    end = reference(weights, ids, max_new_tokens=4)[-1]
    generation_config.eos_token_id = weights.model.config.vocab_size - 1
    tokenizer = copy.deepcopy(weights.tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)

    assert decode(weights.model, tokenizer, ids, Decoding(max_tokens=24)).finish_reason == "stop"


def test_the_text_ends_before_a_stop_string_that_spans_tokens(weights):
    ids = encode(weights)
    whole = run(weights, ids, max_tokens=40)
    stop = whole.text[6:11]
    cut = whole.text.index(stop)

    decoded = run(weights, ids, max_tokens=40, stop=("never written", stop))

    assert decoded.text == whole.text[:cut]
    assert decoded.finish_reason == "stop"
    assert decoded.tokens < whole.tokens


def test_the_earliest_of_several_stop_strings_counts(weights):
    ids = encode(weights)
    whole = run(weights, ids, max_tokens=40).text

    decoded = run(weights, ids, max_tokens=40, stop=(whole[8:13], whole[5:13]))

    assert decoded.text == whole[: min(whole.index(whole[8:13]), whole.index(whole[5:13]))]


def test_a_seed_decides_the_sample_and_the_global_generator_does_not(weights):
    ids = encode(weights)
    torch.manual_seed(1)
    first = run(weights, ids, temperature=1.0, seed=5)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()

    again = run(weights, ids, temperature=1.0, seed=5)

    assert again == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert run(weights, ids, temperature=1.0, seed=6).text != first.text


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_sampling_from_one_token_is_greedy(weights, narrow):
    ids = encode(weights)

    assert run(weights, ids, **{"temperature": 1.0, "seed": 3, **narrow}) == run(weights, ids)


def test_sampled_frequencies_follow_the_models_probabilities(weights):
    ids = encode(weights)
    with torch.inference_mode():
        logits = weights.model(torch.tensor([ids])).logits[0, -1]
    probabilities = (logits / 2).softmax(-1)
    likeliest = text_of(weights, [int(probabilities.argmax())])
    written_alike = [text_of(weights, [token]) == likeliest for token in range(len(probabilities))]
    probability = float(probabilities[torch.tensor(written_alike)].sum())

    drawn = [run(weights, ids, max_tokens=1, temperature=2.0, seed=seed).text for seed in range(200)]

    assert drawn.count(likeliest) / 200 == pytest.approx(probability, abs=0.12)
