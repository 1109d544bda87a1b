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
from tiltyard.models.embedded.phrasing import phrasings

NUMBERS = ("amounts", "sums", "doses", "readings", "counts")
"""Subjects whose answers are numbers."""
OPTIONS, NAMES, DATES, LEVELS = "options", "names", "dates", "levels"

PHRASINGS: dict[str, tuple[str, ...]] = {
    "whole": phrasings(
        "Round {subject} to whole numbers.",
        "<Give|Write|State|Show> {subject} as <rounded whole numbers|whole numbers, rounded>.",
        "No decimals in {subject}; round them.",
        "{Subject} are rounded to <whole numbers|the nearest whole number>.",
        "Use <rounded whole|rounded> numbers for {subject}.",
        "<Drop|Remove|Leave out> the decimals of {subject} by rounding.",
    ),
    "tenth": phrasings(
        "Write {subject} with one decimal.",
        "<Write|Give|Show|State> {subject} <with|to> one decimal<| place>.",
        "{Subject} have <one|exactly one> decimal.",
        "Show one <digit|decimal> after the point in {subject}.",
        "Use <one|exactly one> decimal for {subject}.",
        "Round {subject} to one decimal<| place>.",
    ),
    "commas": phrasings(
        "Put commas between thousands in {subject}.",
        "<Put|Use|Write> commas <between|for> thousands in {subject}.",
        "<Write|Give|Show|State> {subject} with commas <between|for> thousands.",
        "{Subject} have <thousands separated by commas|commas between thousands>.",
        "Separate thousands in {subject} with <a comma|commas>.",
        "In {subject}, <group digits by comma|put commas between thousands>.",
        "Use a comma for <each|every> thousand in {subject}.",
    ),
    "before": phrasings(
        "Write {value} before {subject}.",
        "<Write|Put|Place|Set> {value} <before|in front of> {subject}.",
        "<Begin|Start> {subject} with <|the word >{value}.",
        "{Subject} <begin|start> with <|the word >{value}.",
        "{Subject} have {value} <before|in front of> the number.",
        "The word {value} <stands|comes|goes> <before|in front of> {subject}.",
    ),
    "after": phrasings(
        "Write {value} after {subject}.",
        "<Write|Put|Place|Set> {value} <after|behind> {subject}.",
        "<End|Finish> {subject} with <|the word >{value}.",
        "{Subject} <end|finish> with <|the word >{value}.",
        "{Subject} have {value} <after|behind> the number.",
        "The word {value} <stands|comes|goes> <after|behind> {subject}.",
        "Add {value} to the end of {subject}.",
    ),
    "bracket": phrasings(
        "Answer options with the letter in brackets.",
        "Put brackets around the letter of <an|the> option.",
        "The letter of an option <stands|goes|is> <in|between> brackets.",
        "For options <write|give> the letter <in|within|between> brackets.",
        "Options: <write|give> the letter <in|within|between> brackets.",
        "<Write|Give> an option's letter <in|within|between> brackets.",
    ),
    "small": phrasings(
        "Answer options with the letter in lower case.",
        "Use a <small|lower-case> letter for options.",
        "The letter of an option is a <small|lower-case> one.",
        "For options <write|give> <a|the> <small|lower-case> letter.",
        "Options: <write|give> the <small letter|lower-case letter|letter in lower case>.",
        "<Write|Give> an option's letter in lower case.",
    ),
    "text": phrasings(
        "Answer options with their text, not the letter.",
        "<Write|Give> the <text|words> of <an|the> option, <not its letter|without its letter>.",
        "For options <write|give> the <text|words> alone.",
        "Name <an|the> option by its <text|words>.",
        "Options: <write|give> the <text|words>, <no letter|not the letter>.",
        "<Write|Give> an option's <text|words> and no letter.",
    ),
    "both": phrasings(
        "Answer options with the letter, a colon and the text.",
        "<Write|Give> letter and <text|words> of <an|the> option with a colon between.",
        "For options <write|give> the letter<, a colon and| and then> the <text|words>.",
        "Options: letter, colon, <text|words>.",
        "<Write|Give> both the letter and the <text|words> of an option.",
        "<Write|Give> an option as its letter, a colon and its <text|words>.",
    ),
    "surname": phrasings(
        "Write names with the family name first and a comma.",
        "<Put|Write|Give> the family name first in names, <then|and> a comma.",
        "Names <begin|start> with the family name<| and a comma>.",
        "<Give|Write|Show> names as family name, comma, first name.",
        "In names the family name <comes|goes|stands> first<|, with a comma>.",
        "Names: <the |>family name, then the first name.",
    ),
    "dots": phrasings(
        "Write dates as day.month.year.",
        "<Write|Give|Show|State> <dates|a date|every date> as day.month.year.",
        "Dates are <given|written|shown> as day.month.year.",
        "Use day.month.year for <dates|a date|every date>.",
        "<Write|Give|Show> dates with dots, the day first.",
        "Dates: the day first, with dots.",
        "Put dots in dates and <begin|start> with the day.",
    ),
    "slashes": phrasings(
        "Write dates as month/day/year.",
        "<Write|Give|Show|State> <dates|a date|every date> as month/day/year.",
        "Dates are <given|written|shown> as month/day/year.",
        "Use month/day/year for <dates|a date|every date>.",
        "<Write|Give|Show> dates with slashes, the month first.",
        "Dates: the month first, with slashes.",
        "Put slashes in dates and <begin|start> with the month.",
    ),
    "say": phrasings(
        "Write {value} instead of {subject}.",
        "<Write|Say|Put|Use> {value} <instead of|in place of|for> {subject}.",
        "<Write|Say> {value} where you would <write|say> {subject}.",
        "{Subject} is <written|called> {value}<| here>.",
        "The word for {subject} is {value}.",
        "Replace {subject} <by|with> {value}.",
        "Instead of {subject}, <write|say> {value}.",
    ),
    "limit": phrasings(
        "Call a level high from {value} on.",
        "A level is <high|called high> <if|when> it is {value} or more.",
        "From {value} on, a level is <high|called high>.",
        "Levels <of {value} or more|from {value} on> are <high|called high>.",
        "The limit for a high level is {value}.",
        "Treat {value} <and|or> more as <high|a high level>.",
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
