"""The judging episodes by name: those of the town and those of the panel, for the curriculum.

``importance_pairs`` and ``creative_pairs`` are for checking that a model's judgements are monotonic.
"""

from tiltyard.models.embedded.importance import importance, importance_pairs, town_reflection
from tiltyard.models.embedded.personas import channel, creative, creative_pairs, purchase

__all__ = [
    "channel",
    "creative",
    "creative_pairs",
    "importance",
    "importance_pairs",
    "purchase",
    "town_reflection",
]
