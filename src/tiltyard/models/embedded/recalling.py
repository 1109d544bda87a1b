r"""Episodes of recall: a list of names with values, and then the list again in another order.

>>> recalling(Draw("train/7")).reply
'valve 7943\nboiler 7114'

Each of them looks up several values, with nothing around them. So training that begins with them soon finds
out how to look a name up and to copy what stands beside it, which all other abilities rest on.
"""

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.questions import ask
from tiltyard.models.embedded.vocabulary import ITEMS, SENSORS, THINGS

SEPARATORS = (" ", " ", ": ", " | ", " = ", " is ")
"""What stands between a name and its value."""
LOOKED_UP = ("amount", "dose", "reading", "date", "count", "person", "option", "level", "growth")
"""Kinds of question whose answer is found by a name."""


def recalling(draw: Draw) -> PromptEpisode:
    """A list to say again, or the values of a list for some of its names."""
    names = _names(draw, draw.one((2, 3, 4, 5, 6, 8)))
    value = draw.one((_small, _large, _decimal, _date, _person, _word))
    separator = draw.one(SEPARATORS)
    rows = {name: value(draw) for name in names}
    shown = "\n".join(f"{name}{separator}{held}" for name, held in rows.items())
    asked = draw.sample(names, len(names))
    if draw.chance(0.5):
        return PromptEpisode("recall", shown, "\n".join(f"{name}{separator}{rows[name]}" for name in asked))
    questions = "\n".join(f"{name}?" for name in asked)
    return PromptEpisode("recall", f"{shown}\n\n{questions}", "\n".join(rows[name] for name in asked))


def bare_question(draw: Draw) -> PromptEpisode:
    """A question of any kind below its context, and its answer in the default way, without any layout."""
    question = ask(draw, draw.one(LOOKED_UP))
    return PromptEpisode("recall/question", f"{question.context}\n\n{question.question}", question.answer)


def _names(draw: Draw, count: int) -> list[str]:
    nouns = draw.one((ITEMS, SENSORS, THINGS))
    found: list[str] = []
    while len(found) < count:
        name = draw.item(nouns) if draw.chance(0.5) else draw.word()
        if name not in found:
            found.append(name)
    return found


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
