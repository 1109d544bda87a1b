"""The exact match and the numeracy-focused F1 of TAT-QA (Zhu et al., ACL 2021).

>>> evaluate(["12.6"], "million", ["$12.6"], "million")
Agreement(exact=1.0, f1=1.0)
>>> evaluate(["12.6"], "", ["$12.6"], "million")
Agreement(exact=0.0, f1=0.0)

How a span is compared:

* A number is rounded to two decimals and multiplied by its scale (percent is 0.01), then compared to four
  decimals. ``$``, ``,``, brackets, articles and a final full stop are ignored; ``(134)`` is negative;
  ``12%`` is 0.12 whatever the scale; ``1.2 million`` carries a scale of its own, which multiplies.
* A predicted number without scale and percent sign also counts unrounded, so 0.2342 answers 23.42 percent.
* Other text is lower-cased, without ASCII punctuation and articles; its scale, if any, is one more word.

Answers are sets of spans: exact when the sets are equal; F1 is the mean over the best one-to-one alignment
of spans, each pair by the overlap of its words. Questions of arithmetic and counting have F1 = exact match.

The known differences of the script that its authors released:

* It joins the sorted spans of an answer into one text before comparing, so a partly right answer with
  several spans has another F1, and upper case can change the order. Blank spans count.
* It reads ``(1,234)``, ``($134)`` and ``(12)%`` as positive although ``(134)`` is negative, and ``-(134)``
  as positive too. It leaves the scale of ``(134) million`` out.
* It rounds ``12.34 percent``, in words, to 0.12, which a scale then multiplies.
* It does not read as numbers: a Unicode minus or a dash as the sign, ``- 5``, ``.5``, ``5million``, and a
  full stop after decimals (``2.93.``). Beside an article it reads one only where no scale is given, and
  keeps ``36`` and ``36.0`` apart there, as in other text.
* It ignores what follows a scale: ``4 million shares`` is a number, and ``36% million`` is 36%.
"""

import ast
import json
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiltyard.tasks.metrics import number_difference, words_difference

SCALES: dict[str, float] = {"": 1, "percent": 0.01, "thousand": 1e3, "million": 1e6, "billion": 1e9}
"""What a number is multiplied by."""

_OWN_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_IGNORED = str.maketrans("–−", "--", "'\"\\$€£¥,[]")
_NUMBER = re.compile(
    r"""(?P<sign>[-+])? \s* (?P<open>\()? \s* (?P<inner>[-+])? (?P<digits>\d+(?:\.\d*)?|\.\d+) \s*
    (?P<percent>%)? \s* (?P<close>\))? \s* (?P<after>%)? (?:\s*(?P<own>[a-z]+)s?)?""",
    re.VERBOSE,
)
_BULLET = re.compile(r"(?:[-*•]|\d+[.)])\s+(?=\S)")


@dataclass(frozen=True)
class Agreement:
    """How well a prediction agrees with the gold answer."""

    exact: float
    """0 or 1."""
    f1: float
    """In [0, 1], rounded to two decimals."""


@dataclass(frozen=True)
class Number:
    """A number that a span states."""

    value: float
    """With its sign, its own scale and its percent sign applied; rounded to four decimals."""
    percent: bool
    """Whether it is written as a percentage."""


def read_number(span: str) -> Number | None:
    """Read a span that is one number, perhaps with a scale of its own; None for any other span."""
    words = [word for word in span.lower().translate(_IGNORED).split() if word not in _ARTICLES]
    found = _NUMBER.fullmatch(" ".join(words).removesuffix("."))
    if found is None or (found["sign"] and found["inner"]):
        return None
    own = (found["own"] or "").removesuffix("s")
    percent = bool(found["percent"] or found["after"] or own == "percent")
    if own and own != "percent" and own not in _OWN_SCALES:
        return None
    negative = "-" in (found["sign"], found["inner"]) or bool(found["open"] and found["close"])
    value = float(found["digits"]) * _OWN_SCALES.get(own, 1) * (-1 if negative else 1)
    return Number(round(value * 0.01 if percent else value, 4), percent)


def evaluate(
    predicted: Sequence[str], scale: str, gold: Sequence[str], gold_scale: str, *, computed: bool = False
) -> Agreement:
    """Compare predicted spans with gold spans.

    Args:
        predicted: The predicted spans; blank ones do not count. None at all scores 0.
        scale: The predicted scale, a key of :data:`SCALES`.
        gold: The gold spans.
        gold_scale: The gold scale.
        computed: Whether the question asks for arithmetic or a count, where F1 is the exact match.
    """
    expected = _forms(gold, gold_scale)
    agreements = [
        _compare(forms, expected) for forms in (_forms(predicted, scale), _unscaled(predicted, scale))
    ]
    best = max(agreements, key=lambda agreement: (agreement.exact, agreement.f1))
    return Agreement(best.exact, best.exact) if computed else best


def _forms(spans: Sequence[str], scale: str) -> list[str]:
    return [_form(span, scale) for span in spans if span.strip()]


