"""Synthetic judgements of the panel: how a persona reacts to advertising, channels and offers.

The world of an advertisement. The intent is 2, then moved step by step and kept within 1 to 5:

=============  ==================================================================  ============
step           when                                                                moves
=============  ==================================================================  ============
interest       the product is among what the persona likes                         +2
price          it watches prices: no discount / below 20% / 20% or more            -1 / 0 / +1
exposures      seen 0-1 times / 2-3 times / 4 times or more                        0 / -1 / -2
=============  ==================================================================  ============

The world of channels. The receptivity is 0.8 for the channel that the persona prefers, 0.2 for one that it
avoids and 0.5 for others, less 0.1 for each recent message on any channel, never below 0. The fatigue is low
to 1 message, medium to 3, high from 4.

The world of purchases. ``no`` where the product is not what the persona needs or costs more than its budget;
else ``delayed`` where it got no message yet, or another offer is cheaper; else ``yes``.

So more of a discount, a preference or a budget never lowers a judgement, and more exposures never raise one
(but for the first message, which makes a product known). Products, phrasings, names, prices and discounts of
the evaluation are never seen in training; channels, days, counts and the words for price habits are shared.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, Turn
from tiltyard.models.embedded.importance import listed
from tiltyard.programs.panel import AssessChannelPreference, EvaluateCreative, SimulatePurchaseDecision

Fatigue = Literal["low", "medium", "high"]
Decision = Literal["no", "delayed", "yes"]

CHANNELS = ("email", "sms", "push", "mail", "phone", "social")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PRODUCTS = (
    "coffee, tea, shoes, books, bikes, music, wine, chess, yoga, cheese, cameras, plants, films, pasta, "
    "hats, jeans, skis, tents, honey, soap, games, lamps, watches, bread, paint, guitars, puzzles, phones, "
    "travel, kites"
)
JOBS = (
    "nurse, driver, teacher, student, farmer, cook, clerk, lawyer, painter, pilot, plumber, waiter, "
    "writer, baker, dentist"
)
PRICE_WATCHERS = "watches prices, counts every penny, hunts for bargains, is thrifty, lives on little"
PRICE_CARELESS = "ignores prices, spends freely, is wealthy, never asks the price, pays gladly"
LIKES = (
    "Likes {} and {}.; Fond of {} and {}.; Interests: {}, {}.; Enjoys {} and {}.; Cares for {} and {}.; "
    "Hobbies: {}, {}.; Talks of {} and {}.; Loves {}, also {}.; Into {} and {}.; Reads about {} and {}."
)
ADVERTS = (
    "{brand}: {}, {}.; New {} by {brand}, {}.; {brand} brings you {}, {}.; Try {} from {brand}: {}.; The "
    "best {}, only at {brand}, {}.; Time for {}! {brand}, {}.; Fresh {} at {brand}: {}.; Discover {} with "
    "{brand}, {}.; {brand} has {}: {}.; All about {} at {brand}, {}.; More {}, {}, says {brand}."
)
SEEN = (
    "{channel}, {day}. Seen {times}.; On {day} by {channel}, seen {times}.; Shown {times}, now by "
    "{channel}.; {day}, {channel}, {times} this week.; By {channel} on {day}. Shown {times} so far.; Seen "
    "{times}, last {day}.; It came {times}, by {channel}.; Got it {times} since {day}.; {day}, {channel}, "
    "{times} before.; Already seen {times} by {channel}.; Met it {times} until {day}."
)
PREFERS = (
    "Prefers {}.; Likes {} best.; Favourite channel: {}.; Wants {}.; Answers {} first.; Always reads {}.; "
    "Asks for {}.; Favours {}.; Would choose {}.; Is glad of {}."
)
AVOIDS = (
    "Avoids {}.; Dislikes {}.; Never opens {}.; Hates {}.; Blocks {}.; Tired of {}.; Ignores {}.; Refuses "
    "{}.; Skips {}.; Complains about {}."
)
NEEDS = (
    "Needs {}.; Looks for {}.; Wants to buy {}.; Is out of {}.; Shops for {}.; Has to get {}.; Searches "
    "for {}.; Asks about {}.; Must have {}.; Hopes to find {}."
)
BUDGETS = (
    "Budget {}.; Can spend {}.; At most {}.; Has {} to spend.; No more than {}.; Limit {}.; Up to {}.; Set "
    "aside {}.; Will pay up to {}.; Saved {}."
)
OFFERS = (
    "{} by {brand}, price {}.; {brand} sells {} for {}.; {}, {brand}, costs {}.; {brand}: {} at {}.; {} "
    "from {brand} for {}.; {brand} has {} for {}.; {brand} offers {} at {}.; Price of {} at {brand}: {}.; "
    "Get {} at {brand} for {}.; {}: {} at {brand}."
)


def creative_tally(interested: bool, watches: bool, discount: int, exposures: int) -> tuple[int, int, int]:
    """The intent after each step: interest, price and exposures. The last is the intent, from 1 to 5.

    Args:
        interested: Whether the product is among what the persona likes.
        watches: Whether the persona watches prices.
        discount: In percent, 0 for none.
        exposures: How often the advertisement was seen before.
    """
    first = 4 if interested else 2
    price = (0 if discount else -1) if discount < 20 else 1
    second = min(5, max(1, first + price * watches))
    return first, second, max(1, second - (0 if exposures < 2 else 1 if exposures < 4 else 2))


def channel_receptivity(attitude: int, exposures: int) -> float:
    """How open a persona is, from 0 to 1 with one decimal.

    Args:
        attitude: -1 where it avoids the channel, 0 where it does not mind, 1 where it prefers it.
        exposures: The number of recent messages on any channel.
    """
    return max(0, 5 + 3 * attitude - exposures) / 10


def fatigue(exposures: int) -> Fatigue:
    """How tired of messages a persona is after so many."""
    return "low" if exposures < 2 else "medium" if exposures < 4 else "high"


def purchase_decision(needed: bool, price: int, budget: int, other: int | None, touches: int) -> Decision:
    """Whether a persona buys.

    Args:
        needed: Whether the product is what it needs.
        price: Of the product, in the unit of the budget.
        budget: What the persona can spend.
        other: The price of another offer; None for no other.
        touches: The number of messages that it got.
    """
    if not needed or price > budget:
        return "no"
    return "delayed" if touches == 0 or (other is not None and other < price) else "yes"


@dataclass(frozen=True)
class Viewing:
    """What a creative episode is made of; ``turn`` writes it down."""

    name: str
    age: str
    job: str
    likes: tuple[str, str]
    likes_frame: str
    watches: bool
    price_words: str
    product: str
    discount: int
    advert: str
    brand: str
    exposures: int
    seen: str
    channel: str
    day: str

    @property
    def tally(self) -> tuple[int, int, int]:
        """The intent after each step."""
        return creative_tally(self.product in self.likes, self.watches, self.discount, self.exposures)

    def turn(self) -> Turn:
        """The viewing and its judgement."""
        offer = f"{self.discount}% off" if self.discount else "full price"
        first, second, last = self.tally
        taste = "yes" if self.product in self.likes else "no"
        price = f"I watch prices, {offer}" if self.watches else "The price does not matter"
        times = f"{self.exposures} time{'' if self.exposures == 1 else 's'}"
        return Turn(
            {
                "persona_profile": f"{self.name}, {self.age}, {self.job}. "
                f"{self.likes_frame.format(*self.likes)} {self.price_words.capitalize()}.",
                "creative_content": self.advert.format(self.product, offer, brand=self.brand),
                "context": self.seen.format(times=times, channel=self.channel, day=self.day),
            },
            {
                "reaction": f"It is {self.product}, I like {' and '.join(self.likes)}: {taste}, {first}. "
                f"{price}: {second}. Seen {times}: {last}.",
                "intent": last,
            },
        )


def viewing(draw: Draw) -> Viewing:
    """A viewing of an advertisement, in which every step of the intent may count."""
    liked = product(draw), product(draw)
    while liked[0] == liked[1]:
        liked = product(draw), product(draw)
    watches = draw.chance(0.6)
    return Viewing(
        name=draw.name(),
        age=draw.number(18, 80),
        job=draw.item(listed(JOBS)),
        likes=liked,
        likes_frame=draw.item(listed(LIKES)),
        watches=watches,
        price_words=draw.one(listed(PRICE_WATCHERS if watches else PRICE_CARELESS)),
        product=draw.one(liked) if draw.chance(0.7) else product(draw),
        discount=draw.one((0, int(draw.number(2, 19)), int(draw.number(20, 70)))),
        advert=draw.item(listed(ADVERTS)),
        brand=draw.word().capitalize(),
        exposures=draw.one((0, 0, 1, 1, 2, 3, 4, 5, 6, 7)),
        seen=draw.item(listed(SEEN)),
        channel=draw.one(CHANNELS),
        day=draw.one(DAYS),
    )


def product(draw: Draw) -> str:
    """What is sold: a made-up word half of the time."""
    return draw.word() if draw.chance(0.5) else draw.item(listed(PRODUCTS))


def creative(draw: Draw) -> Episode:
    """An advertisement to react to, after none to three others with their reactions."""
    turns = [viewing(draw).turn() for _ in range(draw.one((1, 1, 2, 3, 4)))]
    return Episode("judge/creative", EvaluateCreative, tuple(turns))


def creative_pairs(draw: Draw) -> tuple[Episode, Episode]:
    """Two episodes that differ in the number of exposures alone: the lower intent (more of them) first."""
    demos = creative(draw).turns[:-1]
    while True:
        one = viewing(draw)
        few, many = sorted(draw.sample(range(8), 2))
        lower, higher = replace(one, exposures=many), replace(one, exposures=few)
        if lower.tally[-1] < higher.tally[-1]:
            break
    return (
        Episode("judge/creative", EvaluateCreative, (*demos, lower.turn())),
        Episode("judge/creative", EvaluateCreative, (*demos, higher.turn())),
    )


def channel(draw: Draw) -> Episode:
    """A channel to assess, after none to three others with their assessments."""
    turns = [_channel(draw) for _ in range(draw.one((1, 1, 2, 3, 4)))]
    return Episode("judge/channel", AssessChannelPreference, tuple(turns))


def purchase(draw: Draw) -> Episode:
    """An offer to decide on, after none to two others with their decisions."""
    turns = [_purchase(draw) for _ in range(draw.one((1, 1, 2, 3)))]
    return Episode("judge/purchase", SimulatePurchaseDecision, tuple(turns))


def _channel(draw: Draw) -> Turn:
    liked, avoided, *others = draw.sample(CHANNELS, len(CHANNELS))
    attitude = draw.one((-1, 0, 1))
    proposed = {-1: avoided, 0: others[0], 1: liked}[attitude]
    tastes = [draw.item(listed(PREFERS)).format(liked), draw.item(listed(AVOIDS)).format(avoided)]
    exposures = draw.one(range(7))
    messages = [
        f"{draw.one(DAYS)}: {draw.one(CHANNELS)} from {draw.word().capitalize()}" for _ in range(exposures)
    ]
    return Turn(
        {
            "persona_profile": f"{draw.name()}, {draw.item(listed(JOBS))}. "
            + " ".join(draw.sample(tastes, 2)),
            "recent_exposures": "\n".join(messages) or "none",
            "proposed_channel": proposed,
        },
        {"receptivity": channel_receptivity(attitude, exposures), "fatigue_level": fatigue(exposures)},
    )


def _purchase(draw: Draw) -> Turn:
    needed = product(draw)
    sold = needed if draw.chance(0.8) else product(draw)
    price, budget = int(draw.number(10, 99)), int(draw.number(10, 99))
    if price > budget and draw.chance(0.6):
        price, budget = budget, price
    other = int(draw.number(10, 99)) if draw.chance(0.6) else None
    touches = draw.one((0, 1, 1, 2, 2, 3))
    messages = [f"{draw.one(CHANNELS)} on {draw.one(DAYS)}" for _ in range(touches)]
    factors = [
        f"Needs {needed}, sold {sold}: {'same' if sold == needed else 'other'}.",
        f"Price {price}, budget {budget}: {'too dear' if price > budget else 'within'}.",
        "No other offer."
        if other is None
        else f"Other {other}, price {price}: {'cheaper' if other < price else 'not cheaper'}.",
        "Messages: some." if touches else "Messages: none.",
    ]
    return Turn(
        {
            "persona_profile": f"{draw.name()}, {draw.item(listed(JOBS))}. "
            f"{draw.item(listed(NEEDS)).format(needed)} {draw.item(listed(BUDGETS)).format(f'{budget} USD')}",
            "intervention_history": ", ".join(messages) or "none",
            "product_details": _offer(draw, sold, price),
            "competitive_options": "none" if other is None else _offer(draw, sold, other),
        },
        {
            "decision_factors": " ".join(factors),
            "purchase_decision": purchase_decision(sold == needed, price, budget, other, touches),
        },
    )


def _offer(draw: Draw, sold: str, price: int) -> str:
    return draw.item(listed(OFFERS)).format(sold, f"{price} USD", brand=draw.word().capitalize())
