"""``tiltyard ui``: MLflow's own UI on the local store, until Ctrl-C."""

from tiltyard.arguments import CommandParser
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.ui import serve


def ui(arguments: list[str]) -> None:
    """Serve the UI.

    Args:
        arguments: The command line after ``tiltyard ui``.

    Raises:
        InputError: There is no store, the port is taken, or an argument is wrong.
        JobError: The server did not start.
    """
    parser = CommandParser(prog="tiltyard ui", description="Open MLflow on what ran.")
    parser.add_argument("--tracking", default="mlruns", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    chosen = parser.parse_args(arguments)
    serve(
        LocalTracking(folder=chosen.tracking),
        host=chosen.host,
        port=chosen.port,
        on_ready=lambda address: print(f"MLflow is at {address}; Ctrl-C ends it", flush=True),  # noqa: T201
    )
