"""Checks the address of a model server, and gives it the one form that requests are built on.

>>> api_root("http://localhost:8000/")
'http://localhost:8000/v1'
"""

from urllib.parse import SplitResult, urlsplit, urlunsplit

from tiltyard.errors import InputError
from tiltyard.redaction import redact

_ENDPOINTS = ("/chat/completions", "/completions", "/models")
"""Paths below the root that users copy with it."""


def api_root(address: str) -> str:
    """The root of a server's API: with a scheme, without a slash at its end, ``/v1`` where no path is given.

    Raises:
        InputError: The address is none, or holds more than one.
    """
    parts = _split(address)
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint)
    return urlunsplit((parts.scheme, parts.netloc.lower(), path or "/v1", "", ""))


def host_of(root: str) -> str:
    """The host and port of an API's root, as messages name it."""
    return urlsplit(root).netloc


def is_loopback(root: str) -> bool:
    """Whether an API's root is on this machine by its address."""
    host = urlsplit(root).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _split(address: str) -> SplitResult:
    remedy = "give the root of its API, such as http://localhost:8000/v1"
    try:
        parts = urlsplit(address.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"model.api_base={redact(address)} is no address ({error})", remedy) from error
    shown = redact(address)
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"model.api_base={shown} is no http:// or https:// address", remedy)
    if parts.username or parts.password:
        raise InputError(
            f"model.api_base={shown} holds credentials, and configs are written to disk",
            "give them with model.api_key_env or model.headers_env",
        )
    if parts.query or parts.fragment:
        raise InputError(f"model.api_base={shown} goes on behind its path", remedy)
    return parts
