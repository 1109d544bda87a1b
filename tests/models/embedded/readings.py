"""Questions about a level with another reading."""

from dataclasses import replace


def with_reading(question, reading):
    """The same question about a level, with another reading in its context."""
    context = question.context.replace(f" {question.reading}", f" {reading}")
    level = "high" if float(reading) >= float(question.limit) else "normal"
    return replace(question, context=context, reading=reading, answer=level, subject=level)
