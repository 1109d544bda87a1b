"""Small real models: a GPT-2 without a chat template and a Llama with one, saved as users save theirs."""

import json

import pytest
from huggingface_hub import constants

from tiltyard.models.hardware import Placement
from tiltyard.models.weights import SHARED, read_weights

TEXT = """
The quick brown fox jumps over the lazy dog. Revenue was 120.5 million in 2019 and 98 million in 2018.
What is the answer to the question? The answer is 42, and the sensor of the pump reads 7.2 mm/s.
System User Assistant: a patient of 54 years comes to the emergency department with fever and cough.
"""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

CPU = Placement(device="cpu", dtype="float32", threads=1)


def train_tokenizer(special, **options):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def build(model_class, config):
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return model_class(config)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer(["<|endoftext|>"], eos_token="<|endoftext|>")
    # Wide initial weights: a greedy answer then visits many tokens instead of repeating one.
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.6,
    )
    build(GPT2LMHeadModel, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = train_tokenizer(
        ["<s>", "<|im_start|>", "<|im_end|>"], bos_token="<s>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.6,
        tie_word_embeddings=False,
    )
    build(LlamaForCausalLM, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2(gpt2_folder):
    return read_weights(str(gpt2_folder), placement=CPU)


@pytest.fixture(scope="session")
def llama(llama_folder):
    return read_weights(str(llama_folder), placement=CPU)


@pytest.fixture
def cpu():
    return CPU


@pytest.fixture
def fresh_memory():
    """Nothing is shared with the tests before."""
    SHARED.clear()
    return SHARED


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty Hub cache, and a function that puts a folder's model into it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def put(repo, folder, commit="c0ffee" * 6 + "c0ff", skip=()):
        entry = tmp_path / f"models--{repo.replace('/', '--')}"
        snapshot = entry / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (entry / "refs").mkdir()
        (entry / "refs" / "main").write_text(commit)
        for file in folder.iterdir():
            if file.name not in skip:
                (snapshot / file.name).write_bytes(file.read_bytes())
        return commit

    return put


@pytest.fixture
def edit_json():
    def edit(path, **changes):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit
