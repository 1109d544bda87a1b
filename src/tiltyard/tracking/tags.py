"""The tags of runs that tell what they are and how they fare; what a run is of has tags of its own.

>>> run.tags[KIND], run.tags[PARENT]
('job', '3f2a…')
"""

KIND = "tiltyard.kind"
"""What a run is of: ``job``, ``sweep`` for the parent of a sweep's jobs, ``report``."""
PARENT = "mlflow.parentRunId"
"""MLflow's tag for the run above."""
ERROR = "tiltyard.error"
"""Why a run failed, or who missed it."""
HEARTBEAT = "tiltyard.heartbeat"
"""When a run's process was last known to live, in whole seconds since 1970 (UTC)."""
DESCRIPTION = "mlflow.note.content"
"""MLflow's tag for the Description of a run's page, in Markdown."""
