"""Find every text in the inputs that could be an answer, with what speaks for it.

A candidate is a cell, a heading, a value, an option, a sentence, a number, a name or a clause of the inputs.
What speaks for it are words of the question: in its row or sentence, right beside it, and above it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tiltyard.models.lexical.passages import Passage, read_passage
from tiltyard.models.lexical.words import FUNCTION_STEMS, TOKEN, content, rarity, stem, weight

KINDS = ("cell", "heading", "column", "value", "item", "option", "sentence", "number", "name", "clause")
"""Where an answer can come from."""

_SENTENCES = 8
"""Only the sentences that share most with the question are searched for numbers, names and clauses."""
_CELLS = 400
"""Only the first cells of a table are read."""
_NEAR = 48
"""How many characters beside a candidate count as beside it."""

_NUMBER = re.compile(
    r"(?P<currency>[$€£¥]\s?)?(?P<digits>\d[\d,]*(?:\.\d+)?)(?P<percent>\s?(?:%|percent\b))?"
    r"(?P<word>\s(?:hundred|thousand|million|billion|trillion|[a-z]{1,9}))?"
)
_DATE = re.compile(
    r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)"
    r"\s\d{1,2}(?:,\s\d{4})?|\b(?:fiscal\s)?(?:19|20)\d\d\b"
)
_NAME = re.compile(r"\b[A-Z][\w&.’'-]*(?:\s(?:of|and|the|for|&)?\s?[A-Z][\w&.’'-]*)*")
_QUOTED = re.compile(r"[\"“‘«]([^\"“”‘’«»]{1,80})[\"”’»]")
_CUT = re.compile(
    r",(?!\d)\s*|[;:()–—]\s*|(?<=\s)(?:is|are|was|were|be|been|by|of|to|for|in|on|at|as|from|with|than|and|or|that|which|who|"
    r"because|due|including|includes?|included|primarily|mainly|the|a|an|over|into|until|after|before|when|while|if)\s"
)
_STOP = re.compile(
    r"[,;:()–—]|\s(?:and|or|which|that|who|because|when|while|as|in|on|for|from|by|to|with|of)\s|$"
)
_STARTS, _STOPS = 14, 4


@dataclass(frozen=True)
class Candidate:
    """One text that could be the answer."""

    text: str
    kind: str
    evidence: float
    """How much of the question's weight its row or sentence shares, in [0, 1]."""
    near: float
    """How much of its row's heading is asked (a cell), or of the question stands beside it, in [0, 1]."""
    column: float
    """How much of its column's heading the question shares, in [0, 1]; 0 outside tables."""
    novelty: float
    """The share of its own content words that the question does not have, in [0, 1]."""
    rest: float
    """The share of its sentence's other content words that are asked, in [0, 1]; 0 outside sentences."""
    quote: str
    """The sentence or row that it stands in."""
    group: str
    """What it shares with its neighbours in a list of answers: its row, its sentence, or its kind."""
    heading: str = ""
    """The heading of a cell's column."""
    key: str = ""
    """An option's letter or number."""


class Question:
    """The words that are asked about, with how rare each one is in the inputs.

    Args:
        text: The question.
        passages: The inputs that may answer it.
    """

    def __init__(self, text: str, passages: Sequence[Passage]) -> None:
        self.words = content(text)
        self.rare = rarity(
            content(unit)
            for passage in passages
            for unit in (*passage.sentences, *dict.fromkeys(cell.line for cell in passage.cells[:_CELLS]))
        )
        self.weight = weight(self.words, self.rare) or 1.0

    def share(self, found: frozenset[str]) -> float:
        """How much of the question's weight a set of stems has, in [0, 1]."""
        return weight(self.words & found, self.rare) / self.weight

    def asks(self, heading: frozenset[str]) -> float:
        """How much of a heading's weight the question has, in [0, 1]."""
        return weight(self.words & heading, self.rare) / (weight(heading, self.rare) or 1.0)


def asked_field(names: Sequence[str], examples: Sequence[Mapping[str, str]]) -> str:
    """The input that asks: the one that most often ends with a question mark, else the shortest one.

    Args:
        names: The input fields in order.
        examples: The inputs of some examples.
    """

    def rank(name: str) -> tuple[float, float]:
        texts = [example[name].strip() for example in examples if example.get(name, "").strip()]
        marks = sum(text.endswith("?") for text in texts) / len(texts) if texts else -1.0
        length = sum(map(len, texts)) / len(texts) if texts else float("inf")
        return (-marks, length)

    return min(names, key=rank, default="")


def find_candidates(inputs: Mapping[str, str], asked: str) -> list[Candidate]:
    """Every candidate in the inputs, each text once per kind, in the order of the inputs.

    Args:
        inputs: The input fields' texts.
        asked: The input that asks; it answers only when it stands alone, or with its options.
    """
    question_text = inputs.get(asked, "")
    sources = [text for name, text in inputs.items() if name != asked and text.strip()] or [question_text]
    passages = [read_passage(text) for text in sources]
    if asked in inputs and question_text not in sources:
        offered = read_passage(question_text)
        if offered.options:
            question_text = " ".join(offered.sentences)
            passages.append(Passage(options=offered.options))
    elif question_text:
        asking = [sentence for sentence in passages[0].sentences if sentence.endswith("?")]
        question_text = " ".join(asking) or question_text
    question = Question(question_text, passages)
    unique: dict[tuple[str, str], Candidate] = {}
    for passage in passages:
        for candidate in (
            *_from_cells(passage, question),
            *_from_lists(passage, question),
            *_from_prose(passage, question),
        ):
            known = unique.get((candidate.kind, candidate.text))
            if candidate.text and (known is None or _strength(candidate) > _strength(known)):
                unique[candidate.kind, candidate.text] = candidate
    return list(unique.values())


