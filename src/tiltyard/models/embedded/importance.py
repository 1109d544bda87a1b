"""Synthetic judgements of the town: how important an observation is, and what memories have in common.

The world of importance. A score is the severity of the event, then moved step by step; after every step it
is kept within 1 to 10:

====================  ===================================================  =====
step                  when                                                 moves
====================  ===================================================  =====
severity              trivial, minor, notable, serious, critical           1, 3, 5, 7, 9
size                  the event is called small / huge, or a like word     -1 / +1
goal                  the topic of the observation is that of the goal     +2
personality           the agent is careless / anxious, or a like word      -1 / +1
====================  ===================================================  =====

So the score never falls when one of them rises. The words for events, sizes and traits are the same in
training and evaluation, for nothing else tells what they weigh; topics, phrasings and names are not.

The world of reflection. Memories are about topics, one of which recurs. The insight names it, says whether it
is that of the goal, and what an agent of this personality does about it.
"""

from dataclasses import dataclass, replace

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, Turn
from tiltyard.programs.town import ReflectOnMemories, ScoreImportance

SEVERITIES = {"trivial": 1, "minor": 3, "notable": 5, "serious": 7, "critical": 9}
EVENTS = {
    "trivial": "leaf, cloud, bird, breeze, puddle, pebble, feather, shadow, butterfly, squirrel, cat, cart",
    "minor": "greeting, drizzle, song, new sign, stray dog, joke, chat, visitor, lost glove, smell, queue, "
    "noise",
    "notable": "invitation, meeting, rumour, offer, sale, complaint, delay, party, request, discovery, "
    "promise, election",
    "serious": "quarrel, theft, storm, injury, warning, debt, accident, power cut, strike, betrayal, "
    "illness, break-in",
    "critical": "fire, flood, earthquake, murder, collapse, explosion, riot, plague, attack, kidnapping, "
    "gas leak, avalanche",
}
"""Things that happen, by severity."""
CLAUSES = {
    "trivial": "the grass is green; the sky is blue; a door is open; a leaf falls; the sun shines; a clock "
    "ticks",
    "minor": "it is raining; someone waves; someone reads a book; a dog barks; someone drinks tea; a shop "
    "is shut",
    "notable": "someone asks for help; someone plans a party; someone has an idea; prices rise; work "
    "begins; someone wants to talk",
    "serious": "someone is hurt; someone is angry; money is missing; the roof leaks; someone is lost; a "
    "deal fails",
    "critical": "the house is on fire; someone is dying; everything is lost; people flee; a bomb is found; "
    "the dam breaks",
}
"""The same as clauses, which have no size."""
SIZES = {
    -1: "small, minor, little, weak, slight, brief",
    0: "",
    1: "huge, great, terrible, major, severe, enormous",
}
CARE = {
    -1: "careless, lazy, indifferent, forgetful, sleepy, bored",
    0: "",
    1: "anxious, diligent, watchful, careful, nervous, devoted",
}
NEUTRAL = "quiet, friendly, tall, polite, witty, modest, musical, talkative, cheerful, shy, honest, practical"
"""Traits that move nothing."""
TRAIT_PAIRS = (
    "{} and {}; {}, {}; both {} and {}; {} yet {}; {} but {}; {} as well as {}; {} / {}; {} + {}; {}, also "
    "{}; {} & {}"
)
TOPICS = (
    "mill, bakery, harvest, school, library, market, bridge, well, cafe, garden, theatre, harbour, church, "
    "museum, hospital, station, festival, orchard, workshop, tavern, tower, park, stable, archive, bank, "
    "inn, forge, farm, gallery, kitchen, lab, office, pond, shop, square, street, temple, vineyard, "
    "warehouse, zoo"
)
GOALS = (
    "run the {}; keep the {} safe; open the {}; repair the {}; study the {}; paint the {}; buy the {}; "
    "save the {}; learn about the {}; write about the {}; look after the {}; visit the {}; improve the {}; "
    "win the {}; clean the {}"
)
EVENT_FRAMES = (
    "There is {} {}.; You see {} {}.; {name} reports {} {}.; You notice {} {}.; Word comes of {} {}.; "
    "{name} tells you of {} {}.; You hear of {} {}.; {name} talks about {} {}.; Someone mentions {} {}.; "
    "You come upon {} {}.; {name} found {} {}.; This morning there was {} {}.; People speak of {} {}.; You "
    "observe {} {}.; {name} points at {} {}."
)
CLAUSE_FRAMES = (
    "You see that {} {}.; {name} says that {} {}.; You hear that {} {}.; It seems that {} {}.; You notice "
    "that {} {}.; {name} tells you that {} {}.; Today {} {}.; People say that {} {}.; {name} writes that "
    "{} {}.; You learn that {} {}.; Now {} {}.; As you pass, {} {}."
)
LINKS = (
    "at the {}; near the {}; by the {}; behind the {}; beside the {}; in front of the {}; close to the {}; "
    "outside the {}; around the {}; next to the {}; opposite the {}; not far from the {}"
)
DOINGS = (
    "{name} worked at the {}.; I walked past the {}.; {name} asked about the {}.; I saw a crowd at the "
    "{}.; {name} was late at the {}.; I heard news of the {}.; {name} spoke of the {}.; I helped at the "
    "{}.; {name} left the {} in a hurry.; I read about the {}.; {name} painted the {}.; I waited at the {}."
)
STANCES = {-1: "let the {} be", 0: "keep an eye on the {}", 1: "look after the {} at once"}
"""What an agent does about a topic, by its care."""


