"""Whether a run measured what it means to: rates of what goes wrong unseen, and limits that fail a run.

>>> found = health(evaluation, splits.test, seen=[*splits.train, *splits.validation])
>>> found["health.truncated"]
0.12
>>> refuse_unhealthy(found, HealthLimits(truncated=0.1))
Traceback (most recent call last):
...
tiltyard.errors.JobError: the run failed its health checks: truncated is 0.12, …
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import dspy

from tiltyard.config import HealthLimits
from tiltyard.errors import JobError
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import Row

PREFIX = "health."
"""What the checks' metrics begin with."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong with a run."""

    name: str
    """Its key in ``evaluation.fail_on``; its metric is ``health.NAME``."""
    share: str
    """What its rate is the share of, in words."""
    remedy: str
    """What to do about a high one."""
    notable: float
    """A rate above this one is worth a line in a report."""


CHECKS: tuple[Check, ...] = (
    Check(
        "truncated",
        "examples with a completion that the token limit cut off",
        "raise model.max_tokens",
        0.02,
    ),
    Check(
        "unparsed",
        "examples whose completion did not have the format asked for",
        "give demonstrations, constrain the replies (model.constrained=true) or choose a larger model",
        0.02,
    ),
    Check("error", "examples that failed for any other reason", "read errors.jsonl", 0.0),
    Check(
        "empty",
        "examples that were answered with nothing",
        "look at the rows of predictions.csv that have no pred",
        0.02,
    ),
    Check(
        "constant",
        "examples with another gold answer that got the most frequent answer",
        "the model may not read its input: look at the most frequent pred in predictions.csv",
        0.5,
    ),
    Check(
        "duplicates",
        "evaluated items that an optimizer may also see, in train or in validation",
        "take them out of one side: what is learned from must not be what is scored",
        0.0,
    ),
    Check(
        "gold_position_skew",
        "evaluated items by which the most favoured position of the right option exceeds its chance",
        "take more examples, or shuffle the options: a model that likes this position gains by it",
        0.15,
    ),
)
"""Every check, in the order in which reports show them."""


def health(
    evaluation: Evaluation, examples: Sequence[dspy.Example], *, seen: Iterable[dspy.Example]
) -> dict[str, float]:
    """The rate of every check, as metrics. ``gold_position_skew`` is there for multiple choice only.

    Args:
        evaluation: What was found.
        examples: The examples that were evaluated.
        seen: Those that an optimizer may see.
    """
    rows = evaluation.rows
    rates = {
        "truncated": evaluation.truncated / len(rows),
        "unparsed": evaluation.unparsed / len(rows),
        "error": (evaluation.failed - evaluation.unparsed) / len(rows),
        "empty": sum(not row.error and not row.pred.strip() for row in rows) / len(rows),
        "constant": constant_rate(rows),
        "duplicates": duplicate_rate(examples, seen),
    }
    skew = position_skew(examples)
    if skew is not None:
        rates["gold_position_skew"] = skew
    return {f"{PREFIX}{name}": float(rate) for name, rate in rates.items()}


def constant_rate(rows: Sequence[Row]) -> float:
    """How often the most frequent answer is given where another one is right, in [0, 1].

    Rows that failed or have no answer do not count. An answer that was right at least once stands for the
    gold answers of the rows where it was, whatever form it has; a constant that is right everywhere is no
    fault, and one that was given only once is no constant.
    """
    answered = [(_plain(row.pred), row) for row in rows if not row.error and row.pred.strip()]
    if not answered:
        return 0.0
    constant, times = Counter(answer for answer, _ in answered).most_common(1)[0]
    right = {constant, *(_plain(row.gold) for answer, row in answered if answer == constant and row.correct)}
    others = [answer for answer, row in answered if _plain(row.gold) not in right]
    if times < 2 or not others:
        return 0.0
    return sum(answer == constant for answer in others) / len(others)


def duplicate_rate(examples: Sequence[dspy.Example], others: Iterable[dspy.Example]) -> float:
    """The share of examples whose inputs some other example has too, in [0, 1].

    Inputs are compared by their words alone, without case, punctuation and white space, and the options of a
    multiple-choice question in any order.
    """
    if not examples:
        return 0.0
    known = {_content(example) for example in others}
    return sum(_content(example) in known for example in examples) / len(examples)


def position_skew(examples: Sequence[dspy.Example]) -> float | None:
    """How unevenly the right options stand, in [0, 1): 0 where each position has it as often as chance would.

    It is the largest difference, over positions, between the share of examples whose right option stands
    there and the share that chance expects, which is 1/k of the examples with k options. Some skew is chance
    itself: of 4 positions and 100 examples, the most favoured one exceeds a quarter by 0.05 on average.

    Returns:
        None where an example is no multiple choice.
    """
    if not examples or not all(_is_choice(example) for example in examples):
        return None
    gold = Counter(str(example["answer"]) for example in examples)
    expected: Counter[str] = Counter()
    for example in examples:
        for letter in example["choices"]:
            expected[letter] += 1 / len(example["choices"])  # type: ignore[assignment]
    return max(0.0, *((gold[letter] - expected[letter]) / len(examples) for letter in expected))


def exceeded(metrics: Mapping[str, float], limits: HealthLimits) -> dict[str, tuple[float, float]]:
    """The checks whose rate is above its limit, each with both. One that does not apply has no rate."""
    return {
        name: (metrics[f"{PREFIX}{name}"], limit)
        for name, limit in asdict(limits).items()
        if limit is not None and metrics.get(f"{PREFIX}{name}", 0.0) > limit
    }


def refuse_unhealthy(metrics: Mapping[str, float], limits: HealthLimits) -> None:
    """End a run whose rates exceed the limits that its config sets.

    Raises:
        JobError: Names every check that failed, with its rate, its limit and what to do.
    """
    found = exceeded(metrics, limits)
    if not found:
        return
    remedies = {check.name: check.remedy for check in CHECKS}
    told = ", ".join(
        f"{name} is {rate:.3g}, above evaluation.fail_on.{name}={limit:g}"
        for name, (rate, limit) in found.items()
    )
    raise JobError(
        f"the run failed its health checks: {told}",
        "; ".join([*(remedies[name] for name in found), "its results are complete and recorded"]),
    )


def _is_choice(example: dspy.Example) -> bool:
    return isinstance(example.get("choices"), Mapping) and example.get("answer") in example["choices"]


def _plain(text: str) -> str:
    words = " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
    return words or text.strip()  # "+" and "-" are answers too


def _content(example: dspy.Example) -> str:
    inputs = {name: str(value) for name, value in example.inputs().items()}
    if _is_choice(example) and "options" in inputs:
        inputs["options"] = "\n".join(sorted(_plain(str(text)) for text in example["choices"].values()))
    return "\x1f".join(f"{name}\x1e{_plain(inputs[name])}" for name in sorted(inputs))
