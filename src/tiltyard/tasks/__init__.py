"""Tasks: record formats, splits and metrics."""
