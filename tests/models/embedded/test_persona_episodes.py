import itertools
import re

import pytest
from dspy import ChatAdapter

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.importance import listed
from tiltyard.models.embedded.personas import (
    AVOIDS,
    PREFERS,
    channel,
    channel_receptivity,
    creative,
    creative_pairs,
    creative_tally,
    fatigue,
    purchase,
    purchase_decision,
    viewing,
)

DISCOUNTS = (0, 5, 19, 20, 50)
DECISIONS = ("no", "delayed", "yes")
FATIGUES = ("low", "medium", "high")


def _intents(**fixed):
    factors = {
        "interested": (False, True),
        "watches": (False, True),
        "discount": DISCOUNTS,
        "exposures": range(8),
    }
    factors |= {name: (value,) for name, value in fixed.items()}
    return [
        creative_tally(**dict(zip(factors, values, strict=True)))[-1]
        for values in itertools.product(*factors.values())
    ]


def _rises(rows):
    return all(
        a <= b for lower, higher in itertools.pairwise(rows) for a, b in zip(lower, higher, strict=True)
    )


def test_the_intent_is_monotonic_in_every_factor():
    assert _rises([_intents(interested=value) for value in (False, True)])
    assert _rises([_intents(discount=value) for value in DISCOUNTS])
    assert _rises([_intents(exposures=value) for value in reversed(range(8))])
    assert set(_intents()) == {1, 2, 3, 4, 5}


def test_a_persona_that_ignores_prices_does_not_care_for_the_discount():
    assert len({creative_tally(True, False, discount, 0) for discount in DISCOUNTS}) == 1
    assert creative_tally(False, True, 0, 0) == (2, 1, 1)


def test_receptivity_rises_with_the_preference_and_falls_with_exposures():
    grid = [[channel_receptivity(attitude, count) for count in range(9)] for attitude in (-1, 0, 1)]
    assert _rises(grid)
    assert all(a >= b for row in grid for a, b in itertools.pairwise(row))
    assert {value for row in grid for value in row} <= {tenth / 10 for tenth in range(11)}
    assert grid[2][0] == 0.8
    assert grid[0][8] == 0.0


def test_fatigue_goes_by_the_count():
    assert [fatigue(count) for count in range(6)] == ["low", "low", "medium", "medium", "high", "high"]


def test_a_purchase_is_monotonic_in_budget_price_need_and_messages():
    def rank(*arguments):
        return DECISIONS.index(purchase_decision(*arguments))

    amounts = (10, 40, 41, 90)
    for price, budget, other, touches in itertools.product(amounts, amounts, (None, *amounts), (0, 1, 3)):
        here = rank(True, price, budget, other, touches)
        assert rank(False, price, budget, other, touches) == 0 <= here
        assert rank(True, price + 1, budget, other, touches) <= here
        assert rank(True, price, budget + 1, other, touches) >= here
        assert rank(True, price, budget, other, touches + 1) >= here
        assert rank(True, price, budget, None, touches) >= here
        if other is not None:
            assert rank(True, price, budget, other + 1, touches) >= here


def test_what_decides_stands_in_the_inputs_of_an_advertisement():
    for index in range(200):
        drawn = viewing(Draw(f"evidence/{index}", held_out=index % 2 == 0))
        turn = drawn.turn()
        assert all(liked in turn.inputs["persona_profile"] for liked in drawn.likes)
        assert drawn.price_words.lower() in turn.inputs["persona_profile"].lower()
        assert drawn.product in turn.inputs["creative_content"]
        offer = f"{drawn.discount}%" if drawn.discount else "full price"
        assert offer in turn.inputs["creative_content"]
        assert f"{drawn.exposures} time" in turn.inputs["context"]
        assert turn.outputs["reaction"].endswith(f"{turn.outputs['intent']}.")


