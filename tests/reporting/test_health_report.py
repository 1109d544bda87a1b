from tiltyard.config import HealthLimits
from tiltyard.reporting.further import further
from tiltyard.reporting.health import health_sections, position_sections

RATES = {"health.truncated": 0.25, "health.unparsed": 0.0, "health.constant": 0.4, "health.duplicates": 0.01}


def test_notable_rates_are_shown_with_what_to_do():
    heading, text = health_sections(RATES, HealthLimits())
    assert heading == "## Health"
    lines = text.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["truncated", "duplicates"]
    assert "| 0.250 |" in lines[2]
    assert "raise model.max_tokens" in lines[2]


def test_a_rate_above_its_limit_is_shown_however_low():
    _, failed, text = health_sections(RATES, HealthLimits(constant=0.3, truncated=0.5))
    assert failed.endswith("constant.")
    assert "| constant (failed) | 0.400 | 0.300 |" in " ".join(text.split())
    assert "| truncated | 0.250 | 0.500 |" in " ".join(text.split())


def test_a_healthy_run_has_no_section():
    assert list(health_sections({"health.truncated": 0.01, "health.error": 0.0}, HealthLimits())) == []
    assert list(position_sections({"accuracy": 1.0})) == []


def test_positions_are_a_table_and_no_further_metrics():
    metrics = {"accuracy.gold_A": 0.5, "predicted_A": 0.25, "predicted_B": 0.75, "position_bias": 0.1}
    _, text = position_sections(metrics)
    assert [line.replace(" ", "") for line in text.splitlines()[2:]] == ["|A|0.500|0.250|", "|B|–|0.750|"]
    assert further({**metrics, **RATES}) == {"position_bias": 0.1}
