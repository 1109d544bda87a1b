import json

import pytest

from tiltyard.config import AXES, check, fingerprint, instantiate, resolve
from tiltyard.errors import InputError
from tiltyard.shipped import config_folder

OPTIONS = [
    (axis, path.stem)
    for axis in [*AXES, "experiment"]
    for path in sorted((config_folder() / axis).glob("*.yaml"))
]
GIVEN = {
    ("task", "qa"): "task.path={data}",
    ("task", "tatqa"): "task.path={data}",
    ("model", "hf"): "model.id=org/name",
}
"""What the generic options need beside their name."""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "a"}) + "\n")
    return path


@pytest.mark.parametrize(("axis", "option"), OPTIONS)
def test_every_shipped_option_composes_and_passes_the_check(axis, option, composed, data):
    given = GIVEN.get((axis, option))
    check(composed(f"{axis}={option}", *([given.format(data=data)] if given else [])))


@pytest.mark.parametrize(("axis", "option"), [item for item in OPTIONS if item[0] in AXES])
def test_every_shipped_option_lists_every_key_of_its_target(axis, option, composed):
    from tiltyard.signatures import options_of, target_of

    node = composed(f"{axis}={option}")[axis]
    options, _ = options_of(target_of(node, axis))
    missing = set(options) - set(node) - set(AXES[axis]) - {"hardware"}
    assert not missing, f"{axis}/{option}.yaml lacks {missing}"


@pytest.mark.parametrize(("axis", "option"), OPTIONS)
def test_every_shipped_option_opens_with_a_command_that_uses_it(axis, option):
    lines = (config_folder() / axis / f"{option}.yaml").read_text().splitlines()
    comment = " ".join(line for line in lines[:4] if line.startswith("#"))
    assert f"{axis}={option}" in comment


def test_labels_are_the_options_names(composed):
    labels = resolve(composed("optimizer=bootstrap", "task=iot_tiny")).labels
    assert (labels.model, labels.task, labels.optimizer) == ("lexical", "iot_tiny", "bootstrap")
    assert labels.mode == "bootstrap"
    assert resolve(composed()).labels.mode == "baseline"


def test_labels_of_generic_options_say_what_was_chosen(composed, data):
    labels = resolve(composed("task=qa", f"task.path={data}", "model=hf", "model.id=org/some-model")).labels
    assert (labels.model, labels.task) == ("some-model", "mine")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["limit=0"], "limit=0"),
        (["seed=-1"], "seed=-1"),
        (["+foo=1"], "unknown key 'foo'"),
        (["+evaluation.foo=1"], "unknown key 'evaluation.foo'"),
        (["evaluation.threads=many"], "evaluation.threads"),
        (["task=qa"], "task.path is not set"),
        (["task=qa", "task.path=nowhere.jsonl"], "nowhere.jsonl"),
        (["optimizer=labeled_few_shot", "optimizer.k=-1"], "optimizer.k=-1"),
        (["+model.api_key=abc"], "secret"),
        (["labels.task=${nothing}"], "labels.task"),
    ],
)
def test_wrong_input_is_one_line(overrides, words, composed):
    with pytest.raises(InputError) as caught:
        check(composed(*overrides))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_that_of_the_result(composed, data, tmp_path):
    def of(*overrides):
        return fingerprint(resolve(composed(*overrides)))

    base = of()
    assert base == of()
    assert base == of("labels.task=another", "tracking=off", "debug=true")
    changed = [of("seed=1"), of("limit=2"), of("optimizer=bootstrap"), of("task=iot_tiny")]
    assert len({base, *changed}) == 5


def test_the_fingerprint_covers_a_files_content_and_not_its_place(composed, data, tmp_path):
    def of(path):
        return fingerprint(resolve(composed("task=qa", f"task.path={path}")))

    elsewhere = tmp_path / "copy.jsonl"
    elsewhere.write_text(data.read_text())
    before = of(data)
    assert of(elsewhere) == before
    data.write_text(data.read_text().replace("q", "w"))
    assert of(data) != before


def test_instantiate_passes_what_the_target_takes(composed):
    import dspy

    def metric(example, prediction, trace=None):
        return 1.0

    bootstrap = instantiate(resolve(composed("optimizer=bootstrap")).optimizer, metric=metric)
    assert isinstance(bootstrap, dspy.BootstrapFewShot)
    assert bootstrap.metric is metric
    assert instantiate(resolve(composed("optimizer=labeled_few_shot")).optimizer, metric=metric).k == 16
