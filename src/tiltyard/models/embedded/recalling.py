r"""Episodes of recall: texts and lists to say again, and things to look up, with nothing around them.

>>> recalling(Draw("train/7")).reply
'valve 7943\nboiler 7114'

Saying a text again is what a model finds out first, within a few hundred steps: whatever stood behind this
word before comes next. With that it soon looks values up by names, and then by questions, while it finds out
neither in thousands of steps that begin with questions. So training begins with these, in this order.
"""

from collections.abc import Callable, Sequence

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Conversation, PromptEpisode
from tiltyard.models.embedded.questions import ask
from tiltyard.models.embedded.vocabulary import ITEMS, SENSORS, THINGS

SEPARATORS = (" ", " ", ": ", " | ", " = ", " is ")
"""What stands between a name and its value."""
NOUNS = tuple(dict.fromkeys((*ITEMS, *SENSORS, *THINGS)))
"""Names that are a token each, most of them."""
LOOKED_UP = ("amount", "dose", "reading", "date", "count", "person", "option")
"""Kinds of question whose answer is found by a name."""
COMPARED = ("level", "growth")
"""Kinds whose answer compares what is found by a name."""
ASKED_ONCE = ("option",)
"""Those whose context has an answer to one question only."""


def copying(draw: Draw) -> PromptEpisode:
    """Words and numbers to say again as they are."""
    words = [
        draw.item(NOUNS) if draw.chance(0.7) else draw.number(10, 9999)
        for _ in range(draw.one((8, 16, 24, 32, 40)))
    ]
    text = " ".join(words)
    return PromptEpisode("recall/copy", f"\n{text}", f"\n{text}")


def looking_up(draw: Draw) -> Conversation:
    """A short list of words with words, and some of its names, one at a time."""
    count = draw.one((2, 3, 4, 6, 8))
    # The nouns that are kept for evaluation are fewer than a long list has.
    words = _distinct(lambda: draw.word() if draw.held_out else draw.item(NOUNS), 2 * count)
    names, separator = words[:count], draw.one(SEPARATORS)
    rows = dict(zip(names, words[count:], strict=True))
    asked = [draw.one(names) for _ in range(12)]
    shown = "\n".join(f"{name}{separator}{value}" for name, value in rows.items())
    prompts = (f"{shown}\n\n{asked[0]}", *(f"\n{name}" for name in asked[1:]))
    replies = (f"\n{rows[name]}" for name in asked)
    return Conversation("recall/look up", tuple(zip(prompts, replies, strict=True)))


def recalling(draw: Draw) -> PromptEpisode:
    """A list of names with values, to say again in another order."""
    names = _names(draw, draw.one((2, 3, 4, 5, 6, 8)))
    value = draw.one((_small, _large, _decimal, _date, _person, _word))
    separator = draw.one(SEPARATORS)
    rows = [f"{name}{separator}{value(draw)}" for name in names]
    return PromptEpisode("recall/list", "\n".join(rows), "\n".join(draw.sample(rows, len(rows))))


def asking_in_a_row(draw: Draw, kinds: Sequence[str] = LOOKED_UP) -> Conversation:
    """Questions of one of some kinds over one context, answered in the default way, without any layout."""
    kind, seed = draw.one(kinds), repr(draw.rng.random())
    turns = 1 if kind in ASKED_ONCE else draw.one((2, 3, 4, 5))
    draws = (Draw(seed, held_out=draw.held_out, asking=f"{seed}/{turn}") for turn in range(turns))
    first, *others = (ask(turn, kind) for turn in draws)
    prompts = (f"{first.context}\n\n{first.question}", *(other.question for other in others))
    # An answer has a line of its own, as in an adapter's layout.
    replies = (f"\n{one.answer}" for one in (first, *others))
    return Conversation("recall/questions", tuple(zip(prompts, replies, strict=True)))


def _names(draw: Draw, count: int) -> list[str]:
    nouns = draw.one((ITEMS, SENSORS, THINGS))
    return _distinct(lambda: draw.item(nouns) if draw.chance(0.5) else draw.word(), count)


def _distinct(drawn: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[drawn()] = None
    return list(found)


def _small(draw: Draw) -> str:
    return draw.number(10, 999)


def _large(draw: Draw) -> str:
    return draw.number(1000, 99999)


def _decimal(draw: Draw) -> str:
    return draw.number(10, 999, 1)


def _date(draw: Draw) -> str:
    return draw.date()


def _person(draw: Draw) -> str:
    return draw.name()


def _word(draw: Draw) -> str:
    return draw.word()
