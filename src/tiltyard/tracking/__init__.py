"""Where runs are recorded and read back: MLflow, in a local folder or on a server.

:mod:`~tiltyard.tracking.recorder` writes, :mod:`~tiltyard.tracking.reader` reads,
:mod:`~tiltyard.tracking.ui` shows.
"""

import os

# MLflow reads these when it is imported, and its server processes inherit them. Set by a user, they stay.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing here phones home
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # the terminal has its own
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run on a server
