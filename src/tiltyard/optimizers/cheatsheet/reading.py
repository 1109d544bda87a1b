"""Reads the sheet out of what a curator wrote, small models' slips of format included.

>>> salvaged("Here it is: <cheatsheet>- Write USD before sums.</cheatsheet>")
'- Write USD before sums.'
"""

import re

_TAGGED = re.compile(r"<cheatsheet>(.*?)(?:</cheatsheet>|\Z)", re.IGNORECASE | re.DOTALL)
"""The tags that the paper's own prompts ask for."""
_HEADER = re.compile(r"^[\s\[#*]*cheatsheet[\s\]#*]*:?[\s\]#*]*$", re.IGNORECASE | re.MULTILINE)
"""A header of the field, or what a model makes of it, alone on its line."""
_COMPLETED = re.compile(r"^\s*\[\[\s*##.*", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^\s*```\w*\s*$")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+\S")
_NOTHING = re.compile(
    r"\W*(?:none|empty|no changes?|unchanged|nothing(?: to (?:add|change))?|n/a|same as before)\W*",
    re.IGNORECASE,
)


def read_sheet(text: str) -> str:
    """The lines of a sheet as they are kept.

    Tags, code fences around it, white space at line ends, blank lines and lines that stand there already are
    left out; so is everything from the next field's header on.

    Args:
        text: The value of the curator's output field.

    Returns:
        The sheet; empty where there is nothing on it.
    """
    tagged = _TAGGED.search(text)
    inner = tagged.group(1) if tagged else text
    inner = _COMPLETED.sub("", inner)
    lines = (line.rstrip() for line in inner.splitlines() if not _FENCE.match(line))
    return "\n".join(dict.fromkeys(line for line in lines if line.strip()))


def says_nothing(text: str) -> bool:
    """Whether a curator says in a word that there is nothing to change, as in ``(empty)`` or ``NONE``."""
    return _NOTHING.fullmatch(text) is not None


def salvaged(reply: str) -> str:
    """The sheet in a reply that does not keep to the format.

    It stands between the paper's tags, under a line that is a header of the field in some spelling, or is a
    list: from its first item on.

    Args:
        reply: All that the model wrote.

    Returns:
        The sheet; empty where none can be told from the rest.
    """
    if _TAGGED.search(reply):
        return read_sheet(reply)
    if header := _HEADER.search(reply):
        return read_sheet(reply[header.end() :])
    lines = reply.splitlines()
    first = next((number for number, line in enumerate(lines) if _ITEM.match(line)), None)
    return "" if first is None else read_sheet("\n".join(lines[first:]))
