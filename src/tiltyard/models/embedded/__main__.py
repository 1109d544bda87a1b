"""``python -m tiltyard.models.embedded``: trains the embedded model, and evaluates it.

.. code-block:: console

    $ python -m tiltyard.models.embedded train --out trained --seed 0
    $ python -m tiltyard.models.embedded evaluate --help
"""

import logging
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from tiltyard.arguments import CommandParser
from tiltyard.errors import TiltyardError

PROGRAM = "python -m tiltyard.models.embedded"


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the process's exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted.

    Args:
        arguments: The command line after the program; None is that of the process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("tiltyard").setLevel(logging.INFO)
    try:
        return _command(sys.argv[1:] if arguments is None else arguments)
    except TiltyardError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - what the user is told
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _command(arguments: list[str]) -> int:
    parser = CommandParser(prog=PROGRAM, description="The embedded model.")
    parser.add_argument("command", choices=("train", "evaluate"))
    command = parser.parse_args(arguments[:1]).command
    if command == "train":
        _train(arguments[1:])
        return 0
    from tiltyard.models.embedded.evaluation import main as evaluate

    return evaluate(arguments[1:])


def _train(arguments: list[str]) -> None:
    from tiltyard.models.embedded.settings import Running, TrainingSettings

    parser = CommandParser(
        prog=f"{PROGRAM} train",
        description="Train the model from scratch, or go on with the training that the folder holds.",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", required=True, type=Path, help="where everything is written"
    )
    for kind, title in ((TrainingSettings, "what decides the weights"), (Running, "how it runs")):
        group = parser.add_argument_group(title)
        for field in fields(kind):
            group.add_argument(_flag(field.name), dest=field.name, **_option(field.name, field.default))
    chosen = vars(parser.parse_args(arguments))
    out = chosen.pop("out")
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out} is not a folder")
    own = {field.name for field in fields(TrainingSettings)}
    settings = TrainingSettings(**{name: value for name, value in chosen.items() if name in own})
    running = Running(**{name: value for name, value in chosen.items() if name not in own})

    from transformers.utils.logging import disable_progress_bar

    from tiltyard.models.embedded.curriculum import layouts, training_episode
    from tiltyard.models.embedded.training import train

    disable_progress_bar()  # the model is one small file
    place = train(settings, partial(training_episode, seed=settings.seed), out, running, layouts())
    print(place)  # noqa: T201 - this was asked for


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option(name: str, default: Any) -> dict[str, Any]:
    if name == "device":
        return {"choices": ("auto", "cpu", "cuda"), "default": default, "help": "default: %(default)s"}
    kinds = {"threads": int, "tracking_uri": str}
    kind = kinds.get(name) or type(default)
    shown = "torch's own" if name == "threads" else "in the folder" if name == "tracking_uri" else default
    metavar = {int: "N", float: "X"}.get(kind, "URI")
    return {"type": kind, "default": default, "metavar": metavar, "help": f"default: {shown}"}


if __name__ == "__main__":
    sys.exit(main())