def listed(text: str) -> list[str]:
    """The items of a list that is written with semicolons, or else with commas, between them."""
    return text.split("; ") if "; " in text else text.split(", ")


def importance_tally(severity: int, size: int, touches_goal: bool, care: int) -> tuple[int, int, int, int]:
    """The score after each step: severity, size, goal and personality. The last is the score.

    Args:
        severity: 1, 3, 5, 7 or 9.
        size: -1 small, 0 as usual, 1 huge.
        touches_goal: Whether the observation is about the topic of the goal.
        care: -1 careless, 0 neutral, 1 anxious.
    """
    first = severity
    second = min(10, max(1, first + size))
    third = min(10, second + 2 * touches_goal)
    return first, second, third, min(10, max(1, third + care))


@dataclass(frozen=True)
class Observation:
    """What an importance episode is made of; ``turn`` writes it down."""

    severity: str
    event: str
    clause: bool
    size: int
    size_word: str
    topic: str
    goal_topic: str
    care: int
    care_word: str
    personality: str
    frame: str
    link: str
    goal: str
    name: str

    @property
    def tally(self) -> tuple[int, int, int, int]:
        """The score after each step."""
        return importance_tally(
            SEVERITIES[self.severity], self.size, self.topic == self.goal_topic, self.care
        )

    def turn(self) -> Turn:
        """The observation and its judgement."""
        what = self.event
        if not self.clause:
            what = f"{self.size_word} {what}".strip()
            what = f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
        observed = self.frame.format(what, self.link.format(self.topic), name=self.name)
        first, second, third, last = self.tally
        steps = [f"{self.event[0].upper()}{self.event[1:]} is {self.severity}, {first}."]
        if self.size:
            steps.append(f"{self.size_word.capitalize()}, {second}.")
        same = "same" if self.topic == self.goal_topic else "other"
        steps.append(f"Topic {self.topic}, goal {self.goal_topic}: {same}, {third}.")
        if self.care:
            steps.append(f"{self.care_word.capitalize()}, {last}.")
        return Turn(
            {
                "observation": observed,
                "agent_goal": self.goal.format(self.goal_topic),
                "agent_personality": self.personality,
            },
            {"reasoning": " ".join(steps), "score": last},
        )


def topic(draw: Draw) -> str:
    """A place or a matter of the town: a made-up word half of the time."""
    return draw.word() if draw.chance(0.5) else draw.item(listed(TOPICS))


