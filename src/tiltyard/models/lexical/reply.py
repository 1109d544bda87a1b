r"""Write answers in the format that the request's adapter parses.

>>> write_reply(setting, {"answer": "12", "scale": "percent"})
'[[ ## answer ## ]]\n12\n\n[[ ## scale ## ]]\npercent\n\n[[ ## completed ## ]]'
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from tiltyard.models.lexical.request import ANSWER, Format, Setting

_MARKER = re.compile(r"\[\[ ## (\w+) ## \]\]")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = re.compile(r"^[A-Za-z_][\w.-]*$", re.ASCII)
_NOTHING = "unknown"
"""The answer to a bare prompt that says nothing: adapters take an empty text for a failure."""


def write_reply(setting: Setting, answers: Mapping[str, Any]) -> str:
    """The answers as the text of one completion.

    Args:
        setting: What the request said; its format and the order of its output fields.
        answers: A value for each output field, in the type that the field declares.
    """
    named = {field.name: answers[field.name] for field in setting.outputs}
    if setting.format is Format.PLAIN:
        return str(named[ANSWER]) or _NOTHING
    if setting.format is Format.JSON:
        return json.dumps(named, ensure_ascii=False)
    if setting.format is Format.XML:
        return "\n\n".join(f"<{name}>{_xml(value)}</{name}>" for name, value in named.items())
    sections = [f"[[ ## {name} ## ]]\n{_chat(value)}" for name, value in named.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def _chat(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    text = _MARKER.sub(r"[\1]", value)
    # The adapter strips a section; quotes keep the blanks of a literal that has some.
    return f'"{text}"' if text and text != text.strip() else text


def _xml(value: Any) -> str:
    if isinstance(value, list):
        return "".join(f"<item>{_xml(item)}</item>" for item in value)
    if isinstance(value, dict):
        return "".join(_entry(str(name), _xml(part)) for name, part in value.items())
    if value is None:
        return ""
    return _NOT_XML.sub(" ", str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _entry(name: str, body: str) -> str:
    if _TAG.match(name):
        return f"<{name}>{body}</{name}>"
    return f"<entry key={quoteattr(_NOT_XML.sub(' ', name))}>{body}</entry>"
