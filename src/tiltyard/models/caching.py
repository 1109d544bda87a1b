"""Switches every cache off for a while: the response cache and the prefix cache.

>>> with without_caches():
...     evaluate(program)  # each request is computed from its first token
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CACHING: ContextVar[bool] = ContextVar("caching", default=True)


def caching() -> bool:
    """Whether caches may be used for a request that is made here and now."""
    return _CACHING.get()


@contextmanager
def without_caches() -> Iterator[None]:
    """Use no cache for requests made in this block, in this thread and those that take its context."""
    token = _CACHING.set(False)
    try:
        yield
    finally:
        _CACHING.reset(token)
