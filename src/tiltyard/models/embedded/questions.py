"""Questions over small tables, notes, logs and tickets, with answers in the default way.

>>> one = ask(Draw("0"), "dose")
>>> one.question, one.answer
('What dose of brolin does the patient take?', '12.5')

The default way: numbers as they stand, the letter of an option, names as they stand, dates as
year-month-day, ``yes``, ``no`` or ``maybe``, ``high`` or ``normal``, a team's usual name, and ``unknown``
for what is not stated.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tiltyard.models.embedded.conventions import DATES, NAMES, OPTIONS, House, limit_of, written
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.vocabulary import (
    ASKED,
    FINDINGS,
    ITEMS,
    ROLES,
    SAID,
    SENSORS,
    SYMPTOMS,
    TEAMS,
    THINGS,
    UNITS,
)

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Question:
    """A question with its context and its answer in the default way."""

    kind: str
    """A key of :data:`KINDS`."""
    question: str
    context: str
    answer: str
    subject: str
    """What a convention about the answer has as its subject: a number's subject, or the label itself."""
    options: tuple[str, ...] = ()
    """The texts of the options, where the answer is the letter of one."""
    reading: str = ""
    """Where the answer is a level: what was read, and from which limit on the context calls it high."""
    limit: str = ""

    def answer_of(self, house: House) -> str:
        """The answer as a house writes it."""
        if not self.reading:
            return written(self.answer, self.subject, house, self.options)
        level = "high" if float(self.reading) >= float(limit_of(house, self.limit)) else "normal"
        return written(level, level, house)


def _entity(draw: Draw, nouns: tuple[str, ...]) -> str:
    return draw.item(nouns) if draw.chance(0.6) else draw.word()