def observation(draw: Draw) -> Observation:
    """An observation, in which every step of the score is as likely to count as not."""
    clause = draw.chance(0.3)
    severity = draw.one(list(SEVERITIES))
    size = 0 if clause else draw.one((-1, 0, 0, 1))
    care = draw.one((-1, 0, 0, 1))
    care_word = draw.one(listed(CARE[care]))
    goal_topic = topic(draw)
    return Observation(
        severity=severity,
        event=_event(draw, severity, clause),
        clause=clause,
        size=size,
        size_word=draw.one(listed(SIZES[size])),
        topic=goal_topic if draw.chance(0.5) else topic(draw),
        goal_topic=goal_topic,
        care=care,
        care_word=care_word,
        personality=_personality(draw, care_word),
        frame=draw.item(listed(CLAUSE_FRAMES if clause else EVENT_FRAMES)),
        link=draw.item(listed(LINKS)),
        goal=draw.item(listed(GOALS)),
        name=draw.name(),
    )


def importance(draw: Draw) -> Episode:
    """An observation to score, after none to three others with their scores."""
    turns = [observation(draw).turn() for _ in range(draw.one((1, 1, 2, 3, 4)))]
    return Episode("judge/importance", ScoreImportance, tuple(turns))


def importance_pairs(draw: Draw) -> tuple[Episode, Episode]:
    """Two episodes that differ in the severity of the event alone: the lower score first."""
    demos = importance(draw).turns[:-1]
    while True:
        one = observation(draw)
        low, high = sorted(draw.sample(list(SEVERITIES), 2), key=SEVERITIES.__getitem__)
        lower = replace(one, severity=low, event=_event(draw, low, one.clause))
        higher = replace(one, severity=high, event=_event(draw, high, one.clause))
        if lower.tally[-1] < higher.tally[-1]:
            break
    return (
        Episode("judge/importance", ScoreImportance, (*demos, lower.turn())),
        Episode("judge/importance", ScoreImportance, (*demos, higher.turn())),
    )


def town_reflection(draw: Draw) -> Episode:
    """Memories to reflect on, after none to two other reflections."""
    turns = [_reflection(draw) for _ in range(draw.one((1, 1, 2, 3)))]
    return Episode("judge/reflection", ReflectOnMemories, tuple(turns))


def _reflection(draw: Draw) -> Turn:
    recurring = topic(draw)
    times = draw.one((2, 3))
    found = [topic(draw) for _ in range(draw.one((1, 2)))]
    others = [one for one in dict.fromkeys(found) if one != recurring]
    goal_topic = recurring if draw.chance(0.5) else draw.one([*others, topic(draw)])
    care = draw.one((-1, 0, 1))
    care_word = draw.one(listed(CARE[care]))
    about = draw.sample([recurring] * times + others, times + len(others))
    memories = [draw.item(listed(DOINGS)).format(one, name=draw.name()) for one in about]
    same = "same" if recurring == goal_topic else "other"
    trait = f" {care_word.capitalize()}." if care else ""
    matter = "It is my goal" if recurring == goal_topic else "It is not my goal"
    return Turn(
        {
            "recent_memories": "\n".join(memories),
            "agent_personality": _personality(draw, care_word),
            "agent_goal": draw.item(listed(GOALS)).format(goal_topic),
        },
        {
            "reasoning": f"The {recurring} recurs, {times} times. Goal {goal_topic}: {same}.{trait}",
            "insight": f"The {recurring} keeps coming up. {matter}; I {STANCES[care].format(recurring)}.",
        },
    )


def _personality(draw: Draw, care_word: str) -> str:
    neutral = draw.item(listed(NEUTRAL))
    first, second = draw.sample([care_word, neutral], 2)
    return draw.item(listed(TRAIT_PAIRS)).format(first, second) if care_word else neutral


def _event(draw: Draw, severity: str, clause: bool) -> str:
    return draw.one(listed((CLAUSES if clause else EVENTS)[severity]))
