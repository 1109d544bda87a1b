"""House conventions: how a house wants its answers written, as rules that a playbook can hold.

A convention has a subject (what it is about), a form (what it does) and sometimes a value. Its canonical
sentence is what a reflector states and a curator keeps; the other phrasings say the same.

>>> rule = Convention("amounts", "before", "USD")
>>> rule.sentence, rule.apply("412")
('Write USD before amounts.', 'USD 412')

| form | what it does to an answer | for |
|---|---|---|
| ``whole`` | rounds to a whole number, half up | numbers |
| ``tenth`` | rounds to one decimal, or adds one | numbers |
| ``commas`` | puts commas between thousands | numbers |
| ``before``, ``after`` | puts a word before or after | numbers |
| ``bracket``, ``small``, ``text``, ``both`` | ``(B)``, ``b``, the option's text, ``B: text`` | options |
| ``surname`` | puts the family name first, with a comma | names |
| ``dots``, ``slashes`` | ``05.03.2024``, ``03/05/2024`` | dates |
| ``say`` | another word in the place of a label | labels |
| ``limit`` | another limit from which on a level is high | levels |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from tiltyard.models.embedded.draw import Draw

NUMBERS = ("amounts", "sums", "doses", "readings", "counts")
"""Subjects whose answers are numbers."""
OPTIONS, NAMES, DATES, LEVELS = "options", "names", "dates", "levels"

PHRASINGS: dict[str, tuple[str, ...]] = {
    "whole": (
        "Round {subject} to whole numbers.",
        "Give {subject} as whole numbers, rounded.",
        "No decimals in {subject}; round them.",
        "{Subject} are rounded to the nearest whole number.",
        "Use rounded whole numbers for {subject}.",
        "Drop the decimals of {subject} by rounding.",
    ),
    "tenth": (
        "Write {subject} with one decimal.",
        "Give {subject} to one decimal place.",
        "{Subject} have exactly one decimal.",
        "Show one digit after the point in {subject}.",
        "Use one decimal for {subject}.",
        "Round {subject} to one decimal place.",
    ),
    "commas": (
        "Put commas between thousands in {subject}.",
        "Write {subject} with commas for thousands.",
        "{Subject} have thousands separated by commas.",
        "Separate thousands in {subject} with a comma.",
        "Use a comma for each thousand in {subject}.",
        "In {subject}, group digits by comma.",
    ),
    "before": (
        "Write {value} before {subject}.",
        "Put {value} in front of {subject}.",
        "{Subject} begin with {value}.",
        "Begin {subject} with the word {value}.",
        "{Subject} have {value} before the number.",
        "Start {subject} with {value}.",
    ),
    "after": (
        "Write {value} after {subject}.",
        "Put {value} behind {subject}.",
        "{Subject} end with {value}.",
        "End {subject} with the word {value}.",
        "{Subject} have {value} after the number.",
        "Add {value} to the end of {subject}.",
    ),
    "bracket": (
        "Answer options with the letter in brackets.",
        "Put brackets around the letter of an option.",
        "The letter of an option stands in brackets.",
        "For options write the letter within brackets.",
        "Options: give the letter in brackets.",
        "Write an option's letter between brackets.",
    ),
    "small": (
        "Answer options with the letter in lower case.",
        "Use a small letter for options.",
        "The letter of an option is a small one.",
        "For options write a lower-case letter.",
        "Options: give the small letter.",
        "Write an option's letter in lower case.",
    ),
    "text": (
        "Answer options with their text, not the letter.",
        "Write the words of the option, without its letter.",
        "For options give the text alone.",
        "Name the option by its text.",
        "Options: write out the text.",
        "Give an option's words and no letter.",
    ),
    "both": (
        "Answer options with the letter, a colon and the text.",
        "Write letter and text of the option with a colon between.",
        "For options give the letter and then the text.",
        "Options: letter, colon, text.",
        "Give both the letter and the text of an option.",
        "Write an option as its letter, a colon and its words.",
    ),
    "surname": (
        "Write names with the family name first and a comma.",
        "Put the family name first in names, then a comma.",
        "Names begin with the family name and a comma.",
        "Give names as family name, comma, first name.",
        "In names the family name comes first, with a comma.",
        "Names: family name, then the first name.",
    ),
    "dots": (
        "Write dates as day.month.year.",
        "Dates are given as day.month.year.",
        "Use day.month.year for dates.",
        "Give dates with dots, the day first.",
        "Dates: the day first, with dots.",
        "Put dots in dates and begin with the day.",
    ),
    "slashes": (
        "Write dates as month/day/year.",
        "Dates are given as month/day/year.",
        "Use month/day/year for dates.",
        "Give dates with slashes, the month first.",
        "Dates: the month first, with slashes.",
        "Put slashes in dates and begin with the month.",
    ),
    "say": (
        "Write {value} instead of {subject}.",
        "Say {value} where you would say {subject}.",
        "Use {value} for {subject}.",
        "{Subject} is written {value} here.",
        "The word for {subject} is {value}.",
        "Replace {subject} by {value}.",
    ),
    "limit": (
        "Call a level high from {value} on.",
        "A level is high if it is {value} or more.",
        "From {value} on, a level is high.",
        "Levels of {value} or more are high.",
        "The limit for a high level is {value}.",
        "Treat {value} and more as a high level.",
    ),
}
"""Ways to say each form. The first is canonical; see :meth:`Draw.item` for which are kept for evaluation."""

_CONFLICTS = (
    {"whole", "tenth"},
    {"before", "after"},
    {"bracket", "small", "text", "both"},
    {"dots", "slashes"},
)
"""Forms of which one subject has at most one."""
RESERVED_PAIRS = ({"tenth", "after"}, {"commas", "before"})
"""Forms that are never combined about one subject in training, so that evaluation can try it."""
_ORDER = ("whole", "tenth", "commas", "before", "after")


@dataclass(frozen=True)
class Convention:
    """One convention of a house."""

    subject: str
    """What it is about: one of the subjects above, or the label that is written otherwise."""
    form: str
    """What it does: a key of :data:`PHRASINGS`."""
    value: str = ""
    """The word or number that it brings."""

    @property
    def sentence(self) -> str:
        """The canonical rule."""
        return self._say(PHRASINGS[self.form][0])

    @property
    def phrasings(self) -> tuple[str, ...]:
        """All ways to say the rule."""
        return tuple(self._say(phrasing) for phrasing in PHRASINGS[self.form])

    def phrased(self, draw: Draw) -> str:
        """A phrasing of the rule, the canonical one as often as all others together."""
        if draw.chance(0.5):
            return self.sentence
        return self._say(draw.item(PHRASINGS[self.form]))

    def _say(self, phrasing: str) -> str:
        subject = self.subject
        return phrasing.format(subject=subject, Subject=subject[:1].upper() + subject[1:], value=self.value)

    def clashes(self, other: "Convention") -> bool:
        """Whether both cannot hold at once: they say different things about the same."""
        if self.subject != other.subject:
            return False
        return self.form == other.form or any({self.form, other.form} <= forms for forms in _CONFLICTS)

    def apply(self, answer: str, options: Sequence[str] = ()) -> str:
        """Write an answer this way.

        Args:
            answer: The answer in the default way, or as other conventions have left it.
            options: The texts of a question's options, where the answer is the letter of one.
        """
        match self.form:
            case "whole":
                return str(Decimal(answer).quantize(Decimal(1), ROUND_HALF_UP))
            case "tenth":
                return str(Decimal(answer).quantize(Decimal("0.1"), ROUND_HALF_UP))
            case "commas":
                return f"{Decimal(answer):,}"
            case "before":
                return f"{self.value} {answer}"
            case "after":
                return f"{answer} {self.value}"
            case "bracket":
                return f"({answer})"
            case "small":
                return answer.lower()
            case "text":
                return options["ABCDEF".index(answer)]
            case "both":
                return f"{answer}: {options['ABCDEF'.index(answer)]}"
            case "surname":
                first, family = answer.split(" ", 1)
                return f"{family}, {first}"
            case "dots":
                year, month, day = answer.split("-")
                return f"{day}.{month}.{year}"
            case "slashes":
                year, month, day = answer.split("-")
                return f"{month}/{day}/{year}"
            case "say":
                return self.value if answer == self.subject else answer
        return answer


House = tuple[Convention, ...]
"""The conventions of one house: no two of them clash."""


def limit_of(house: House, stated: str) -> str:
    """The limit that a house sets for levels, else the one that is stated."""
    return next((one.value for one in house if one.form == "limit"), stated)


def written(answer: str, subject: str, house: House, options: Sequence[str] = ()) -> str:
    """An answer about a subject as a house writes it.

    Args:
        answer: The answer in the default way.
        subject: What it is about; labels are their own subject.
        house: The conventions.
        options: The texts of the options, where it is the letter of one.
    """
    ruling = [one for one in house if one.subject == subject and one.form != "limit"]
    ruling.sort(key=lambda one: _ORDER.index(one.form) if one.form in _ORDER else 0)
    for convention in ruling:
        answer = convention.apply(answer, options)
    return answer


def draw_convention(draw: Draw, subject: str) -> Convention:
    """Any convention about a subject; a label is written as a made-up word.

    Args:
        draw: The choices.
        subject: What it is about.
    """
    if subject in NUMBERS:
        form = draw.one(("whole", "tenth", "commas", "before", "after", "before", "after"))
        value = (draw.code() if draw.chance(0.5) else draw.word()) if form in ("before", "after") else ""
        return Convention(subject, form, value)
    if subject == OPTIONS:
        return Convention(subject, draw.one(("bracket", "small", "text", "both")))
    if subject == NAMES:
        return Convention(subject, "surname")
    if subject == DATES:
        return Convention(subject, draw.one(("dots", "slashes")))
    if subject == LEVELS:
        return Convention(subject, "limit", draw.number(11, 99))
    return Convention(subject, "say", draw.word())


def combined(conventions: Sequence[Convention], draw: Draw) -> House:
    """A house of the conventions, less what clashes with an earlier one or makes a combination kept back.

    Args:
        conventions: Those wanted, the most wanted first.
        draw: Training never sees the :data:`RESERVED_PAIRS`.
    """
    house: list[Convention] = []
    for convention in conventions:
        if any(
            convention.clashes(other) or (_kept_back(convention, other) and not draw.held_out)
            for other in house
        ):
            continue
        house.append(convention)
    return tuple(house)


def _kept_back(one: Convention, other: Convention) -> bool:
    return one.subject == other.subject and {one.form, other.form} in RESERVED_PAIRS
