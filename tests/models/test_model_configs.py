from inspect import signature
from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from tiltyard.models.hardware import Hardware
from tiltyard.shipped import config_folder
from tiltyard.signatures import check_node

LOCAL = [
    path for path in sorted((config_folder() / "model").glob("*.yaml")) if "transformers" in path.read_text()
]
OTHERS = [config_folder() / "model" / f"{name}.yaml" for name in ("embedded", "tiny-gpt2")]
HARDWARE = sorted((config_folder() / "hardware").glob("*.yaml"))


def node(path: Path, group: str):
    config = OmegaConf.load(path)
    whole = config if group in config else OmegaConf.create({group: config})
    whole = OmegaConf.merge({"seed": 0, "labels": {"model": "x"}}, whole)
    if OmegaConf.is_missing(whole[group], "id"):
        whole[group].id = "some/model"
    return OmegaConf.to_container(whole[group], resolve=True)


@pytest.mark.parametrize("path", [*LOCAL, *OTHERS], ids=lambda path: path.stem)
def test_a_shipped_model_lists_every_option_with_a_command(path):
    values = node(path, "model")
    options = set(signature(get_object(values["_target_"])).parameters)

    check_node(values, "model", supplied=("hardware",))

    assert set(values) - {"_target_"} == options - {"hardware"}
    assert f"tiltyard model={path.stem}" in "".join(path.read_text().splitlines(keepends=True)[:2])


@pytest.mark.parametrize("path", HARDWARE, ids=lambda path: path.stem)
def test_shipped_hardware_lists_every_option_with_a_command(path):
    values = node(path, "hardware")

    check_node(values, "hardware")

    assert set(values) - {"_target_"} == set(signature(Hardware).parameters)
    elsewhere = path.stem in ("ray", "slurm")  # each node has its own devices
    assert values["device"] == ("cpu" if elsewhere else path.stem)
    assert f"hardware={path.stem}" in "".join(path.read_text().splitlines()[:2])
