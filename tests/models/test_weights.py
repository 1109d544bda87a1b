import gc
import logging
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from huggingface_hub import HfApi
from transformers import AutoModelForCausalLM

from tiltyard.errors import InputError
from tiltyard.models.weights import load_weights

pytestmark = pytest.mark.usefixtures("fresh_memory")


@pytest.fixture
def loads(caplog):
    """The log lines of weights that were loaded."""
    caplog.set_level(logging.INFO, logger="tiltyard.models.weights")
    return lambda: [line for line in caplog.messages if line.startswith("Loaded weights of")]


@pytest.fixture
def folder(gpt2_folder, tmp_path):
    """A model's folder that a test may change."""
    return shutil.copytree(gpt2_folder, tmp_path / "mine")


def test_a_folder_is_loaded_once_and_shared(gpt2_folder, cpu, loads):
    first = load_weights(str(gpt2_folder), placement=cpu)

    assert load_weights(str(gpt2_folder), placement=replace(cpu, threads=2)) is first
    assert len(loads()) == 1
    assert f"Loaded weights of {gpt2_folder} in " in loads()[0]
    assert loads()[0].endswith("(cpu, float32, 0.0M parameters)")
    assert first.provenance == {"weights": "folder", "device": "cpu", "dtype": "float32"}
    assert not first.model.training
    assert first.context_window == 256


def test_threads_that_ask_at_once_load_once(gpt2_folder, cpu, loads):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_weights(str(gpt2_folder), placement=cpu), range(8)))

    assert len({id(weights) for weights in found}) == 1
    assert len(loads()) == 1


def test_another_format_or_changed_files_are_other_weights(folder, cpu, loads):
    load_weights(str(folder), placement=cpu)

    half = load_weights(str(folder), placement=replace(cpu, dtype="bfloat16"))
    assert half.model.dtype == torch.bfloat16
    own = load_weights(str(folder), placement=replace(cpu, dtype="auto"))
    assert own.model.dtype == torch.float32

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data += 1
    model.save_pretrained(folder)
    load_weights(str(folder), placement=replace(cpu, dtype="auto"))
    assert len(loads()) == 4


def test_the_last_model_is_kept_and_the_one_before_it_released(gpt2_folder, llama_folder, cpu, loads):
    before = weakref.ref(load_weights(str(gpt2_folder), placement=cpu))
    gc.collect()
    assert before() is not None

    load_weights(str(llama_folder), placement=cpu)

    assert before() is None
    assert len(loads()) == 2


def test_two_models_in_use_are_both_shared(gpt2_folder, llama_folder, cpu, loads):
    student = load_weights(str(gpt2_folder), placement=cpu)
    teacher = load_weights(str(llama_folder), placement=cpu)

    assert load_weights(str(gpt2_folder), placement=cpu) is student
    assert load_weights(str(llama_folder), placement=cpu) is teacher
    assert len(loads()) == 2


def test_the_hubs_cache_serves_without_a_network(hub_cache, llama_folder, cpu, monkeypatch):
    commit = hub_cache("org/name", llama_folder)

    def refuse(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(HfApi, "model_info", refuse)

    weights = load_weights("org/name", placement=cpu)

    assert weights.provenance["weights"] == "hub"
    assert weights.provenance["revision"] == commit


def test_a_half_cached_model_offline_is_an_input_error(hub_cache, llama_folder, cpu):
    hub_cache("org/name", llama_folder, skip=["model.safetensors"])

    with pytest.raises(InputError, match=r"model 'org/name' .*\(HF_HUB_OFFLINE is set"):
        load_weights("org/name", placement=cpu)


def test_an_unknown_model_is_one_line(cpu):
    with pytest.raises(InputError, match="model 'no-such-model' is not a local folder") as error:
        load_weights("no-such-model", placement=cpu)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"not weights"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "no-such-architecture"}'),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
    ],
)
def test_a_spoilt_folder_is_an_input_error(folder, cpu, spoil):
    spoil(folder)

    with pytest.raises(InputError, match="mine' cannot be loaded") as error:
        load_weights(str(folder), placement=cpu)

    assert "\n" not in str(error.value)


def test_a_checkpoint_that_lacks_weights_is_refused_and_not_filled_at_random(folder, cpu):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(InputError, match=r"lacks 1 weights, such as transformer\.h\.1\.mlp\.c_fc\.weight"):
        load_weights(str(folder), placement=cpu)


def remove_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()


def test_a_checkpoint_without_a_tokenizer_is_refused(folder, cpu):
    remove_tokenizer(folder)

    with pytest.raises(InputError, match="mine' has no tokenizer") as error:
        load_weights(str(folder), placement=cpu)

    assert "save_pretrained" in error.value.remedy
    assert "\n" not in str(error.value)


def test_so_is_one_of_which_transformers_cannot_make_a_tokenizer(llama_folder, tmp_path, cpu):
    folder = shutil.copytree(llama_folder, tmp_path / "bare")
    remove_tokenizer(folder)

    with pytest.raises(InputError, match=r"bare' cannot be loaded \(.*tokenizer"):
        load_weights(str(folder), placement=cpu)


def test_a_cached_model_whose_tokenizer_was_not_fetched_is_looked_for_on_the_hub(hub_cache, gpt2_folder, cpu):
    hub_cache("org/name", gpt2_folder, skip=["tokenizer.json", "tokenizer_config.json"])

    with pytest.raises(InputError, match=r"model 'org/name' .*\(HF_HUB_OFFLINE is set"):
        load_weights("org/name", placement=cpu)


class OnMps:
    """Makes weights look as if they were on an Apple GPU until they are moved."""

    def __init__(self, weights, monkeypatch):
        self.device = torch.device("mps")
        self.moves = []
        monkeypatch.setattr(type(weights), "device", property(lambda _: self.device))
        monkeypatch.setattr(weights.model, "to", self.move)

    def move(self, device):
        self.moves.append(device)
        self.device = torch.device(device)


@pytest.mark.parametrize(
    "missing",
    [
        NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device"),
        RuntimeError("MPS does not support this operation"),
    ],
)
def test_what_mps_cannot_do_goes_on_on_the_cpu_with_one_warning(gpt2, monkeypatch, caplog, missing):
    on_mps = OnMps(gpt2, monkeypatch)

    def step():
        if on_mps.device.type == "mps":
            raise missing
        return "done"

    assert [gpt2.compute(step), gpt2.compute(step)] == ["done", "done"]
    assert on_mps.moves == ["cpu"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "MPS cannot run" in caplog.text


def test_other_failures_are_not_mistaken_for_missing_operations(gpt2, monkeypatch):
    def step():
        raise RuntimeError("size mismatch on MPS")

    with pytest.raises(RuntimeError, match="size mismatch"):
        gpt2.compute(step)

    OnMps(gpt2, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        gpt2.compute(lambda: 1 / 0)
