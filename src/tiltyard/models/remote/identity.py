"""What a server's list of models says of a model's weights, as opposed to its name.

>>> identity_of({"id": "judge", "root": "Qwen/Qwen2.5-0.5B-Instruct", "created": 1763650000}, dated=False)
{'served_root': 'Qwen/Qwen2.5-0.5B-Instruct'}
"""

from collections.abc import Mapping
from typing import Any

from tiltyard.redaction import redact

_SAID = ("root", "parent", "digest")
"""vLLM's ``root`` is the checkpoint or adapter, and ``parent`` the model under an adapter."""
_MEASURED = ("n_params", "size")
"""llama.cpp has these in ``meta``. What else stands there follows from how it was started."""


def identity_of(entry: Mapping[str, Any], *, dated: bool) -> dict[str, str]:
    """What of a model's entry stays the same until its weights change, by name; empty if it says nothing.

    Args:
        entry: The model's entry in the server's list.
        dated: Whether ``created`` is a date of the model. vLLM, SGLang and llama.cpp put the time of the
            request there, Ollama the time when the model was pulled or made, OpenAI and Groq that of its
            release.
    """
    meta = entry.get("meta")
    said = {name: entry.get(name) for name in (*_SAID, *(("created",) if dated else ()))}
    measured = {name: meta.get(name) for name in _MEASURED} if isinstance(meta, Mapping) else {}
    return {
        f"served_{name}": redact(str(value))
        for name, value in {**said, **measured}.items()
        if isinstance(value, str | int | float) and value
    }