def test_pairs_differ_in_the_exposures_alone():
    for index in range(50):
        lower, higher = creative_pairs(Draw(f"pairs/{index}", held_out=True))
        assert lower.asked.outputs["intent"] < higher.asked.outputs["intent"]
        assert lower.turns[:-1] == higher.turns[:-1]
        differing = {name for name, value in lower.asked.inputs.items() if higher.asked.inputs[name] != value}
        assert differing == {"context"}
        more, fewer = (re.search(r"(\d) time", one.asked.inputs["context"])[1] for one in (lower, higher))
        assert more > fewer


def test_the_labels_of_a_channel_follow_from_the_inputs():
    fatigues = set()
    for index in range(200):
        turn = channel(Draw(f"channel/{index}", held_out=index % 2 == 0)).asked
        inputs, outputs = turn.inputs, turn.outputs
        messages = inputs["recent_exposures"].splitlines()
        count = 0 if messages == ["none"] else len(messages)
        preferred, avoided = (
            any(
                frame.format(inputs["proposed_channel"]) in inputs["persona_profile"]
                for frame in listed(frames)
            )
            for frames in (PREFERS, AVOIDS)
        )
        assert outputs["receptivity"] == channel_receptivity(preferred - avoided, count)
        assert outputs["fatigue_level"] == fatigue(count)
        fatigues.add(outputs["fatigue_level"])
    assert fatigues == set(FATIGUES)


def test_the_labels_of_a_purchase_follow_from_the_inputs():
    decided = set()
    for index in range(200):
        turn = purchase(Draw(f"buy/{index}", held_out=index % 2 == 0)).asked
        inputs, outputs = turn.inputs, turn.outputs
        budget, price = (
            int(re.search(r"(\d+) USD", inputs[name])[1]) for name in ("persona_profile", "product_details")
        )
        other = re.search(r"(\d+) USD", inputs["competitive_options"])
        needed, sold = re.search(r"Needs (\w+), sold (\w+):", outputs["decision_factors"]).groups()
        assert needed in inputs["persona_profile"]
        assert sold in inputs["product_details"]
        touches = 0 if inputs["intervention_history"] == "none" else 1
        right = purchase_decision(needed == sold, price, budget, other and int(other[1]), touches)
        assert outputs["purchase_decision"] == right
        decided.add(right)
    assert decided == set(DECISIONS)


@pytest.mark.parametrize(
    "field", ["name", "age", "job", "likes", "likes_frame", "product", "advert", "brand", "seen"]
)
def test_training_never_draws_what_is_kept_for_evaluation(field):
    trained = {getattr(viewing(Draw(f"a/{index}")), field) for index in range(400)}
    evaluated = {getattr(viewing(Draw(f"b/{index}", held_out=True)), field) for index in range(400)}
    assert trained
    assert evaluated
    assert not trained & evaluated


@pytest.mark.parametrize("generate", [creative, channel, purchase])
def test_training_and_evaluation_share_no_persona(generate):
    trained, evaluated = (
        {
            turn.inputs["persona_profile"]
            for index in range(200)
            for turn in generate(Draw(f"{held_out}/{index}", held_out=held_out)).turns
        }
        for held_out in (False, True)
    )
    assert not trained & evaluated


@pytest.mark.parametrize("generate", [creative, channel, purchase])
def test_episodes_are_seeded_short_and_parse_back(generate):
    for index in range(40):
        episode = generate(Draw(f"parse/{index}", held_out=index % 2 == 0))
        assert episode == generate(Draw(f"parse/{index}", held_out=index % 2 == 0))
        assert 0 <= len(episode.demos) <= 3
        messages = episode.messages()
        answers = [message.content for message in messages if message.role == "assistant"]
        assert all(message.learn for message in messages if message.role == "assistant")
        for turn, answer in zip(episode.turns, answers, strict=True):
            assert ChatAdapter().parse(episode.signature, answer) == turn.outputs
            words = " ".join([*turn.inputs.values(), *map(str, turn.outputs.values())]).split()
            assert len(words) <= 90
