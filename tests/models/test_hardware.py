import os
import subprocess
import sys

import pytest
import torch

from tiltyard.errors import InputError
from tiltyard.models.hardware import Hardware, Placement, available_devices
from tiltyard.signatures import check_node


@pytest.fixture
def machine(monkeypatch):
    def has(*, cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("cuda", "mps", "device", "dtype"),
    [
        (True, True, "cuda", "auto"),
        (True, False, "cuda", "auto"),
        (False, True, "mps", "float32"),
        (False, False, "cpu", "float32"),
    ],
)
def test_auto_takes_the_best_device_and_a_fitting_format(machine, cuda, mps, device, dtype):
    machine(cuda=cuda, mps=mps)

    assert Hardware().resolve() == Placement(device=device, dtype=dtype, threads=None)


def test_what_is_asked_for_is_taken(machine):
    machine(cuda=True, mps=False)

    placement = Hardware(device="cpu", dtype="bfloat16", threads=3).resolve()

    assert placement == Placement(device="cpu", dtype="bfloat16", threads=3)


@pytest.mark.parametrize(("device", "name"), [("cuda", "CUDA GPU"), ("mps", "Apple GPU (MPS)")])
def test_an_absent_device_is_an_input_error_that_says_what_to_use(machine, device, name):
    machine(cuda=False, mps=False)

    with pytest.raises(InputError, match="use hardware=cpu or hardware=auto") as error:
        Hardware(device=device).resolve()

    assert f"hardware={device}: torch sees no {name} here" in str(error.value)
    assert error.value.exit_code == 2


def digest(device):
    """What a fingerprint holds for the device."""
    leaves = check_node({"device": device}, "hardware", target=Hardware)
    leaf = next(leaf for leaf in leaves if leaf.path == "hardware.device")
    return leaf.content.digest(leaf.value)


def test_a_fingerprint_holds_the_device_that_auto_comes_to(machine):
    machine(cuda=True, mps=False)
    assert digest("auto") == "cuda"
    machine(cuda=False, mps=True)
    assert digest("auto") == "mps"
    machine(cuda=False, mps=False)
    assert digest("auto") == digest("cpu") == "cpu"


def test_a_fingerprint_can_be_taken_for_a_device_that_is_absent(machine):
    machine(cuda=False, mps=False)

    assert digest("cuda") == "cuda"


def test_an_unknown_device_is_refused_by_the_config():
    with pytest.raises(InputError, match=r"hardware\.device"):
        check_node({"device": "tpu"}, "hardware", target=Hardware)


def test_devices_are_listed_best_first(machine):
    machine(cuda=False, mps=True)

    assert available_devices() == ("mps", "cpu")


def test_importing_configurable_modules_loads_neither_torch_nor_transformers():
    script = (
        "import sys, tiltyard.models.transformers_engine, tiltyard.models.tiny_gpt2\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_mps_may_fall_back_to_the_cpu_before_torch_is_loaded():
    script = (
        "import builtins, os, sys\n"
        "from tiltyard.models.hardware import available_devices\n"
        "assert 'PYTORCH_ENABLE_MPS_FALLBACK' not in os.environ\n"
        "class Stop(Exception): pass\n"
        "class Watch:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch': print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK']); raise Stop\n"
        "sys.meta_path.insert(0, Watch())\n"
        "try: available_devices()\n"
        "except Stop: pass\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTORCH_ENABLE_MPS_FALLBACK"}

    seen = subprocess.run([sys.executable, "-c", script], check=True, env=clean, capture_output=True)

    assert seen.stdout.strip() == b"1"