def _entities(draw: Draw, nouns: tuple[str, ...], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        entity = _entity(draw, nouns)
        if entity not in found:
            found.append(entity)
    return found


def _number(draw: Draw) -> str:
    kind = draw.one(("small", "decimal", "decimal", "decimal", "large", "long"))
    if kind == "small":
        return draw.number(10, 999)
    if kind == "decimal":
        return draw.number(10, 999, 1)
    return draw.number(1000, 99999) if kind == "large" else draw.number(1000, 9999, 1)


def _table(
    draw: Draw, rows: list[str], years: list[str], cell: Callable[[Draw], str]
) -> dict[tuple[str, str], str]:
    return {(row, year): cell(draw) for row in rows for year in years}


def _shown(cells: dict[tuple[str, str], str], rows: list[str], years: list[str]) -> str:
    lines = [" | ".join(["item", *years])]
    lines += [" | ".join([row, *(cells[row, year] for year in years)]) for row in rows]
    return "\n".join(lines)


def _years(draw: Draw) -> list[str]:
    first = draw.rng.randint(2001, 2028)
    return [str(first + place) for place in range(draw.one((1, 2)))]


def _amount(draw: Draw) -> Question:
    rows, years = _entities(draw, ITEMS, draw.one((2, 3, 4))), _years(draw)
    cells = _table(draw, rows, years, _number)
    row, year = draw.asking.one(rows), draw.asking.one(years)
    asked = draw.asking.item(ASKED["amount"])
    if draw.asking.chance(0.12):
        missing = next(
            entity for entity in iter(lambda: _entity(draw.asking, ITEMS), None) if entity not in rows
        )
        return Question(
            "amount", asked.format(row=missing, year=year), _shown(cells, rows, years), UNKNOWN, UNKNOWN
        )
    return Question(
        "amount", asked.format(row=row, year=year), _shown(cells, rows, years), cells[row, year], "amounts"
    )


def _sum(draw: Draw) -> Question:
    rows, years = _entities(draw, ITEMS, draw.one((2, 3))), [str(draw.rng.randint(2001, 2029))]
    cells = _table(draw, rows, years, lambda draw: draw.number(10, 49))
    one, other = draw.asking.sample(rows, 2)
    asked = draw.asking.item(ASKED["sum"])
    total = int(cells[one, years[0]]) + int(cells[other, years[0]])
    return Question("sum", asked.format(one=one, other=other), _shown(cells, rows, years), str(total), "sums")


def _growth(draw: Draw) -> Question:
    rows, years = _entities(draw, ITEMS, draw.one((2, 3))), _years(draw)
    if len(years) == 1:
        years = [years[0], str(int(years[0]) + 1)]
    cells = _table(draw, rows, years, lambda draw: draw.number(10, 999))
    row = draw.asking.one(rows)
    asked = draw.asking.item(ASKED["growth"])
    label = "yes" if int(cells[row, years[1]]) > int(cells[row, years[0]]) else "no"
    question = asked.format(row=row, first=years[0], last=years[1])
    return Question("growth", question, _shown(cells, rows, years), label, label)


def _dose(draw: Draw) -> Question:
    drugs = [draw.word() for _ in range(draw.one((1, 2, 3)))]
    doses = [draw.one((draw.number(1, 99, 1), draw.number(5, 950), draw.number(1, 99, 1))) for _ in drugs]
    takes = draw.item(SAID["dose"])
    listed = ", ".join(takes.format(drug=drug, dose=dose) for drug, dose in zip(drugs, doses, strict=True))
    context = f"{draw.name()}, age {draw.rng.randint(18, 90)}, {draw.item(SYMPTOMS)}. Takes {listed}."
    asked = draw.asking.item(ASKED["dose"])
    if draw.asking.chance(0.12):
        return Question("dose", asked.format(drug=draw.asking.word()), context, UNKNOWN, UNKNOWN)
    place = draw.asking.rng.randrange(len(drugs))
    return Question("dose", asked.format(drug=drugs[place]), context, doses[place], "doses")


def _verdict(draw: Draw) -> Question:
    drugs = [draw.word() for _ in range(draw.one((1, 2, 3)))]
    labels = [draw.one(("yes", "no", "maybe")) for _ in drugs]
    symptoms = [draw.item(SYMPTOMS) for _ in drugs]
    said = [
        draw.item(FINDINGS[label]).format(drug=drug, symptom=symptom)
        for drug, label, symptom in zip(drugs, labels, symptoms, strict=True)
    ]
    place = draw.asking.rng.randrange(len(drugs))
    asked = draw.asking.item(ASKED["verdict"])
    context = " ".join(said)
    question = asked.format(drug=drugs[place], symptom=symptoms[place])
    return Question("verdict", question, context, labels[place], labels[place])


def _reading(draw: Draw) -> Question:
    sensors, unit = _entities(draw, SENSORS, draw.one((2, 3, 4))), draw.item(UNITS)
    values = [
        draw.one((draw.number(1, 99, 1), draw.number(100, 999, 1), draw.number(1000, 9999))) for _ in sensors
    ]
    lines = [f"{sensor} {value} {unit}" for sensor, value in zip(sensors, values, strict=True)]
    place = draw.asking.rng.randrange(len(sensors))
    asked = draw.asking.item(ASKED["reading"])
    return Question(
        "reading", asked.format(sensor=sensors[place]), "\n".join(lines), values[place], "readings"
    )


def _level(draw: Draw) -> Question:
    sensors = _entities(draw, SENSORS, draw.one((1, 2, 2, 3)))
    values = [draw.number(11, 99) for _ in sensors]
    limit = draw.number(20, 90)
    lines = [f"limit {limit}", *(f"{sensor} {value}" for sensor, value in zip(sensors, values, strict=True))]
    place = draw.asking.rng.randrange(len(sensors))
    asked = draw.asking.item(ASKED["level"])
    level = "high" if int(values[place]) >= int(limit) else "normal"
    return Question(
        "level",
        asked.format(sensor=sensors[place]),
        "\n".join(lines),
        level,
        level,
        reading=values[place],
        limit=limit,
    )


def _date(draw: Draw) -> Question:
    things, dates = _entities(draw, SENSORS, draw.one((1, 2, 3))), []
    lines = []
    for thing in things:
        dates.append(draw.date())
        said = draw.item(SAID["date"])
        lines.append(said.format(date=dates[-1], thing=thing))
    place = draw.asking.rng.randrange(len(things))
    asked = draw.asking.item(ASKED["date"])
    return Question("date", asked.format(thing=things[place]), "\n".join(lines), dates[place], DATES)


def _person(draw: Draw) -> Question:
    roles = draw.sample(ROLES, draw.one((1, 2, 3)))
    names = [draw.name() for _ in roles]
    said = draw.item(SAID["person"])
    context = "\n".join(said.format(role=role, name=name) for role, name in zip(roles, names, strict=True))
    place = draw.asking.rng.randrange(len(roles))
    asked = draw.asking.item(ASKED["person"])
    return Question("person", asked.format(role=roles[place]), context, names[place], NAMES)


def _team(draw: Draw) -> Question:
    team = draw.one(tuple(TEAMS))
    thing = _entity(draw, THINGS)
    complaint = draw.item(TEAMS[team])
    said = draw.item(SAID["team"])
    asked = draw.asking.item(ASKED["team"])
    return Question("team", asked, said.format(thing=thing, complaint=complaint), team, team)


def _count(draw: Draw) -> Question:
    things = _entities(draw, THINGS, draw.one((2, 3)))
    counts = [draw.one((draw.number(2, 99), draw.number(1000, 9999))) for _ in things]
    listed = ", ".join(f"{thing} x {count}" for thing, count in zip(things, counts, strict=True))
    context = f"{draw.name()} ordered: {listed}."
    asked = draw.asking.item(ASKED["count"])
    place = draw.asking.rng.randrange(len(things))
    return Question("count", asked.format(thing=things[place]), context, counts[place], "counts")


def _option(draw: Draw) -> Question:
    things = _entities(draw, THINGS, draw.one((3, 4)))
    chosen = draw.one(things)
    said = draw.item(SAID["option"])
    asked = draw.asking.item(ASKED["option"])
    lettered = " ".join(f"{letter}. {thing}" for letter, thing in zip("ABCD", things, strict=False))
    context = f"{said.format(thing=chosen)} {draw.name()} asks for help."
    letter = "ABCD"[things.index(chosen)]
    return Question("option", f"{asked} {lettered}", context, letter, OPTIONS, options=tuple(things))


KINDS: dict[str, Callable[[Draw], Question]] = {
    "amount": _amount,
    "sum": _sum,
    "growth": _growth,
    "dose": _dose,
    "verdict": _verdict,
    "person": _person,
    "reading": _reading,
    "level": _level,
    "date": _date,
    "team": _team,
    "count": _count,
    "option": _option,
}
"""What can be asked."""

DOMAINS: dict[str, tuple[str, ...]] = {
    "finance": ("amount", "sum", "growth"),
    "clinical": ("dose", "verdict", "person"),
    "sensors": ("reading", "level", "date"),
    "tickets": ("team", "count", "option"),
}
"""The kinds of each domain."""

LABELS: dict[str, tuple[str, ...]] = {
    "growth": ("yes", "no"),
    "verdict": ("yes", "no", "maybe"),
    "level": ("high", "normal"),
    "team": tuple(TEAMS),
    "amount": (UNKNOWN,),
    "dose": (UNKNOWN,),
}
"""The labels among the answers of a kind."""

SUBJECTS: dict[str, str] = {
    "amount": "amounts",
    "sum": "sums",
    "dose": "doses",
    "reading": "readings",
    "count": "counts",
    "person": NAMES,
    "date": DATES,
    "option": OPTIONS,
    "level": "levels",
}
"""What a convention about the answers of a kind has as its subject, labels aside."""


def ask(draw: Draw, kind: str) -> Question:
    """A question of a kind.

    Args:
        draw: The choices.
        kind: A key of :data:`KINDS`.
    """
    return KINDS[kind](draw)
