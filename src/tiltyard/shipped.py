"""Where the shipped config groups are: inside the wheel, or at the top of a source checkout."""

from pathlib import Path


def config_folder() -> Path:
    """The folder with ``config.yaml`` and the groups.

    Raises:
        FileNotFoundError: The installation is broken: it carries no configs.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml beside {package}; reinstall tiltyard")
