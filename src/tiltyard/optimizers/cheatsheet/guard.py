"""Judges a rewrite of a cheatsheet: what it loses of the old sheet, and whether it may take its place.

    >>> guard = Guard(budget_tokens=512, max_loss=0.3)
    >>> guard.judge("- Write USD before sums.", "- Write USD before all sums.").verdict
    'kept'

A model that rewrites its whole memory can empty it in one step: 18,282 tokens became 122 in the runs of the
ACE paper (arXiv 2510.04618, figure 2). Here such a rewrite is refused and the old sheet stays.
"""

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from tiltyard.optimizers.playbook.entry import tokens

Verdict = Literal["kept", "unchanged", "refused", "failed"]
"""``kept``: the rewrite took the old sheet's place. ``unchanged``: it says what the old one says.
``refused``: the guard or the budget turned it down. ``failed``: there was none that could be read."""

SAME_LINE = 2 / 3
"""The part of a line's words that one line of the new sheet must have for the old line to count as kept."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Loss:
    """What a rewrite leaves out of the old sheet, in two measures; each in [0, 1]."""

    tokens: float
    """By how much the sheet became shorter, as a share of its tokens; 0 where it grew."""
    lines: float
    """The share of the old sheet's tokens that stand in lines which the new one does not keep."""

    @property
    def share(self) -> float:
        """The larger of the two: a sheet of other contents is a loss, however long it is."""
        return max(self.tokens, self.lines)


@dataclass(frozen=True)
class Ruling:
    """What became of one rewrite."""

    verdict: Verdict
    sheet: str
    """The sheet that stands afterwards."""
    reason: str = ""
    """Why it was not kept; empty where it was."""
    loss: Loss = Loss(0.0, 0.0)
    """What it leaves out of the old sheet."""
    trimmed_tokens: int = 0
    """What the budget cut off its end."""


@dataclass(frozen=True)
class Guard:
    """The conditions that a rewrite has to meet."""

    budget_tokens: int = 512
    """The most that a sheet may hold, by the estimate of ``playbook.entry.tokens``."""
    over_budget: Literal["trim", "refuse"] = "trim"
    """What happens to a longer one: ``trim`` leaves out its last lines, ``refuse`` keeps the old sheet."""
    max_loss: float = 0.3
    """The largest share of the old content that a rewrite may lose; in [0, 1]."""
    guarded_from: int = 64
    """Sheets of fewer tokens may be rewritten freely: one or two lines are no treasure, and a wrong first
    line must not stay for good."""

    def judge(self, old: str, rewritten: str) -> Ruling:
        """Decide which sheet stands after a rewrite.

        Args:
            old: The sheet that stands so far; may be empty.
            rewritten: The proposed one.
        """
        if rewritten == old:
            return Ruling("unchanged", old, "it says what the old one says")
        within = trimmed(rewritten, self.budget_tokens)
        over = tokens(rewritten) - self.budget_tokens
        if over > 0 and (self.over_budget == "refuse" or not within):
            reason = f"it is {over} tokens over the budget of {self.budget_tokens}"
            return Ruling("refused", old, reason, loss_of(old, rewritten))
        loss = loss_of(old, within)
        cut = tokens(rewritten) - tokens(within) if over > 0 else 0
        if within == old:
            return Ruling("unchanged", old, "what it adds is over the budget", loss, cut)
        if old and not within:
            return Ruling("refused", old, "it is empty", loss)
        if tokens(old) >= self.guarded_from and loss.share > self.max_loss:
            reason = (
                f"it loses {loss.tokens:.0%} of the tokens and {loss.lines:.0%} of the lines, "
                f"more than {self.max_loss:.0%}"
            )
            return Ruling("refused", old, reason, loss, cut)
        return Ruling("kept", within, "", loss, cut)


def loss_of(old: str, new: str) -> Loss:
    """How much of an old sheet a new one leaves out.

    A line of the old sheet is kept where one line of the new one has two thirds of its distinct words,
    whatever their order and case: bullets, numbers before a line and some rewording do not count. Lines weigh
    by their tokens; a line without a word weighs nothing.

    Args:
        old: The sheet before.
        new: The sheet after.
    """
    shorter = 1 - tokens(new) / max(1, tokens(old)) if old else 0.0
    with_word: dict[str, set[int]] = {}
    for number, line in enumerate(new.splitlines()):
        for word in _words(line):
            with_word.setdefault(word, set()).add(number)
    weighed = [(tokens(line), words) for line in old.splitlines() if (words := _words(line))]
    lost = sum(weight for weight, words in weighed if not _has_counterpart(words, with_word))
    whole = sum(weight for weight, _ in weighed)
    return Loss(max(0.0, shorter), lost / whole if whole else 0.0)


def _words(line: str) -> frozenset[str]:
    return frozenset(_WORD.findall(line.casefold()))


def _has_counterpart(words: frozenset[str], with_word: dict[str, set[int]]) -> bool:
    shared: dict[int, int] = {}
    for word in words:
        for number in with_word.get(word, ()):
            shared[number] = shared.get(number, 0) + 1
    return max(shared.values(), default=0) >= SAME_LINE * len(words)


def trimmed(sheet: str, budget_tokens: int) -> str:
    """The first lines of a sheet that fit a budget; empty where its first line alone does not.

    Args:
        sheet: The lines.
        budget_tokens: The most that the result holds.
    """
    lines = sheet.splitlines()
    upto = accumulate(tokens(line) for line in lines)
    fitting = sum(size <= budget_tokens for size in upto)
    return "\n".join(lines[:fitting]).rstrip()