def _strength(candidate: Candidate) -> float:
    return candidate.evidence + candidate.near + candidate.column


def _novelty(text: str, question: Question) -> float:
    own = content(text)
    return len(own - question.words) / len(own) if own else 1.0


def _from_cells(passage: Passage, question: Question) -> Iterator[Candidate]:
    stems = {"": frozenset[str]()}
    for cell in passage.cells[:_CELLS]:
        for text in (cell.row, cell.column):
            if text not in stems:
                stems[text] = content(text)
        row, column = stems[cell.row], stems[cell.column]
        yield Candidate(
            text=cell.text,
            kind=cell.kind,
            evidence=question.share(row | column),
            near=question.asks(row),
            column=question.asks(column),
            novelty=_novelty(cell.text, question),
            rest=0.0,
            quote=cell.line,
            group=f"{cell.kind}:{cell.row if cell.kind == 'cell' else ''}",
            heading=cell.column,
        )


def _from_lists(passage: Passage, question: Question) -> Iterator[Candidate]:
    for name, value in passage.settings:
        named, found = content(name), content(value)
        share, asked = question.share(named | found), question.asks(named)
        quote = f"{name}: {value}"
        yield Candidate(
            value, "value", share, asked, 0.0, _novelty(value, question), 0.0, quote, f"value:{name}"
        )
    lettered = [option for option in passage.options if not option.key.isdigit()]
    for kind, text, key in (
        *(("item", item, "") for item in passage.items),
        *(("option", option.text, option.key) for option in lettered),
    ):
        found = content(text)
        share, asked = question.share(found), question.asks(found)
        yield Candidate(text, kind, share, asked, 0.0, _novelty(text, question), 0.0, text, kind, key=key)


def _from_prose(passage: Passage, question: Question) -> Iterator[Candidate]:
    shares = [question.share(content(sentence)) for sentence in passage.sentences]
    ranked = sorted(range(len(shares)), key=lambda index: (-shares[index], index))[:_SENTENCES]
    for index in sorted(ranked):
        sentence, share = passage.sentences[index], shares[index]
        whole = _Sentence(sentence, question)
        novelty, _, _ = whole.around(0, len(sentence))
        yield Candidate(sentence, "sentence", share, share, 0.0, novelty, 0.0, sentence, "sentence")
        for kind, start, stop in _spans(sentence):
            text = sentence[start:stop].strip(" ,;:.")
            if text and text != sentence and not _is_function_words(text):
                novelty, near, rest = whole.around(start, stop)
                yield Candidate(text, kind, share, near, 0.0, novelty, rest, sentence, f"{kind}:{index}")


def _is_function_words(text: str) -> bool:
    """Whether a text has words, and none of them carries content: "The", "What", "of the"."""
    return bool(TOKEN.search(text)) and not content(text)


class _Sentence:
    """The content words of a sentence, with where they stand and which of them the question has."""

    def __init__(self, sentence: str, question: Question) -> None:
        self._whole = question.weight
        self._words = [
            (match.start(), match.end(), question.rare.get(word, 1.0) if word in question.words else 0.0)
            for match in TOKEN.finditer(sentence)
            if (word := stem(match[0].lower())) not in FUNCTION_STEMS
        ]

    def around(self, start: int, stop: int) -> tuple[float, float, float]:
        """The novelty of a span, what of the question stands near it, and how much of the rest is asked."""
        inside = known = outside = asked = 0
        near = 0.0
        for first, last, rare in self._words:
            if start <= first and last <= stop:
                inside += 1
                known += rare > 0
            else:
                outside += 1
                asked += rare > 0
                if start - _NEAR <= first and last <= stop + _NEAR // 2:
                    near += rare
        return (
            1.0 - known / inside if inside else 1.0,
            min(1.0, near / self._whole),
            asked / outside if outside else 0.0,
        )


def _spans(sentence: str) -> Iterator[tuple[str, int, int]]:
    """The numbers, dates, names, quotations and clauses of a sentence, as kind, start and end."""
    for number in _NUMBER.finditer(sentence):
        digits = number.span("digits")
        ends = {number.end(part) for part in ("digits", "percent", "word") if number[part]}
        for start in sorted({number.start(), digits[0]}):
            for end in sorted(ends):
                yield "number", start, end
    for match in _DATE.finditer(sentence):
        yield "number", match.start(), match.end()
    for match in _NAME.finditer(sentence):
        yield "name", match.start(), match.end()
    for match in _QUOTED.finditer(sentence):
        yield "name", match.start(1), match.end(1)
    starts = [0, *(match.end() for match in _CUT.finditer(sentence))][:_STARTS]
    for start in starts:
        stops = [match.start() for match in _STOP.finditer(sentence, start + 2)]
        for stop in {*stops[: _STOPS - 1], *stops[-1:]}:
            yield "clause", start, stop
