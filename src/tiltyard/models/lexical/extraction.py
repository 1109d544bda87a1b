"""Pick an answer out of the inputs: which candidates look most like what the demonstrations picked.

Each candidate is described by features: what kind it is, how much of the question stands beside it, whether
near demonstrations answered with its kind, its shape and its length. Their weights come from ranking.py.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.candidates import KINDS, Candidate
from tiltyard.models.lexical.ranking import Choice, learn_weights
from tiltyard.models.lexical.similarity import TOGETHER, shares, votes
from tiltyard.models.lexical.words import is_figure, normal, overlap, shape

if TYPE_CHECKING:
    import numpy as np

_KIND_DEFAULTS: Mapping[str, float] = {
    "cell": 0.5,
    "heading": -1.5,
    "column": -1.5,
    "value": 0.0,
    "item": 0.0,
    "option": 1.0,
    "sentence": 0.0,
    "number": -0.5,
    "name": -1.0,
    "clause": -1.5,
}
_FEATURE_DEFAULTS: Mapping[str, float] = {
    "evidence": 3.0,
    "near": 1.5,
    "above": 1.0,
    "novelty": 1.5,
    "rest": 2.0,
    "place": -0.2,
    "wanted": 2.5,
    "kind_share": 0.1,
    "shape_share": 0.1,
    "length_share": 0.1,
}
_ALIKE = 0.5
"""The least token F1 at which a candidate counts as part of a long right answer."""
_LONG = 5
"""The fewest words of an answer that a candidate may match in part."""
_SPREAD = 0.3
"""How far these weights may move, as a share of ``trust``."""
_SHORT = 24
"""The most characters of a time."""
_RARE = 0.1
"""The share of a shape or a length for which no demonstration votes."""
_WANTS_YEAR = re.compile(r"\b(?:what|which)\s+(?:\w+\s+)?years?\b", re.IGNORECASE)
_WANTS_TIME = re.compile(
    r"\bwhen\b|\bhow long\b|\b(?:what|which) (?:time|period|date|day|month)\b", re.IGNORECASE
)
_WANTS_REASON = re.compile(r"\bwhy\b|\b(?:reason|cause)s?\b", re.IGNORECASE)
_WANTS_FIGURE = re.compile(
    r"\bhow (?:many|much|old|far|often|large|big|high)\b|\b(?:number|amount|percentage|percent|rate|ratio"
    r"|average|total|cost|price|value|sum|change|difference|increase|decrease)\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(?:because(?: of)?|due to|owing to|result of|thanks to|attributable to|(?:driven|caused|led) by"
    r"|reflecting|after)(?: the| an?)?\W*$",
    re.IGNORECASE,
)
_TIME = re.compile(r"\d.*\b(?:second|minute|hour|day|week|month|quarter|year)s?$|\b[A-Z][a-z]+ \d{1,2}\b")


def wanted_forms(question: str) -> Callable[[Candidate, str], float]:
    """What a question's own words want: how well a candidate, with its shape, fits, from 0 to 2."""
    year, time = bool(_WANTS_YEAR.search(question)), bool(_WANTS_TIME.search(question))
    reason, figure = bool(_WANTS_REASON.search(question)), bool(_WANTS_FIGURE.search(question))

    def fit(candidate: Candidate, form: str) -> float:
        if year:
            return 2.0 * (form == "year")
        if time:
            return float(
                form == "year" or bool(_TIME.search(candidate.text) and len(candidate.text) <= _SHORT)
            )
        if reason:
            before, found, _ = candidate.quote.partition(candidate.text)
            return float(bool(found) and bool(_REASON.search(before)))
        return float(figure and is_figure(form))

    return fit


_USUAL = 3.0
"""How many voters the assumption counts for that an answer has one part."""


