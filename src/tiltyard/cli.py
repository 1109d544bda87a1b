"""The command line: experiments and sweeps through Hydra, and a few commands of Tiltyard's own.

    $ tiltyard model=lexical task=iot_tiny optimizer=bootstrap
    $ tiltyard -m model=lexical task=tatqa_tiny,iot_tiny optimizer=none,bootstrap
    $ tiltyard report

Exit codes: 0 done; 1 a job failed; 2 the input was wrong; 130 interrupted.
"""

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from tiltyard.errors import InputError, TiltyardError

INTERRUPTED = 130


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    debug = any(argument.lower() == "debug=true" for argument in arguments)
    try:
        _run(list(arguments))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _say("interrupted; what was finished is kept")
        return INTERRUPTED
    except SystemExit as stop:
        if not isinstance(stop.code, TiltyardError):
            return _exit_code(stop.code)
        return _report(stop.code, debug)
    except TiltyardError as error:
        return _report(error, debug)
    except Exception as error:
        from tiltyard.launching.hydra_errors import explain

        explained = explain(error)
        if explained is None:
            raise
        explained.__cause__ = error
        return _report(explained, debug)
    return 0


def _run(arguments: list[str]) -> None:
    command = arguments[0] if arguments else ""
    if arguments == ["--version"]:
        _say_version()
    elif command in COMMANDS:
        COMMANDS[command](arguments[1:])
    elif command and command.isidentifier():
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise InputError(
            f"unknown command '{command}'",
            f"{hint}commands are {', '.join(COMMANDS)}; options are written GROUP=OPTION",
        )
    else:
        _experiment(arguments)


def _say_version() -> None:
    import hydra

    from tiltyard import __version__

    print(f"tiltyard {__version__} (Hydra {hydra.__version__})")  # noqa: T201 - this was asked for


def _experiment(arguments: list[str]) -> None:
    """Hand the arguments to Hydra."""
    import hydra

    from tiltyard.launching.task_function import job
    from tiltyard.shipped import config_folder

    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors reach this module, which words them
    _quieten_bars()
    sys.argv[1:] = _flags_last(arguments)
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(job)()


def _quieten_bars() -> None:
    """Leave progress bars out of files and pipes."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


def _flags_last(arguments: list[str]) -> list[str]:
    """Hydra's own flags after the overrides; its parser loses overrides that follow a flag with a value."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error = _refuse_flags  # type: ignore[method-assign]
    parsed, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        _refuse_flags(f"unknown flag '{unknown[0]}'")
    overrides: list[str] = parsed.overrides
    return [*overrides, *(argument for argument in arguments if argument not in overrides)]


def _refuse_flags(message: str) -> NoReturn:
    raise InputError(message, "tiltyard --hydra-help lists Hydra's flags")


def _report_command(arguments: list[str]) -> None:
    from tiltyard.reporting.command import report

    report(arguments)


def _ui_command(arguments: list[str]) -> None:
    from tiltyard.tracking.command import ui

    ui(arguments)


def _doctor_command(arguments: list[str]) -> None:
    from tiltyard.doctor import doctor

    doctor(arguments)


def _status_command(arguments: list[str]) -> None:
    from tiltyard.launching.status_command import status

    status(arguments)


def _rerun_command(arguments: list[str]) -> None:
    from tiltyard.launching.rerun import rerun

    _quieten_bars()
    rerun(arguments)


def _cache_command(arguments: list[str]) -> None:
    from tiltyard.cache_command import cache

    cache(arguments)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "report": _report_command,
    "rerun": _rerun_command,
    "ui": _ui_command,
    "status": _status_command,
    "doctor": _doctor_command,
    "cache": _cache_command,
}


def _report(error: TiltyardError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    _say(f"error: {error}")
    return error.exit_code


def _say(line: str) -> None:
    from tiltyard.redaction import redact

    print(redact(line), file=sys.stderr)  # noqa: T201 - this is what the user asked for


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    _say(str(code))
    return 1
