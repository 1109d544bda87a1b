"""The figures of a report over many runs, beside the scores.

Colours and markers are those of :mod:`tiltyard.reporting.figures`: one per mode, the same in every figure.
What has more lines than can be read is cut, and the figure says so.
"""
