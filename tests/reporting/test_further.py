from tiltyard.reporting.further import further


def test_what_tiltyard_measures_itself_is_not_among_the_further_metrics() -> None:
    own = ("score", "score.low", "accuracy", "examples", "examples.failed", "examples_per_second")
    groups = ("tokens.prompt", "tokens_per_second", "cost.usd", "memory.peak_mb", "latency.generate.p50_ms")
    rest = ("inference.mean_batch", "energy.joules")
    metrics = dict.fromkeys([*own, *groups, *rest, "value", "rouge.l", "score_of_form"], 0.5)
    assert list(further(metrics)) == ["rouge.l", "score_of_form", "value"]
