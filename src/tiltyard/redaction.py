"""Keeps secrets out of everything that is written: files, tags, logs and error texts.

>>> redact("401 from https://user:hunter2@host, key sk-abcdefghijklmnop")
'401 from https://***@host, key ***'
"""

import os
import re

MASK = "***"
"""What stands where a secret stood."""

_SECRET_NAME = re.compile(
    r"(^|[_.\-])(api_?key|key|token|secret|password|passwd|credentials?|authorization)$", re.IGNORECASE
)
_SECRET_TEXT = (
    re.compile(r"\b(?:sk|gsk|hf|xai|ghp|glpat)[-_][A-Za-z0-9_\-]{12,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"(?<=Bearer )[A-Za-z0-9._~+/\-]{8,}=*", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
_SHORTEST_SECRET = 8
"""Shorter values of secret-looking variables are not masked: they would blank ordinary words."""


def is_secret_name(name: str) -> bool:
    """Whether a config key or an environment variable is named like a secret (``api_key``, ``HF_TOKEN``)."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """Mask the values of secret environment variables, and whatever has the shape of a key."""
    values = [
        value for name, value in os.environ.items() if is_secret_name(name) and len(value) >= _SHORTEST_SECRET
    ]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    for pattern in _SECRET_TEXT:
        text = pattern.sub(MASK, text)
    return text


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's kind and message in one line, without secrets; the message is cut at ``limit``."""
    text = " ".join(redact(str(error)).split())
    return f"{type(error).__name__}: {text[:limit]}" if text else type(error).__name__
