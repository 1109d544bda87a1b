"""Switches every cache off for a while: the response cache and the prefix cache.

>>> with without_caches():
...     evaluate(program)  # each request is computed from its first token
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dspy

_SETTING = "tiltyard_caching"
"""A setting of DSPy's, which hands those to the threads that it starts (``dspy.Parallel``, ``asyncify``); a
context variable of our own would not arrive there."""


def caching() -> bool:
    """Whether caches may be used for a request that is made here and now."""
    return bool(dspy.settings.get(_SETTING, True))


@contextmanager
def without_caches() -> Iterator[None]:
    """Use no cache for requests of this block, those in threads of DSPy or with its context included."""
    with dspy.context(**{_SETTING: False}):
        yield
