"""Compares a written answer with the expected one: exact match, token F1, and the letter of an option.

>>> exact_match("$1,200.00", ["1200"])
Verdict(score=1.0, problem='')
>>> read_option("Answer: (b) Aspirin", {"A": "Ibuprofen", "B": "Aspirin"})
'B'
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import dspy

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_CURRENCIES = "$€£¥₹"
_WORDS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER = re.compile(
    rf"""\(? \s* (?P<sign>[-+])? \s* (?P<currency>[{_CURRENCIES}])? \s* \(? \s*
    (?P<late_sign>[-+])? (?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)? | \d+(?:\.\d*)? | \.\d+)
    \s* (?P<percent>%)? \s* \)? \s* (?P<late_percent>%|per\s?cent\b)? \s*
    (?P<word>{"|".join(_WORDS)})?""",
    re.VERBOSE | re.IGNORECASE,
)
_PERCENT_WORD = re.compile(r"(?<=\d)\s?per\s?cent\b", re.IGNORECASE)
_GROUPS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?!,?\d)")
_KEPT = re.compile(r"(?<=[^\W\d_])#|(?<=\d)\.(?=\d)")
_ARTICLE = re.compile(r"(?:^(?:A|An|The|THE|AN)|(?<!\S)(?:a|an|the))\s+(?=\S)")


def written(prediction: dspy.Prediction, field: str) -> str:
    """Read a predicted field as text; empty where the model wrote none."""
    value = prediction.get(field, None)
    return "" if value is None else str(value).strip()


@dataclass(frozen=True)
class Verdict:
    """How well an answer matches, and what is wrong with it."""

    score: float
    """In [0, 1]."""
    problem: str = ""
    """What is wrong, as one sentence; empty when nothing is."""


@dataclass(frozen=True)
class Quantity:
    """A number with the unit that was written beside it."""

    value: Decimal
    unit: str = ""
    """A currency sign, ``%``, or nothing."""

    def agrees(self, other: "Quantity") -> bool:
        """Whether both state one amount. A unit that only one of them writes is no contradiction."""
        return self.value == other.value and (self.unit == other.unit or not (self.unit and other.unit))


def read_quantity(text: str) -> Quantity | None:
    """Read a text that is one number and nothing else; None for any other text.

    Understands thousands separators, currency signs, percent, negative amounts in parentheses, and
    ``thousand`` to ``trillion``. A percentage keeps its number: ``12%`` is 12 of unit ``%``.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).strip().rstrip(".").strip()
    found = _NUMBER.fullmatch(plain)
    if found is None or plain.count("(") != plain.count(")") or plain.count("(") > 1:
        return None
    value = Decimal(found["digits"].replace(",", ""))
    if found["word"]:
        value = value.scaleb(_WORDS[found["word"].lower()])
    negative = "-" in (found["sign"] or "", found["late_sign"] or "") or "(" in plain
    percent = found["percent"] or found["late_percent"]
    return Quantity(value.copy_negate() if negative else value, "%" if percent else found["currency"] or "")


