"""The composer against Hydra's own loader: the same configs, whatever was composed before."""

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from tiltyard.launching.composing import Composer
from tiltyard.resolvers import register_resolvers
from tiltyard.shipped import config_folder

JOBS = [
    ["task=iot_tiny", "optimizer=bootstrap", "optimizer.max_rounds=2"],
    ["task=iot_tiny", "optimizer=bootstrap"],
    ["task=medqa_tiny", "+model@optimizer.teacher=lexical", "optimizer=bootstrap"],
    ["task=iot_tiny", "~debug", "seed=3"],
    ["task=iot_tiny", "optimizer=bootstrap"],
]


@pytest.fixture
def loader():
    state = Singleton.get_state()
    setup_globals()
    register_resolvers()
    yield ConfigLoaderImpl(create_config_search_path(str(config_folder())))
    Singleton.set_state(state)


@pytest.fixture
def master(loader):
    return loader.load_configuration("config", ["model=lexical"], run_mode=RunMode.MULTIRUN)


def test_configs_are_those_that_hydra_composes(loader, master):
    composer = Composer(loader)
    for overrides in (*JOBS, *JOBS):  # the second time from what was kept
        mine = composer.load_sweep_config(master, list(overrides))
        stock = loader.load_sweep_config(master, list(overrides))
        assert OmegaConf.to_container(mine) == OmegaConf.to_container(stock)
        assert OmegaConf.get_type(mine, "hydra") is OmegaConf.get_type(master, "hydra")
        assert OmegaConf.is_struct(mine)
        with open_dict(mine):  # what becomes of one config is no other's
            mine.model.added = 1
            mine.task = None


def test_files_are_read_once(loader, master, tmp_path):
    (tmp_path / "task").mkdir()
    option = tmp_path / "task/house.yaml"
    option.write_text("_target_: tiltyard.tasks.qa.qa\npath: first.csv\n")
    with open_dict(master):
        master.hydra.overrides.hydra.append(f"hydra.searchpath=[{tmp_path}]")
    composer = Composer(loader)
    assert composer.load_sweep_config(master, ["task=house", "seed=0"]).task.path == "first.csv"
    option.write_text("_target_: tiltyard.tasks.qa.qa\npath: second.csv\n")
    assert composer.load_sweep_config(master, ["task=house", "seed=1"]).task.path == "first.csv"
    assert Composer(loader).load_sweep_config(master, ["task=house", "seed=1"]).task.path == "second.csv"