class Extractor:
    """Knows what demonstrations picked out of their inputs.

    Args:
        golds: Each demonstration's answer, in parts where it is a list; None where it has none.
        candidates: Each demonstration's candidates.
        questions: Each demonstration's question.
        similar: Each source's similarities among the demonstrations.
        asked: The source that asks.
        neighbours: How many demonstrations vote.
        trust: How far demonstrations may move the weights; see :func:`learn_weights`.
    """

    def __init__(
        self,
        golds: Sequence[Sequence[str] | None],
        candidates: Sequence[Sequence[Candidate]],
        questions: Sequence[str],
        similar: "Mapping[str, np.ndarray[Any, Any]]",
        asked: str,
        neighbours: int,
        trust: float,
    ) -> None:
        import numpy as np

        self._asked = asked if asked in similar else TOGETHER
        self._neighbours = neighbours
        targets = [right_parts(found, gold or ()) for found, gold in zip(candidates, golds, strict=True)]
        self.found = [bool(target.sum() > 0) for target in targets]
        """Whether each demonstration's answer is in its inputs; only those teach."""
        self._counts = np.array([float(len(gold or ())) for gold in golds])
        self._forms = [{shape(part) for part in gold or ()} for gold in golds]
        self._lengths = np.array([_length(gold or ()) for gold in golds])
        self._kinds = np.array(
            [_kinds(pool, target) for pool, target in zip(candidates, targets, strict=True)]
        )
        self._kinds = self._kinds.reshape(len(targets), len(KINDS))
        voting = self._voting(similar, leave_out=True)
        choices = [
            Choice(
                self._features(candidates[row], questions[row], voting[row]),
                targets[row] / targets[row].sum(),
            )
            for row, known in enumerate(self.found)
            if known
        ]
        self.weights = learn_weights(
            [*_KIND_DEFAULTS.values(), *_FEATURE_DEFAULTS.values()], choices, _SPREAD * trust
        )

    def rank(
        self, candidates: Sequence[Candidate], question: str, similar: "Mapping[str, np.ndarray[Any, Any]]"
    ) -> list[Candidate]:
        """The candidates, best first; equal ones in their order."""
        import numpy as np

        if not candidates:
            return []
        scores = self._features(candidates, question, self._voting(similar)[0]) @ self.weights
        return [candidates[index] for index in np.argsort(-scores.round(9), kind="stable")]

    def count(self, similar: "Mapping[str, np.ndarray[Any, Any]]") -> int:
        """How many parts an answer should have: 1 unless most near demonstrations' answers have several.

        One part is what is usual, so that a few demonstrations alone cannot outvote it.
        """
        voting = votes(similar[self._asked], [count > 0 for count in self._counts], self._neighbours, False)[
            0
        ]
        several = voting * (self._counts > 1)
        voters = 1.0 / max(float(voting @ voting), 1e-9)  # as many as equal votes would need
        if several.sum() * voters <= 0.5 * (voters + _USUAL):
            return 1
        return max(1, math.floor(float(several @ self._counts) / float(several.sum()) + 0.5))

    def _voting(
        self, similar: "Mapping[str, np.ndarray[Any, Any]]", leave_out: bool = False
    ) -> "np.ndarray[Any, Any]":
        return votes(similar[self._asked], self.found, self._neighbours, leave_out)

    def _features(
        self, candidates: Sequence[Candidate], question: str, voting: "np.ndarray[Any, Any]"
    ) -> "np.ndarray[Any, Any]":
        import numpy as np

        forms = [shape(candidate.text) for candidate in candidates]
        known = sorted(set(forms))
        lengths = np.array([math.log1p(len(candidate.text)) for candidate in candidates])
        kind_share = shares(voting, self._kinds, 1 / len(KINDS))
        form_ballots = np.array([[(form in own) / max(len(own), 1) for form in known] for own in self._forms])
        form_share = shares(voting, form_ballots.reshape(len(voting), len(known)), _RARE)
        length_ballots = np.exp(-2 * (lengths[None, :] - self._lengths[:, None]) ** 2)
        length_share = shares(voting, length_ballots, _RARE)
        fit = wanted_forms(question)
        rows = np.zeros((len(candidates), len(KINDS) + len(_FEATURE_DEFAULTS)))
        for index, (candidate, form) in enumerate(zip(candidates, forms, strict=True)):
            kind = KINDS.index(candidate.kind)
            rows[index, kind] = 1.0
            rows[index, len(KINDS) :] = (
                candidate.evidence,
                candidate.near,
                candidate.column,
                candidate.novelty,
                candidate.rest,
                index / len(candidates),
                fit(candidate, form),
                kind_share[kind],
                form_share[known.index(form)],
                length_share[index],
            )
        return rows


def right_parts(candidates: Sequence[Candidate], gold: Sequence[str]) -> "np.ndarray[Any, Any]":
    """How much of an answer each candidate is: equal parts where it matches exactly, else by likeness."""
    import numpy as np

    target = np.zeros(len(candidates))
    texts = [normal(candidate.text) for candidate in candidates]
    for part in gold:
        wanted = normal(part)
        match = np.array([text == wanted for text in texts], dtype=float)
        if not match.any() and len(wanted.split()) >= _LONG:
            close = np.array([overlap(text, wanted) for text in texts])
            match = np.where((close >= _ALIKE) & (close >= close.max(initial=0.0) - 0.05), close, 0.0)
        if match.any():
            target += match / match.sum() / len(gold)
    return target


def _kinds(candidates: Sequence[Candidate], target: "np.ndarray[Any, Any]") -> list[float]:
    """The share of an answer that each kind of candidate could give."""
    total = float(target.sum()) or 1.0
    return [
        sum(part for candidate, part in zip(candidates, target, strict=True) if candidate.kind == kind)
        / total
        for kind in KINDS
    ]


def _length(gold: Sequence[str]) -> float:
    return sum(math.log1p(len(part)) for part in gold) / len(gold) if gold else 0.0
