import pytest

from tiltyard.evaluation.failures import Failure
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import COLUMNS, Row
from tiltyard.evaluation.trial import Trial
from tiltyard.telemetry.usage import Usage


def a_trial(score=1.0, usage=None, failure=None):
    values = {**dict.fromkeys(COLUMNS, ""), "score": score, "correct": int(score == 1), "cached": 0}
    return Trial(Row(**values), usage or Usage(calls=1), {}, failure)


def test_the_price_is_a_metric_only_when_it_is_known():
    priced = [a_trial(usage=Usage(calls=1, cost_usd=cost)) for cost in (0.25, 0.5)]
    unpriced = a_trial(usage=Usage(calls=1, cost_usd=None))

    assert Evaluation.of(priced, seconds=1.0).metrics()["cost.usd"] == 0.75
    mixed = Evaluation.of([*priced, unpriced], seconds=1.0)
    assert mixed.cost_usd is None
    assert "cost.usd" not in mixed.metrics()


def test_an_example_whose_model_never_answered_has_no_price():
    failure = Failure("", "generate", "1", "auth", "", "")
    failed = a_trial(0.0, Usage(), failure)

    assert Evaluation.of([failed], seconds=1.0).cost_usd is None
    priced = a_trial(usage=Usage(calls=2, cost_usd=0.5))
    assert Evaluation.of([failed, priced], seconds=1.0).cost_usd == 0.5


def test_speed_is_per_second_of_wall_time():
    trials = [a_trial(usage=Usage(calls=1, prompt_tokens=900, completion_tokens=10)) for _ in range(8)]
    evaluation = Evaluation.of(trials, seconds=4.0)

    assert (evaluation.examples_per_second, evaluation.tokens_per_second) == (2.0, 20.0)


def test_what_a_cache_spared_is_not_spent():
    spared = Usage(
        calls=1,
        prompt_tokens=900,
        completion_tokens=10,
        spared_prompt_tokens=900,
        spared_completion_tokens=10,
    )
    evaluation = Evaluation.of(
        [a_trial(usage=Usage(calls=1, prompt_tokens=900, completion_tokens=10)), a_trial(usage=spared)], 4.0
    )
    assert (evaluation.prompt_tokens, evaluation.completion_tokens) == (900, 10)
    assert evaluation.tokens_per_second == 2.5


def test_every_metric_is_a_float():
    metrics = Evaluation.of([a_trial(), a_trial(0.5)], seconds=1.0).metrics()

    assert all(type(value) is float for value in metrics.values())
    assert (metrics["score"], metrics["accuracy"], metrics["examples"]) == (0.75, 0.5, 2.0)
    assert metrics["score.low"] < 0.75 < metrics["score.high"]


def test_nothing_cannot_be_summed_up():
    with pytest.raises(ValueError, match="at least one score"):
        Evaluation.of([], seconds=1.0)
