from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from tiltyard.tracking.params import TAG_LIMIT, VALUE_LIMIT, flatten, legal_name, shorten

names = st.text(min_size=1, max_size=300)
configs = st.dictionaries(
    names,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=50),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def test_nested_mappings_get_dotted_names_and_lists_of_nodes_numbers():
    config = {
        "model": {"_target_": "tiltyard.models.lexical.lexical", "stop": ["\n", "Q:"], "revision": None},
        "optimizer": {"steps": [{"_target_": "dspy.LabeledFewShot", "k": 4}, {"_target_": "dspy.KNN"}]},
        "extra": {},
        "seed": 0,
    }
    assert flatten(config) == {
        "model._target_": "tiltyard.models.lexical.lexical",
        "model.stop": "['\\n', 'Q:']",
        "model.revision": "None",
        "optimizer.steps.0._target_": "dspy.LabeledFewShot",
        "optimizer.steps.0.k": "4",
        "optimizer.steps.1._target_": "dspy.KNN",
        "extra": "{}",
        "seed": "0",
    }


def test_secrets_are_left_out_and_token_limits_are_not(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "hunter2-hunter2")
    config = {
        "model": {"api_key": "k", "headers": {"Authorization": "Bearer abc"}, "max_tokens": 5},
        "task": {"note": "the key is hunter2-hunter2"},
        "hf_token": {"value": "x"},
    }
    assert flatten(config) == {"model.max_tokens": "5", "task.note": "the key is ***"}


def test_long_values_are_cut_to_the_limit():
    [value] = flatten({"prompt": "x" * 10_000}).values()
    assert len(value) == VALUE_LIMIT
    assert value.endswith("x…")
    assert shorten("short", TAG_LIMIT) == "short"


@given(configs)
def test_mlflow_takes_every_param(config):
    for name, value in flatten(config).items():
        _validate_param(name, value)


@given(names)
def test_mlflow_takes_every_name(name):
    _validate_metric_name(legal_name(name))


def test_ordinary_names_stay():
    for name in ("score", "latency.generate.p50_ms", "latency.ScoreImportance.count", "a/b"):
        assert legal_name(name) == name
