"""How long `tiltyard --help` takes, against bare Hydra applications in the same run.

    $ python benchmarks/startup.py
    tiltyard --help           0.49 s
    bare Hydra, same configs  0.48 s   ratio 1.02
    bare Hydra, one key       0.34 s   ratio 1.44

Each figure is the median over repetitions that take turns, so that a busy machine slows all of them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tiltyard.shipped import config_folder

BARE = """
import hydra
from omegaconf import OmegaConf
OmegaConf.register_new_resolver("stem", str)
OmegaConf.register_new_resolver("basename", str)

@hydra.main(version_base="1.3", config_path={folder!r}, config_name="config")
def main(cfg):
    pass

main()
"""


def main() -> None:
    """Time the commands in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9, help="default: %(default)s")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conf").mkdir()
        (folder / "conf/config.yaml").write_text("seed: 0\n")
        (folder / "one_key.py").write_text(BARE.format(folder=str(folder / "conf")))
        (folder / "same.py").write_text(BARE.format(folder=str(config_folder())))
        commands = {
            "tiltyard --help": [sys.executable, "-m", "tiltyard", "--help"],
            "bare Hydra, same configs": [sys.executable, str(folder / "same.py"), "--help"],
            "bare Hydra, one key": [sys.executable, str(folder / "one_key.py"), "--help"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeat):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, cwd=folder)
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(iter(medians.values()))
    for name, median in medians.items():
        ratio = "" if median == ours else f"   ratio {ours / median:.2f}"
        print(f"{name:<25} {median:.2f} s{ratio}")


if __name__ == "__main__":
    main()
