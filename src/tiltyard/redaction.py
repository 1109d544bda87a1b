"""Keeps secrets out of everything that is written: files, tags, logs and error texts.

>>> redact("401 from https://user:hunter2@host, key sk-abcdefghijklmnop")
'401 from https://***@host, key ***'
"""

import logging
import os
import re
from functools import cache

MASK = "***"
"""What stands where a secret stood."""

_SECRET_NAME = re.compile(
    r"(?:^|[_.\-])(?:(?:api|access|auth|secret|private)[_\-]?(?:key|token)|(?:hf|bearer|session)[_\-]token"
    r"|api[_\-]?key|secret|client[_\-]secret|password|passwd|credentials?|authorization)$",
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_START = r"(?:\b|(?<=\\[nrt]))"
"""Where a key may start; in a line of JSON, the letter of an escaped line break may stand before it."""
_ASSIGNED = r"=(?:\\?[\"'])?"
"""What stands between a name and its value; in a line of JSON, a quote is escaped."""
_SECRET_TEXT = re.compile(
    "|".join(
        (
            # A key is one long run of letters and digits; hf-internal-testing is several words.
            _START
            + r"(?:sk|gsk|hf|xai|ghp|glpat)[-_](?:(?:proj|ant|or|v1)-)*[A-Za-z0-9]{12,}[A-Za-z0-9_\-]*",
            _START + r"AKIA[0-9A-Z]{16}\b",
            _START + r"AIza[A-Za-z0-9_\-]{20,}",
            r"(?<=Bearer )[A-Za-z0-9._~+/\-]{8,}=*",
            r"(?<=Basic )[A-Za-z0-9+/]{8,}=*",
            r"(?<=://)[^/\s@]+(?=@)",
            rf"(?:(?<=[?&]key)|(?<=[?&]token)|(?<=api_key)){_ASSIGNED}(?!\$\{{)[^&\s\"'\\]+",
        )
    ),
    re.IGNORECASE,
)
_SIGNS = (
    *(f"{prefix}{dash}" for prefix in ("sk", "hf", "xai", "ghp", "glpat") for dash in "-_"),
    *("akia", "aiza", "bearer ", "basic ", "://", "key=", "token="),
)
"""What stands in every text that the pattern finds."""
_SHORTEST_SECRET = 8
"""Shorter values of secret-looking variables are not masked: they would blank ordinary words."""


def is_secret_name(name: str) -> bool:
    """Whether a config key is named like a secret, as ``api_key`` and ``password`` are.

    ``pad_token`` and ``sort_key`` are not: a key or a token is a secret when its name says what it opens.
    """
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """Mask the values of secret environment variables, and whatever has the shape of a key."""
    values = [
        value
        for name, value in os.environ.items()
        if _is_secret_variable(name) and len(value) >= _SHORTEST_SECRET
    ]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    lowered = text.lower()
    if any(sign in lowered for sign in _SIGNS):  # looking for these costs a tenth of the pattern
        text = _SECRET_TEXT.sub(_mask, text)
    return text


@cache
def _is_secret_variable(name: str) -> bool:
    return _SECRET_VARIABLE.search(name) is not None


def _mask(found: re.Match[str]) -> str:
    assigned = re.match(_ASSIGNED, found[0])
    return f"{assigned[0] if assigned else ''}{MASK}"


class RedactingFormatter(logging.Formatter):
    """Formats log records as usual, with secrets masked, also those in tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return redact(super().format(record))


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's kind and message in one line, without secrets; the message is cut at ``limit``."""
    text = " ".join(redact(str(error)).split())
    return f"{type(error).__name__}: {text[:limit]}" if text else type(error).__name__
