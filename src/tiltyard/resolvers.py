"""The functions that configs may call: ``${stem:PATH}`` and ``${basename:NAME}``.

Labels of generic options are derived with them: ``task=qa task.path=data/energy.jsonl`` is called ``energy``.
"""

from pathlib import Path

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """Make the functions known to OmegaConf, in this process."""
    OmegaConf.register_new_resolver("stem", _stem, replace=True)
    OmegaConf.register_new_resolver("basename", _basename, replace=True)


def _stem(path: str) -> str:
    return Path(path).stem


def _basename(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
