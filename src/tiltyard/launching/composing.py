"""Composes the configs of a sweep's jobs: each once, and each file of the search path parsed once.

Hydra parses every YAML file anew for every job, and its launcher composes every job a second time.

>>> composer = Composer(hydra_context.config_loader)
>>> composer.load_sweep_config(master, ["seed=0"])  # composed; what a launcher asks for later is kept
"""

import pickle
from collections.abc import Callable
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf


class Composer(ConfigLoaderImpl):
    """Hydra's own loader, less what it does twice.

    A job keeps the config that was checked when the sweep was planned, whatever becomes of the files.

    Args:
        loader: The loader that Hydra made; it stays as it is.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self.repository: Any = _RememberingRepository(self.repository)
        self._composed: dict[tuple[str, ...], bytes] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """See :meth:`hydra.core.config_loader.ConfigLoader.load_sweep_config`."""
        key = tuple(sweep_overrides)
        if key not in self._composed:
            fresh = super().load_sweep_config(master_config, sweep_overrides)
            self._composed[key] = pickle.dumps(fresh)  # some 20 kB, a small part of what its objects take
            return fresh
        kept: DictConfig = pickle.loads(self._composed[key])
        OmegaConf.copy_cache(from_config=master_config, to_config=kept)  # such as a folder's time
        return kept


class _RememberingRepository(IConfigRepository):
    """A repository of configs that asks its sources once. Copies share what was found.

    Hydra makes a copy for every composition, and changes what it is given: each answer is a new object.
    """

    def __init__(self, repository: IConfigRepository) -> None:
        self._repository = repository
        self._of_paths: dict[object, dict[object, bytes]] = {}
        self._known = self._of_paths.setdefault(self._paths(), {})

    def __deepcopy__(self, memo: dict[int, Any]) -> "_RememberingRepository":
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        repository = object.__new__(type(self._repository))
        repository.initialize_sources(config_search_path)
        self._repository = repository
        self._known = self._of_paths.setdefault(self._paths(), {})

    def get_schema_source(self) -> ConfigSource:
        return self._repository.get_schema_source()

    def get_sources(self) -> list[ConfigSource]:
        return self._repository.get_sources()

    def load_config(self, config_path: str) -> ConfigResult | None:
        found: ConfigResult | None = self._once(
            ("config", config_path), lambda: self._repository.load_config(config_path)
        )
        return found

    def group_exists(self, config_path: str) -> bool:
        return bool(self._once(("group?", config_path), lambda: self._repository.group_exists(config_path)))

    def config_exists(self, config_path: str) -> bool:
        return bool(self._once(("config?", config_path), lambda: self._repository.config_exists(config_path)))

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        options: list[str] = self._once(
            ("options", group_name, results_filter),
            lambda: self._repository.get_group_options(group_name, results_filter),
        )
        return options

    def _once(self, question: object, ask: Callable[[], Any]) -> Any:
        if question not in self._known:
            self._known[question] = pickle.dumps(ask())
        return pickle.loads(self._known[question])

    def _paths(self) -> object:
        return tuple((source.provider, source.path) for source in self._repository.get_sources())
