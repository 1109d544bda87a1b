"""Fixtures that several folders of tests share: composed configs, offline and in a folder of their own."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from tiltyard.resolvers import register_resolvers
from tiltyard.shipped import config_folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches for a model hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for caches of the test's own: no test finds another's answers, or the user's."""
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("TILTYARD_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _own_log_handlers() -> Iterator[None]:
    """Take away the handlers that Hydra has put on the root logger: they write to a stream of this test's."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before and type(handler).__module__.startswith("logging"):
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def composed() -> Callable[..., DictConfig]:
    """Composes the shipped config with overrides, as the command line does."""

    def compose_with(*overrides: str) -> DictConfig:
        register_resolvers()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            cfg.pop("hydra")
        return cfg

    return compose_with
