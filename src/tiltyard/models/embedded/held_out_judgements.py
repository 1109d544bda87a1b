"""The held-out judgements of the town and the panel that an evaluation asks for, and pairs of them.

A pair is one judgement twice, with one factor changed that should raise it: a more severe event, fewer
exposures, a larger budget. It is in order where the second judgement is above the first.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tiltyard.models.embedded import judging
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode
from tiltyard.models.embedded.held_out import Reply, Tally, Trial
from tiltyard.models.embedded.personas import fatigue
from tiltyard.programs.town import ScoreImportance

WITHIN = "score within 1"
"""What counts the scores of importance that are nearly right, and so all that were asked for."""
DECISIONS = ("no", "delayed", "yes")
"""Purchase decisions, the least willing first."""

_FIELDS: tuple[tuple[Callable[[Draw], Episode], str, tuple[str, ...]], ...] = (
    (judging.importance, "importance", ("score",)),
    (judging.town_reflection, "reflection", ("insight",)),
    (judging.creative, "creative", ("intent",)),
    (judging.channel, "channel", ("receptivity", "fatigue_level")),
    (judging.purchase, "purchase", ("purchase_decision",)),
)


def judgement_trials(examples: int, seed: int = 0) -> Iterator[Trial]:
    """All judgements of an evaluation.

    Args:
        examples: Of each signature; as many pairs.
        seed: Decides all of them.
    """
    for place in range(examples):
        for make, name, names in _FIELDS:
            draw = Draw(f"evaluation/{seed}/{name}/{place}", held_out=True)
            yield _judged(make(draw), f"judge/{name}", names)
        for name, make_pair, level in _PAIRS:
            draw = Draw(f"evaluation/{seed}/{name} pairs/{place}", held_out=True)
            yield _ordered(make_pair(draw), f"judge/{name}/pairs in order", level)


def _judged(episode: Episode, cell: str, names: tuple[str, ...]) -> Trial:
    gold = episode.asked.outputs

    def judge(tally: Tally, *replies: Reply) -> None:
        reply = replies[0]
        for name in names:
            said = None if reply is None else reply.get(name)
            tally.mark(f"{cell}/{name}", reply, said == gold[name])
        if episode.signature is ScoreImportance:
            within = reply is not None and abs(float(reply["score"]) - float(gold["score"])) <= 1
            tally.mark(f"{cell}/{WITHIN}", reply, within)
            if reply is not None:
                tally.pairs.setdefault(cell, []).append((float(gold["score"]), float(reply["score"])))

    return Trial((episode,), judge)


def _ordered(pair: tuple[Episode, Episode], cell: str, level: Callable[[Any], float]) -> Trial:
    def judge(tally: Tally, *replies: Reply) -> None:
        low, high = replies
        if low is None or high is None:
            tally.mark(cell, None, False)
        else:
            tally.mark(cell, high, level(low) < level(high))

    return Trial(pair, judge)


def channel_pair(draw: Draw) -> tuple[Episode, Episode]:
    """Two assessments that differ in the recent messages alone: with some, and with none."""
    while True:
        episode = judging.channel(draw)
        asked = episode.asked
        if asked.inputs["recent_exposures"] != "none" and asked.outputs["receptivity"] > 0:
            break
    messages = len(str(asked.inputs["recent_exposures"]).splitlines())
    receptivity = round(asked.outputs["receptivity"] + messages / 10, 1)
    outputs = {"receptivity": receptivity, "fatigue_level": fatigue(0)}
    return episode, _changed(episode, {"recent_exposures": "none"}, outputs)


def purchase_pair(draw: Draw) -> tuple[Episode, Episode]:
    """Two decisions that differ in the budget alone: one that is too small, and one that is not."""
    while True:
        episode = judging.purchase(draw)
        asked = episode.asked
        factors = str(asked.outputs["decision_factors"])
        if "same." in factors and "too dear" in factors:
            break
    price, small = re.findall(r"Price (\d+), budget (\d+)", factors)[0]
    budget = draw.number(int(price), 99)
    profile = str(asked.inputs["persona_profile"]).replace(f"{small} USD", f"{budget} USD")
    waits = "Messages: none." in factors or ": cheaper." in factors
    outputs = {
        "decision_factors": factors.replace(f"{small}: too dear", f"{budget}: within"),
        "purchase_decision": "delayed" if waits else "yes",
    }
    return episode, _changed(episode, {"persona_profile": profile}, outputs)


def _changed(episode: Episode, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Episode:
    turn = replace(episode.asked, inputs={**episode.asked.inputs, **inputs}, outputs=outputs)
    return replace(episode, turns=(*episode.turns[:-1], turn))


_PAIRS: tuple[tuple[str, Callable[[Draw], tuple[Episode, Episode]], Callable[[Any], float]], ...] = (
    ("importance", judging.importance_pairs, lambda reply: float(reply["score"])),
    ("creative", judging.creative_pairs, lambda reply: float(reply["intent"])),
    ("channel", channel_pair, lambda reply: float(reply["receptivity"])),
    ("purchase", purchase_pair, lambda reply: float(DECISIONS.index(reply["purchase_decision"]))),
)
