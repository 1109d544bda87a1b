"""Seeded choices for synthetic episodes, a part of which is kept for evaluation alone.

Words, names, numbers and dates are kept by their digest, items of a list by their place. So nothing that is
drawn for evaluation was ever drawn for training, whatever the seeds.

>>> Draw("train/0").number(10, 99)
'47'
>>> reserved(Draw("evaluation/0", held_out=True).word())
True
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

RESERVED_SHARE = 0.125
"""The share of words, numbers and names that training never sees."""
EVERY = 5
"""Of each list of phrasings and nouns, every fifth item is kept for evaluation."""

_ONSETS = "b bl br c ch cl d dr f fl g gl gr h j k l m n p pl pr qu r s sh sk sl st t th tr v w z".split()  # noqa: SIM905
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou"]
_CODAS = ["", "", "", "n", "r", "s", "l", "m", "t", "x", "nd", "rk", "st"]
_FIRST = [
    "Ada",
    "Omar",
    "Lena",
    "Ivan",
    "Mei",
    "Noor",
    "Raul",
    "Tess",
    "Hugo",
    "Yuki",
    "Sara",
    "Finn",
    "Mona",
    "Otto",
    "Priya",
    "Jonas",
    "Clara",
    "Amir",
    "Vera",
    "Luis",
    "Nina",
    "Pavel",
    "Rosa",
    "Emil",
    "Aisha",
    "Karl",
    "Dora",
    "Milan",
    "Ines",
    "Theo",
]


def reserved(text: str) -> bool:
    """Whether a word, name, number or date is kept for evaluation: an eighth of all are, by their digest."""
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] < 256 * RESERVED_SHARE


class Draw:
    """Choices for one episode.

    Args:
        seed: Decides all of them.
        held_out: Whether they come from what is kept for evaluation, or from the rest.
        asking: Decides what is asked, so that several questions can be drawn over one context; None leaves
            that to the seed.

    Attributes:
        asking: The choices of what is asked, where that has a seed of its own; otherwise these choices.
    """

    def __init__(self, seed: str, *, held_out: bool = False, asking: str | None = None) -> None:
        self.rng = random.Random(seed)
        self.held_out = held_out
        self.asking: Draw = self if asking is None else Draw(asking, held_out=held_out)

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.rng.random() < probability

    def one(self, options: Sequence[T]) -> T:
        """Any of the options: they are the same in training and evaluation."""
        return options[self.rng.randrange(len(options))]

    def item(self, options: Sequence[T]) -> T:
        """One of the options that are kept for evaluation, or one of the others. There are at least five."""
        kept = options[EVERY - 1 :: EVERY]
        if self.held_out:
            return self.one(kept)
        place = self.rng.randrange(len(options) - len(kept))
        return options[place + place // (EVERY - 1)]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Distinct options, any of them, in random order."""
        return self.rng.sample(list(options), count)

    def word(self) -> str:
        """A made-up word of two or three syllables, in lower case."""
        while True:
            syllables = [self.one(_ONSETS) + self.one(_VOWELS) for _ in range(self.rng.choice((1, 1, 1, 2)))]
            word = "".join(syllables) + self.one(_CODAS[:4]) + self.one(_ONSETS)[:1] + self.one(_VOWELS[:5])
            word += self.one(_CODAS)
            if reserved(word) == self.held_out:
                return word

    def code(self) -> str:
        """Two to four capital letters."""
        while True:
            letters = self.rng.choices("ABCDEFGHIKLMNOPRSTUVXZ", k=self.rng.randint(2, 4))
            code = "".join(letters)
            if reserved(code) == self.held_out:
                return code

    def name(self) -> str:
        """A person: a first name and a made-up family name."""
        return f"{self.one(_FIRST)} {self.word().capitalize()}"

    def number(self, low: int, high: int, decimals: int = 0) -> str:
        """A number from ``low`` to ``high``, both included, with so many decimals."""
        while True:
            whole = str(self.rng.randint(low, high))
            part = "".join(str(self.rng.randrange(10)) for _ in range(decimals))
            number = f"{whole}.{part}" if decimals else whole
            if reserved(number) == self.held_out:
                return number

    def date(self) -> str:
        """A date of 2015 to 2029, as year-month-day."""
        while True:
            year, month, day = self.rng.randint(2015, 2029), self.rng.randint(1, 12), self.rng.randint(1, 28)
            date = f"{year}-{month:02}-{day:02}"
            if reserved(date) == self.held_out:
                return date
