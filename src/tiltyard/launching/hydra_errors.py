"""Words Hydra's errors about wrong input as one line each: what is wrong, and what to do.

>>> explain(MissingConfigException("…", "model/gpt5", ["lexical", "tiny-gpt2"]))
InputError("no option 'gpt5' in group 'model'", "choose one of: lexical, tiny-gpt2")
"""

import difflib
import re
from collections.abc import Collection
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from tiltyard.config import AXES
from tiltyard.errors import InputError
from tiltyard.signatures import TARGET, options_of, target_of

_SEVERAL_VALUES = re.compile(
    r"(?:Ambiguous value for argument|Sweep parameters) (?P<override>'.*')(?:$| requires --multirun)",
    re.MULTILINE,
)
"""How Hydra refuses ``seed=0,1`` and ``seed=range(2)`` without ``--multirun``."""


def explain(error: Exception) -> InputError | None:
    """The error in Tiltyard's words, or None when it is not about wrong input."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return InputError(
            f"cannot read '{error.override}' ({_first_line(error)})",
            "write KEY=VALUE, and quote values with special characters, as in 'key=\"a, b\"'",
        )
    if isinstance(error, HydraException) and (several := _SEVERAL_VALUES.match(str(error))):
        return InputError(
            f"{several['override']} gives several values to a single run",
            "add -m to run every combination; a list is written KEY=[a,b]",
        )
    if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(error.__cause__)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return InputError(_first_line(error), _further_lines(error) or "see tiltyard --help")
    if isinstance(error, YAMLError):
        return InputError(f"a config is not YAML: {' '.join(str(error).split())}", "correct the file")
    if isinstance(error, OSError):
        return InputError(
            f"{error.filename or 'a file'}: {error.strerror}", "check the path and its permissions"
        )
    if isinstance(error, ValueError) and str(error).startswith("Only one of --run"):
        return InputError("Hydra's flags -m, --cfg and --info exclude each other", "leave out all but one")
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return InputError(_first_line(error), "choose an option of the group (tiltyard --help)")
    return None


def _missing_option(error: MissingConfigException) -> InputError:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return InputError(f"no config named '{option}'", "leave out --config-name, or check --config-dir")
    if not error.options:
        return InputError(f"there is no group '{group}' with options", "see tiltyard --help")
    return InputError(f"no option '{option}' in group '{group}'", _choices(option, error.options))


def _unknown_key(error: OmegaConfBaseException) -> InputError:
    full_key = str(error.full_key)
    parent: Any = error.parent_node
    known = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
    if isinstance(parent, DictConfig) and TARGET in parent:
        options, _ = options_of(target_of({TARGET: parent[TARGET]}, full_key))
        if str(error.key) in options:
            return InputError(f"'{full_key}' is not in the YAML", f"write +{full_key}=VALUE to add it")
        known = [name for name in options if name not in AXES.get(full_key.split(".")[0], ())] or known
    elif not known:
        return InputError(f"unknown key '{full_key}'", "its parent is a plain value")
    return InputError(f"unknown key '{full_key}'", _choices(str(error.key), known))


def _choices(given: str, known: Collection[str]) -> str:
    offered = [name for name in known if name != "hydra" and not name.startswith("_")]
    close = difflib.get_close_matches(given, offered, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}choose one of: {', '.join(offered)}" if offered else "it takes no keys"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _further_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).strip().splitlines()[1:3])