def normalise(text: str) -> str:
    """Strip a text of case, punctuation, articles and extra white space; write numbers in plain digits.

    Text that holds nothing else (``+``, ``the``) is only stripped and lower-cased.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).strip()
    words = [_word(token) for token in _ARTICLE.sub("", _PERCENT_WORD.sub("%", plain)).split()]
    return " ".join(" ".join(words).split()) or plain.casefold()


def _word(token: str) -> str:
    quantity = read_quantity(token.strip(",;:!?\"'()"))
    if quantity is not None:
        return f"{_digits(quantity.value)}{quantity.unit if quantity.unit == '%' else ''}"
    grouped = _GROUPS.sub(lambda found: found[0].replace(",", ""), token.casefold())
    spaced = re.sub(r"[-/]|(?<=\d),(?=\d)", " ", grouped)
    kept = {found.start() for found in _KEPT.finditer(spaced)}  # C# is not C, and 1.5kg is not 15kg
    return "".join(
        char
        for position, char in enumerate(spaced)
        if position in kept or not unicodedata.category(char).startswith("P")
    )


def _digits(value: Decimal) -> str:
    # normalize() alone would write 1E+3.
    return f"{value.normalize():f}" if value else "0"


def exact_match(answer: str, golds: Sequence[str]) -> Verdict:
    """Full marks for an answer that is the same as one of the golds, as text or as a number."""
    if not answer.strip():
        return Verdict(0.0, "No answer was given.")
    if any(_same(answer, gold) for gold in golds):
        return Verdict(1.0)
    return Verdict(0.0, _difference(answer, golds[0]))


def _same(answer: str, gold: str) -> bool:
    got, expected = read_quantity(answer), read_quantity(gold)
    if got is not None and expected is not None:
        return got.agrees(expected)
    return normalise(answer) == normalise(gold)


def _difference(answer: str, gold: str) -> str:
    got, expected = read_quantity(answer), read_quantity(gold)
    if expected is not None:
        if got is None:
            return "The answer should be one number and nothing else."
        return number_difference(got.value, expected.value) or "The unit is wrong."
    return words_difference(normalise(answer), normalise(gold))


def number_difference(got: Decimal | float, expected: Decimal | float) -> str:
    """Say how a wrong number differs from the right one: by sign, by a power of ten, or otherwise."""
    got, expected = Decimal(str(got)), Decimal(str(expected))
    if got == expected:
        return ""
    if got == -expected:
        return "The sign is wrong."
    if got and expected:
        for power in (1, 2, 3, 6, 9, 12):
            if got == expected.scaleb(power):
                return f"The number is {10**power:,} times too large."
            if got.scaleb(power) == expected:
                return f"The number is {10**power:,} times too small."
    return "The number is wrong."


def words_difference(got: str, expected: str) -> str:
    """Say how normalised words differ from the expected ones: too much around them, missing, not expected."""
    if f" {expected} " in f" {got} ":
        return "The answer holds more than what was expected: give that alone."
    words, wanted = Counter(got.split()), Counter(expected.split())
    missing, extra = list((wanted - words).elements()), list((words - wanted).elements())
    if not missing and not extra:
        return "The words are in another order."
    parts = [f"missing: {' '.join(missing[:12])}"] if missing else []
    parts += [f"not expected: {' '.join(extra[:12])}"] if extra else []
    return f"Words {'; '.join(parts)}."


def token_f1(answer: str, golds: Sequence[str]) -> Verdict:
    """Score by the harmonic mean of token precision and recall, against the gold that fits best."""
    if not answer.strip():
        return Verdict(0.0, "No answer was given.")
    best = max(golds, key=lambda gold: _f1(answer, gold))
    score = _f1(answer, best)
    return Verdict(score, "" if score == 1.0 else _difference(answer, best))


def _f1(answer: str, gold: str) -> float:
    if _same(answer, gold):
        return 1.0
    if read_quantity(answer) is not None and read_quantity(gold) is not None:
        return 0.0
    words, wanted = Counter(normalise(answer).split()), Counter(normalise(gold).split())
    common = (words & wanted).total()
    return 2 * common / max(1, words.total() + wanted.total())


_END = r"(?= \s* (?: $ | [).:;\]*}] | ,(?!\s*(?:(?:and|or)\s+)?\(?[A-Z]\b) | \n | -\s ) )"
_ALONE = re.compile(r"[\W_]*([A-Za-z])(?![#+])[\W_]*")  # C# and A+ are texts
_LEADING = re.compile(rf"[\W_]* (?: ([A-Z]){_END} | ([a-z])(?=[).]) )", re.VERBOSE)
_ANSWER = re.compile(
    rf"""(?i: \b answer \b (?:\s+is)? | boxed ) [\s:*({{\[\-]*
    (?i: (?:option|choice)\s+ )? [*(\[]* ([A-Z]){_END}""",
    re.VERBOSE,
)
_NOUN = r"(?i: \b (?:option|choice|letter) ) \s+ [*(\[]*"
_CORRECT = re.compile(
    rf"""(?: (?:^|(?<=[.!?:;\n])) \s* (?i: (?:so|thus|hence|therefore) ,? \s+ )? [*(\["']* ([A-Z])
       | (?<!\bor\s)(?<!\band\s) {_NOUN} ([A-Za-z]) )
    [*)\]"']* \s+ is \s+ (?i: correct | right
    | the \s+ (?:(?:correct|right|best|most\s+\w+)\s+)? (?:answer|option|choice|one) ) (?![-\w])""",
    re.VERBOSE,
)
_IT_IS = re.compile(
    rf"(?i: \b (?:it|option|choice|letter) (?:\s+is|['’]s) ) \s+ [*(\[]* ([A-Z]|[b-z]) {_END}", re.VERBOSE
)
# A small letter may be the article of what comes next: "the option a doctor takes".
_MENTION = re.compile(
    rf"{_NOUN} (?: ([A-Z]) \b | ([a-z]) (?: {_END} | (?= \s+ (?:and|or) \b ) ) )", re.VERBOSE
)
_OPTION = re.compile(rf"{_NOUN} [A-Za-z] {_END}", re.VERBOSE)
_ANNOUNCEMENT = re.compile(r"^.*\banswer\b\s*(?:is\b|:|-)\s*:?", re.IGNORECASE | re.DOTALL)
_IT_IS_ALL = re.compile(r"it(?:\s+is|['’]s)\s", re.IGNORECASE)


def read_option(text: str, options: Mapping[str, str]) -> str | None:
    """Read which option an answer chooses, in the forms in which models write it.

    A letter alone (``B``, ``(b)``, ``**B**``), a letter with text after it (``B. Aspirin``), an
    announced letter (``the answer is (B)``; the last one counts), ``B is correct``, ``it is B``,
    ``option b``, or an option's full text. A letter outranks the text beside it. ``A or B`` chooses
    nothing, and neither does an article.

    Args:
        text: What the model wrote.
        options: Letter to text.

    Returns:
        A letter of ``options``, or None where the answer chooses none of them or several.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).strip()
    # Full texts before letters inside longer text: "E. coli" may well be option C.
    for part in (plain, _ANNOUNCEMENT.sub("", plain, count=1)):
        if alone := _ALONE.fullmatch(part):
            return alone[1].upper() if alone[1].upper() in options else None
        if (named := _by_text(part, options)) is not None:
            return named
    if (it := _IT_IS_ALL.match(plain)) and (named := _by_text(plain[it.end() :], options)) is not None:
        return named
    letter = _stated(plain)
    return letter if letter in options else None


def _stated(text: str) -> str | None:
    if leading := _LEADING.match(text):
        return str(leading[1] or leading[2]).upper()
    if answers := _ANSWER.findall(text):
        return str(answers[-1])
    for form in (_CORRECT, _IT_IS, _MENTION):
        letters = {str(found[found.lastindex or 0]).upper() for found in form.finditer(text)}
        if letters:
            certain = len(letters) == 1 and (form is not _MENTION or _OPTION.search(text))
            return letters.pop() if certain else None
    return None


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    wanted = normalise(text)
    plain = {letter: normalise(option) for letter, option in options.items()}
    matches = [letter for letter, option in plain.items() if wanted == option]
    if not matches:
        matches = [letter for letter, option in plain.items() if wanted == f"{letter.casefold()} {option}"]
    return matches[0] if len(matches) == 1 else None


def is_bare_letter(answer: str, letter: str) -> bool:
    """Whether an answer is this letter and nothing else but marks: ``B``, ``(b)``, ``b.``."""
    alone = _ALONE.fullmatch(answer.strip())
    return alone is not None and alone[1].upper() == letter


def choice_match(answer: str, gold: str, options: Mapping[str, str]) -> Verdict:
    """Full marks for an answer that chooses the gold letter."""
    letter = read_option(answer, options)
    if letter == gold:
        return Verdict(1.0)
    if letter is not None:
        return Verdict(0.0, f"{letter} ({options[letter]}) is not right.")
    if not answer.strip():
        return Verdict(0.0, "No answer was given.")
    return Verdict(0.0, f"The answer should be one letter, {_range(options)}.")


def _range(options: Iterable[str]) -> str:
    letters = list(options)
    return f"{letters[0]} to {letters[-1]}"
