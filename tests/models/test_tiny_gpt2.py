import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from tiltyard.errors import InputError
from tiltyard.models.engine import model_id, provenance
from tiltyard.models.hardware import Hardware
from tiltyard.models.tiny_gpt2 import tiny_gpt2

CPU = Hardware(device="cpu", threads=1)

pytestmark = pytest.mark.usefixtures("fresh_memory", "hub_cache")

IN_ANOTHER_PROCESS = """
import hashlib
from tiltyard.models.hardware import Hardware
from tiltyard.models.tiny_gpt2 import tiny_gpt2
lm = tiny_gpt2(hardware=Hardware(device="cpu", threads=1), weights="random")
print(lm("What is the total revenue?")[0].encode().hex())
"""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.getLogger("dspy.clients.lm"), "disabled", True)


def test_out_of_the_hubs_reach_a_random_model_answers_and_says_so_once(caplog):
    caplog.set_level(logging.INFO, logger="tiltyard")
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    start = time.perf_counter()

    lm = tiny_gpt2(hardware=CPU)
    assert time.perf_counter() - start < 5
    again = tiny_gpt2(hardware=CPU, max_tokens=8)

    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "random weights" in warnings[0]
    assert "HF_HUB_OFFLINE is set" in warnings[0]
    assert caplog.text.count("Loaded weights of tiny-gpt2-random") == 1
    assert provenance(lm)["weights"] == "random"
    assert model_id(lm) == "tiny-gpt2-random"
    assert torch.equal(torch.random.get_rng_state(), state)

    assert lm("What is the total revenue?", max_tokens=8) == again("What is the total revenue?")
    assert lm.history[-1]["response"].finish_reason == "length"


def test_the_hubs_weights_are_used_where_they_are(request, gpt2_folder, caplog):
    request.getfixturevalue("hub_cache")("sshleifer/tiny-gpt2", gpt2_folder)

    lm = tiny_gpt2(hardware=CPU)

    assert provenance(lm)["weights"] == "hub"
    assert model_id(lm) == "sshleifer/tiny-gpt2"
    assert "random" not in caplog.text


def test_a_folder_can_stand_in_for_the_hub(gpt2_folder):
    assert provenance(tiny_gpt2(hardware=CPU, id=str(gpt2_folder)))["weights"] == "folder"


@pytest.mark.parametrize("id", ["./nope", "sshleifer/tiny-gpt3", "org/name"])
def test_random_weights_do_not_stand_in_for_another_model(id):
    with pytest.raises(InputError, match=f"model '{id}' is not a local folder"):
        tiny_gpt2(hardware=CPU, id=id)


def test_random_weights_do_not_stand_in_for_spoilt_files(request, gpt2_folder):
    put = request.getfixturevalue("hub_cache")
    put("sshleifer/tiny-gpt2", gpt2_folder, skip=["model.safetensors"])
    snapshot = next(Path(constants.HF_HUB_CACHE).glob("*/snapshots/*"))
    (snapshot / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(InputError, match="'sshleifer/tiny-gpt2' cannot be loaded"):
        tiny_gpt2(hardware=CPU)


def test_random_weights_can_be_asked_for(gpt2_folder, caplog):
    lm = tiny_gpt2(hardware=CPU, id=str(gpt2_folder), weights="random")

    assert provenance(lm)["weights"] == "random"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_random_model_is_the_same_in_every_process():
    lm = tiny_gpt2(hardware=CPU, weights="random")
    here = lm("What is the total revenue?")[0]

    other = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )

    assert bytes.fromhex(other.stdout.split()[-1]).decode() == here


def test_sixteen_demonstrations_with_tables_fit():
    lm = tiny_gpt2(hardware=CPU, weights="random", max_tokens=4)
    table = "| Revenue | $1,234.5 | $1,198.0 | $987.6 |\n" * 12
    demonstration = (
        f"{table}What was the change in revenue between 2018 and 2019?\n[[ ## answer ## ]]\n36.5\n"
    )

    lm(demonstration * 17)

    assert lm.history[-1]["usage"]["completion_tokens"] == 4
