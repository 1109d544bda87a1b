"""Whether a model prefers a position among the options of a question, whatever stands there.

>>> position_figures(judged)
{'accuracy.gold_A': 0.9, 'accuracy.gold_B': 0.4, 'predicted_A': 0.7, 'predicted_B': 0.25, …}
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from tiltyard.tasks.metrics import read_option
from tiltyard.tasks.task import Judged


def position_figures(judged: Sequence[Judged]) -> dict[str, float]:
    """Accuracy by the position of the right option, and how often each position was chosen.

    * ``accuracy.gold_X``: the mean score of the examples whose right option is X.
    * ``predicted_X``: the share of all examples that were answered with X. What is missing to 1 chose no
      option.
    * ``position_bias``: the total variation distance between where the model chose and where the right
      options stand, over the examples that chose one, in [0, 1]. It is 0 where each position is chosen as
      often as it is right, though not always in the right questions, and 1 where the chosen ones are never
      right. It is absent where no example chose an option.

    Args:
        judged: Examples with ``choices``, letter to text, whose ``answer`` is the letter of the right one.
    """
    scores: defaultdict[str, list[float]] = defaultdict(list)
    chosen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    letters: set[str] = set()
    for one in judged:
        letters.update(one.example.choices)
        scores[one.example.answer].append(one.score)
        letter = read_option(one.answer, one.example.choices)
        if letter is not None:
            chosen[letter] += 1
            right[one.example.answer] += 1
    figures = {f"accuracy.gold_{letter}": sum(found) / len(found) for letter, found in sorted(scores.items())}
    figures |= {f"predicted_{letter}": chosen[letter] / len(judged) for letter in sorted(letters)}
    if chosen:
        distance = sum(abs(chosen[letter] - right[letter]) for letter in letters)
        figures["position_bias"] = distance / (2 * chosen.total())
    return figures
