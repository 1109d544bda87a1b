"""Many ways to say one thing, written as templates with alternatives.

>>> phrasings("Name the <owner|author>.")
('Name the owner.', 'Name the author.')
"""

import hashlib
import re
from itertools import product

_ALTERNATIVES = re.compile(r"<([^<>]*)>")


def phrasings(*templates: str) -> tuple[str, ...]:
    """All phrasings of some templates, each once.

    The first phrasing of the first template stays first. The others come in an order that has nothing to do
    with how the templates were written, so that :meth:`tiltyard.models.embedded.draw.Draw.item` keeps back
    every fifth without keeping back any one alternative everywhere.

    Args:
        templates: Texts in which ``<a|b>`` stands for ``a`` or ``b``; one of them may be empty.
    """
    found = list(dict.fromkeys(text for template in templates for text in _expanded(template)))
    return (found[0], *sorted(found[1:], key=lambda text: hashlib.blake2b(text.encode()).digest()))


def _expanded(template: str) -> list[str]:
    parts = _ALTERNATIVES.split(template)  # what is fixed and what alternates take turns
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]
