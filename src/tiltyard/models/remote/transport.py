"""DSPy's HTTP transport with a limit for the whole of a reply, and not just for the wait for its next byte.

>>> DeadlineTransport(read_timeout=120.0)
"""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from dspy._vendor.lm15.transports import ReadTimeout, StdlibTransport


class UnfinishedReply(ReadTimeout):  # type: ignore[misc]
    """A reply went on for longer than it may."""


class DeadlineTransport(StdlibTransport):  # type: ignore[misc]
    """Breaks a reply off whose body is not there ``read_timeout`` seconds after its head.

    A server or proxy that keeps a connection alive by sending blanks would hold a request for ever.
    """

    def _iter_body(self, conn: Any, decoder: Any, *, read_timeout: float, **options: Any) -> Iterator[bytes]:
        over = time.monotonic() + read_timeout
        # Closed here, and not when it is garbage: its end gives the connection's slot back.
        with closing(super()._iter_body(conn, decoder, read_timeout=read_timeout, **options)) as chunks:
            for chunk in chunks:
                yield chunk
                if time.monotonic() > over:
                    raise UnfinishedReply(f"the reply was not done after {read_timeout:g} s")
