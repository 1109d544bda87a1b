"""Words, stems and shapes: how the lexical reader looks at text.

>>> words("The operating margins were $1,496.5 million.")
('the', 'operat', 'margin', 'were', '1496.5', 'million')
"""

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise

TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
"""A run of letters, or a number with its separators."""

UNIT = re.compile(r"\w+|[^\w\s]")
"""What the reader counts as a token of a prompt: a run of word characters, or one punctuation mark."""

_LONGEST_STEM = 6

_FUNCTION_WORDS = """
a about after all also am an and any are as at be been before being between both but by can could did do
does during each for from had has have he her his how i if in into is it its me more most my no nor not of
on one only or other our out over own per s shall she should so some such t than that the their them then
there these they this those through to under until up was we were what when where which while who whom whose
why will with would you your
"""
"""Words that carry no content of their own: they are never evidence."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The word without its inflection, cut to its first letters: a truncation stemmer."""
    if word[0].isdigit():
        return word.replace(",", "")
    for suffix in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            word = word[: -len(suffix)] + ("y" if suffix == "ies" else "")
            break
    return word[:_LONGEST_STEM].rstrip("e") or word


def words(text: str) -> tuple[str, ...]:
    """The stems of a text, in order."""
    return tuple(stem(word) for word in TOKEN.findall(text.lower()))


FUNCTION_STEMS = frozenset(stem(word) for word in _FUNCTION_WORDS.split())


def content(text: str) -> frozenset[str]:
    """The stems of a text's content words."""
    return frozenset(words(text)) - FUNCTION_STEMS


def terms(text: str) -> list[str]:
    """What TF-IDF counts: stems and pairs of them. All numbers are one term."""
    found = ["#" if word[0].isdigit() else word for word in words(text)]
    return [*found, *(f"{first} {second}" for first, second in pairwise(found))]


def rarity(units: Iterable[frozenset[str]]) -> dict[str, float]:
    """Inverse document frequency of every stem over the units (rows, sentences) of one input."""
    counts: dict[str, int] = {}
    total = 0
    for unit in units:
        total += 1
        for word in unit:
            counts[word] = counts.get(word, 0) + 1
    return {word: math.log((1 + total) / (1 + count)) + 1 for word, count in counts.items()}


def weight(found: Iterable[str], rare: Mapping[str, float]) -> float:
    """The summed rarity of stems; a stem that no unit has counts as 1."""
    return sum(rare.get(word, 1.0) for word in found)


def normal(text: str) -> str:
    """A text for comparison: case, spacing, thousands separators and outer punctuation do not count."""
    joined = re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(text.casefold().split()))
    return joined.strip(" .,;:!?\"'“”‘’«»")


def overlap(first: str, second: str) -> float:
    """Token F1 of two texts, in [0, 1]."""
    left, right = TOKEN.findall(first.casefold()), TOKEN.findall(second.casefold())
    if not left or not right:
        return float(normal(first) == normal(second))
    shared = sum(min(left.count(word), right.count(word)) for word in set(left))
    return 2 * shared / (len(left) + len(right))


_NUMBER = re.compile(
    r"^(?P<open>\()?(?P<currency>[$€£¥]\s*)?-?\(?\d[\d,]*(?:\.\d+)?\)?\s*(?P<percent>%)?\s*(?P<word>[a-z]+)?\)?$",
    re.IGNORECASE,
)
_YEAR = re.compile(r"^(?:19|20)\d\d$")


@lru_cache(maxsize=1 << 14)
def shape(text: str) -> str:
    """The outward form of an answer: ``year``, ``$9``, ``9%``, ``9``, ``9 word``, ``word``, …, ``long.``."""
    text = text.strip()
    if _YEAR.match(text):
        return "year"
    if number := _NUMBER.match(text):
        sign = "(" if number["open"] else ""
        return (
            f"{sign}{'$' if number['currency'] else ''}9{'%' if number['percent'] else ''}"
            f"{' word' if number['word'] else ''}"
        )
    count = len(text.split())
    if count <= 1:
        return "word" if text[:1].islower() else "Word" if text else ""
    size = "phrase" if count <= 4 else "clause" if count <= 14 else "long"
    if text.endswith((".", "!", "?")):
        return f"{size}."
    return size if text[:1].islower() else size.capitalize()


def sort_of(form: str) -> str:
    """The sort of a shape: ``words``, a ``year``, a figure with its ``unit``, or a ``bare`` one."""
    if not is_figure(form):
        return "words"
    return "year" if form == "year" else "unit" if "%" in form or "word" in form else "bare"


def is_figure(form: str) -> bool:
    """Whether a shape is that of a number or a year."""
    return "9" in form or form == "year"
