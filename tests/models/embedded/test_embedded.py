"""The embedded model as an option: what it loads, what it is called, and what its identity holds."""

import json
import logging
import shutil
import subprocess
import sys

import dspy
import pytest
from dspy.lm15 import ContextLengthError

from tiltyard.config import check, fingerprint, model_identity, resolve
from tiltyard.doctor import doctor
from tiltyard.errors import InputError, TiltyardError
from tiltyard.evaluation.rows import read_rows
from tiltyard.experiment import run
from tiltyard.models import embedded as package
from tiltyard.models.embedded import FOLDER, embedded, weights_digest
from tiltyard.models.engine import max_concurrency, model_id, provenance
from tiltyard.models.hardware import Hardware

CPU = Hardware(device="cpu", threads=1)


@pytest.fixture
def copied(tmp_path):
    """The shipped weights at another place."""

    def copy(name: str = "model"):
        return shutil.copytree(FOLDER, tmp_path / name)

    return copy


def change_a_weight(folder):
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_it_answers_from_the_packages_own_files():
    lm = embedded(hardware=CPU, max_tokens=4)
    assert model_id(lm) == "embedded"
    assert max_concurrency(lm) == 64
    found = provenance(lm)
    assert len(found.pop("chat_template_digest")) == 12
    assert found == {
        "weights": "folder",
        "device": "cpu",
        "dtype": "float32",
        "chat_template": "tokenizer",
        "batching": "on",
    }
    assert lm("What did the pump read?") == lm("What did the pump read?")
    assert lm.history[-1]["usage"]["completion_tokens"] <= 4


def test_it_reads_two_thousand_tokens_and_no_more():
    lm = embedded(hardware=CPU, max_tokens=1)
    lm("0 " * 700)
    with pytest.raises((ContextLengthError, dspy.ContextWindowExceededError), match="2048"):
        lm("0 " * 2048)


def test_its_folder_is_one_for_transformers():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    assert str(model.dtype) == "torch.bfloat16"
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 2048
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.chat_template
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 16_000_000


def test_the_default_experiment_runs_it_offline(composed, in_folder):
    cfg = resolve(composed("task=iot_tiny", "limit=1", "tracking=off", "hardware.threads=1"))
    result = run(cfg, in_folder / "out")
    [row] = read_rows(in_folder / "out/predictions.csv").to_dict("records")
    assert result.labels.model == row["model_id"] == "embedded"
    assert row["prompt_tokens"] > 50


def identities(cfg):
    return fingerprint(cfg), model_identity(cfg)


def test_its_identity_is_that_of_the_weights_wherever_they_are(composed, copied, monkeypatch):
    def of(weights):
        return identities(resolve(composed("task=iot_tiny", "hardware=cpu", f"model.weights={weights}")))

    base = of("shipped")
    other = copied()
    assert of(other) == base
    monkeypatch.setattr(package, "FOLDER", other)  # another checkout
    assert of("shipped") == base
    for name in ("README.md", "training.json", "evaluation.json"):
        (other / name).write_text("{}")
    assert of("shipped") == base
    change_a_weight(other)
    assert not set(of("shipped")) & set(base)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "chat_template.jinja"])
def test_what_goes_with_the_weights_counts_as_well(name, copied):
    folder = copied()
    (folder / name).write_text((folder / name).read_text() + " ")
    assert weights_digest(str(folder)) != weights_digest()


def test_only_other_weights_are_loaded_anew(copied, fresh_memory, caplog):
    caplog.set_level(logging.INFO, logger="tiltyard")
    folder = copied()
    for weights in ("shipped", str(folder)):
        embedded(hardware=CPU, weights=weights)
    assert caplog.text.count("Loaded weights of embedded") == 1
    change_a_weight(folder)
    embedded(hardware=CPU, weights=str(folder))
    assert caplog.text.count("Loaded weights of embedded") == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_without_its_files_it_says_so_in_one_line(name, composed, copied, monkeypatch, capsys, in_folder):
    folder = copied("weights")
    (folder / name).unlink()
    monkeypatch.setattr(package, "FOLDER", folder)
    with pytest.raises(InputError, match=f"weights are not in .*no {name}.*; reinstall tiltyard") as caught:
        embedded(hardware=CPU)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="reinstall tiltyard"):
        check(composed("model=embedded"))
    with pytest.raises(TiltyardError):
        doctor([])
    assert f"no {name}" in next(line for line in capsys.readouterr().out.splitlines() if "embedded" in line)


def test_a_folder_without_a_model_is_refused_before_a_run(composed, tmp_path):
    with pytest.raises(InputError, match="give the folder 'model' that a training left"):
        check(composed("model=embedded", f"model.weights={tmp_path}"))


def test_running_it_needs_nothing_of_its_training():
    code = "import sys, json, tiltyard.models.embedded; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    inside = {name.removeprefix("tiltyard.models.embedded.") for name in loaded if "models.embedded." in name}
    assert inside == set()
    assert not {"torch", "transformers", "mlflow"} & set(loaded)