def _form(span: str, scale: str) -> str:
    number = read_number(span)
    if number is None:
        return " ".join([*_words(span), *([scale] if scale else [])])
    return _digits(number.value if number.percent else round(number.value, 2) * SCALES[scale])


def _unscaled(spans: Sequence[str], scale: str) -> list[str]:
    number = read_number(spans[0]) if len(spans) == 1 and not scale else None
    return [_digits(number.value)] if number is not None and not number.percent else []


def _digits(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if round(value, 4) else "0"  # never "-0"


def _words(span: str) -> Iterator[str]:
    for token in span.lower().split():
        number = read_number(token)
        word = token.translate(_PUNCTUATION) if number is None else _digits(number.value)
        if word and word not in _ARTICLES:
            yield word


def _compare(predicted: list[str], gold: list[str]) -> Agreement:
    if not predicted or not gold:
        return Agreement(0.0, 0.0)
    return Agreement(float(sorted(predicted) == sorted(gold)), round(_aligned_f1(predicted, gold), 2))


def _aligned_f1(predicted: list[str], gold: list[str]) -> float:
    overlaps = [[_overlap(set(p.split()), set(g.split())) for p in predicted] for g in gold]
    if len(predicted) == 1 or len(gold) == 1:
        best = max(max(row) for row in overlaps)
        return best / max(len(predicted), len(gold))
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return float(sum(overlaps[row][column] for row, column in pairs)) / max(len(predicted), len(gold))


def _overlap(predicted: set[str], gold: set[str]) -> float:
    if not predicted and not gold:
        return 1.0
    return 2 * len(predicted & gold) / (len(predicted) + len(gold))


def read_scale(text: str) -> str:
    """Read a scale as models write it (``Millions``, ``%``); empty where the text names none."""
    plain = text.strip().lower()
    return "percent" if plain == "%" else next((scale for scale in SCALES if scale and scale in plain), "")


def difference(predicted: Sequence[str], scale: str, gold: Sequence[str], gold_scale: str) -> str:
    """Say in words what is wrong with a prediction that is no exact match: value, scale or spans."""
    worded = any(char.isalpha() for span in predicted for char in span)
    if scale == gold_scale and worded and evaluate(predicted, "", gold, gold_scale).exact:
        return "The answer states its scale twice: write the number without it."
    wanted = f"the scale should be '{gold_scale}'" if gold_scale else "there should be no scale"
    if scale != gold_scale and evaluate(predicted, gold_scale, gold, gold_scale).exact:
        return f"The answer is right, but {wanted}."
    also = f" Also, {wanted}." if scale != gold_scale else ""
    return _value_difference(predicted, gold) + also


def _value_difference(predicted: Sequence[str], gold: Sequence[str]) -> str:
    if len(gold) == 1 and len(predicted) == 1:
        got, expected = read_number(predicted[0]), read_number(gold[0])
        if got is not None and expected is not None:
            return number_difference(round(got.value, 4), round(expected.value, 4)) or "The number is right."
        if expected is not None:
            return "The answer should be one number."
        return words_difference(" ".join(_words(predicted[0])), " ".join(_words(gold[0])))
    missing = _without(gold, predicted)
    extra = _without(predicted, gold)
    parts = [f"missing: {'; '.join(missing)}"] if missing else []
    parts += [f"not expected: {'; '.join(extra)}"] if extra else []
    return f"Items {'. Items '.join(parts)}." if parts else ""


def _without(spans: Sequence[str], others: Sequence[str]) -> list[str]:
    forms = set(_forms(others, ""))
    return [span for span in spans if _form(span, "") not in forms]


def write_spans(spans: Sequence[str]) -> str:
    """Write spans as one answer text, in the plainest form that :func:`read_spans` reads back.

    One span is written as it is. Several are joined by ``"; "``, or by ``" | "`` or newlines where they
    contain semicolons, or else written as a JSON list.
    """
    if len(spans) == 1:
        return spans[0]
    joined = (separator.join(spans) for separator in ("; ", " | ", "\n"))
    wanted = [span.strip() for span in spans]
    return next(
        (text for text in joined if read_spans(text) == wanted), json.dumps(wanted, ensure_ascii=False)
    )


def read_spans(text: str) -> list[str]:
    """Split an answer text into its spans.

    Understands a JSON (or Python) list, one span per line (bullets and numbering are dropped where every
    line has them), ``" | "`` and ``"; "``, in this order. Anything else is one span; blank text is none.
    """
    text = text.strip()
    if (listed := _listed(text)) is not None:
        return listed
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        if all(_BULLET.match(line) for line in lines):
            lines = [_BULLET.sub("", line, count=1) for line in lines]
        return lines
    separator = r"\s\|\s" if re.search(r"\s\|\s", text) else r";\s"
    return [part.strip() for part in re.split(separator, text) if part.strip()]


def _listed(text: str) -> list[str] | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for decode in (json.loads, ast.literal_eval):
        try:
            values = decode(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(values, list) and not any(isinstance(value, list | dict) for value in values):
            return [str(value).strip() for value in values if str(value).strip()]
    return None
