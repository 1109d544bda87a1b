import json
from typing import Annotated

import pytest
from omegaconf import open_dict
from pydantic import Field

from tiltyard.config import (
    AXES,
    Operational,
    Settled,
    check,
    fingerprint,
    instantiate,
    model_identity,
    resolve,
)
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
    ("task", "finer"): "task.path={data}",
    ("task", "formula"): "task.path={data}",
    ("task", "gsm8k"): "task.path={data}",
    ("task", "medqa"): "task.path={data}",
    ("task", "pubmedqa"): "task.path={data}",
    ("model", "hf"): "model.id=org/name",
    ("model", "openai_compatible"): "model.id=org/name",
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
    assert (labels.model, labels.task, labels.optimizer) == ("embedded", "iot_tiny", "bootstrap")
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
        (["evaluation.threads=0"], "evaluation.threads=0"),
        (["evaluation.disable_caching=maybe"], "evaluation.disable_caching"),
        (["+evaluation.fail_on.truncate=0.1"], "did you mean 'truncated'?"),
        (["evaluation.fail_on.truncated=1.5"], "fail_on.truncated=1.5: should be less than or equal"),
        (["evaluation.fail_on=0.1"], "evaluation.fail_on=0.1: should be an object"),
        (["cache.size_limit_mb=0"], "cache.size_limit_mb=0"),
        (["+cache.place=here"], "unknown key 'cache.place'"),
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


def test_the_default_split_has_the_fingerprint_of_a_config_without_the_key(composed, monkeypatch):
    given = ("model=lexical", "task=iot_tiny")
    default, named = composed(*given), composed(*given, "split=test")
    assert fingerprint(resolve(default)) == fingerprint(resolve(named))
    assert fingerprint(resolve(composed(*given, "split=validation"))) != fingerprint(resolve(default))
    with open_dict(default):
        del default["split"]
    assert fingerprint(resolve(default)) == fingerprint(resolve(named))
    described = []
    monkeypatch.setattr("tiltyard.config.digest", lambda what: described.append(what) or "")
    fingerprint(resolve(named))
    assert "split" not in described[0]["config"]


def test_the_fingerprint_is_that_of_the_result(composed, data, tmp_path):
    def of(*overrides):
        return fingerprint(resolve(composed("model=lexical", *overrides)))

    base = of()
    assert base == of()
    assert base == of("labels.task=another", "tracking=off", "debug=true")
    assert base == of("evaluation.disable_caching=true", "evaluation.threads=2", "cache.enabled=false")
    assert base == of("evaluation.each_epoch=true", "resume=false")
    assert base == of("evaluation.fail_on={truncated: 0.1, duplicates: 0}")
    changed = [of("seed=1"), of("limit=2"), of("optimizer=bootstrap"), of("task=iot_tiny")]
    assert len({base, *changed}) == 5


def test_the_fingerprint_covers_a_files_content_and_not_its_place(composed, data, tmp_path):
    def of(path):
        return fingerprint(resolve(composed("model=lexical", "task=qa", f"task.path={path}")))

    elsewhere = tmp_path / "copy.jsonl"
    elsewhere.write_text(data.read_text())
    before = of(data)
    assert of(elsewhere) == before
    data.write_text(data.read_text().replace("q", "w"))
    assert of(data) != before


def test_the_models_identity_is_all_that_can_change_an_answer(composed, tmp_path):
    def of(*overrides):
        return model_identity(resolve(composed(*overrides)))

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    weights = ("model=hf", f"model.id={folder}")
    base = of(*weights, "hardware=cpu")
    assert base == of(*weights, "hardware=cpu")
    elsewhere = folder.rename(tmp_path / "moved")
    weights = ("model=hf", f"model.id={elsewhere}")
    assert base == of(
        *weights, "hardware=cpu", "task=iot_tiny", "optimizer=bootstrap", "limit=3", "labels.model=x"
    )
    changed = [
        of(*weights, "hardware=cpu", "model.chat_template=none"),
        of(*weights, "hardware=cpu", "model.revision=abc"),
        of(*weights, "hardware=cpu", "model.max_tokens=7"),
        of(*weights, "hardware=cpu", "hardware.dtype=bfloat16"),
        of(*weights, "hardware=cuda"),
        of("model=lexical"),
        of("model=lexical", "model.neighbours=3"),
    ]
    (elsewhere / "model.safetensors").write_bytes(b"others.")
    changed.append(of(*weights, "hardware=cpu"))
    assert len({base, *changed}) == len(changed) + 1


def test_hardware_is_no_part_of_a_model_that_takes_none(composed):
    identities = {
        model_identity(resolve(composed("model=lexical", f"hardware={name}"))) for name in ("cpu", "cuda")
    }
    assert len(identities) == 1


def test_a_users_own_engine_counts_by_its_source(composed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "engine_of_mine.py"
    source.write_text("def model():\n    pass\n")
    cfg = composed()
    with open_dict(cfg):
        cfg.model = {"_target_": "engine_of_mine.model"}
    before = model_identity(resolve(cfg))
    source.write_text("def model():\n    return 1\n")
    assert model_identity(resolve(cfg)) != before


def served(*, id: str, at_once: Annotated[int | None, Field(ge=1), Operational()] = 4):
    """A model with an option that changes no answer."""


def test_an_option_that_changes_no_answer_does_not_count(composed):
    def of(digest, **options):
        cfg = composed()
        with open_dict(cfg):
            cfg.model = {"_target_": f"{__name__}.served", "id": "a", "at_once": 4, **options}
        return digest(resolve(cfg))

    for digest in (fingerprint, model_identity):
        assert of(digest) == of(digest, at_once=8) == of(digest, at_once=None) != of(digest, id="b")


def settling(*, id: str, seed: Annotated[int, Field(ge=0), Settled()] = 0):
    """A model whose engine puts its seed into the requests that it decides."""


def unsettling(*, id: str, seed: Annotated[int, Field(ge=0)] = 0):
    """A user's own model, whose seed may decide any answer."""


def test_a_seed_that_requests_hold_is_no_part_of_the_models_identity(composed):
    def of(digest, model, seed):
        cfg = composed()
        with open_dict(cfg):
            cfg.model = {"_target_": f"{__name__}.{model.__name__}", "id": "a", "seed": seed}
        return digest(resolve(cfg))

    assert of(model_identity, settling, 0) == of(model_identity, settling, 1)
    assert of(fingerprint, settling, 0) != of(fingerprint, settling, 1)
    assert of(model_identity, unsettling, 0) != of(model_identity, unsettling, 1)


@pytest.mark.parametrize("model", ["embedded", "tiny-gpt2", "smollm2-135m", "vllm", "openai"])
def test_shipped_models_seeds_are_no_part_of_their_identity(composed, model):
    configs = [resolve(composed(f"model={model}", f"seed={seed}")) for seed in (0, 1)]
    assert len(set(map(model_identity, configs))) == 1
    assert len(set(map(fingerprint, configs))) == 2


def test_instantiate_passes_what_the_target_takes(composed):
    import dspy

    def metric(example, prediction, trace=None):
        return 1.0

    bootstrap = instantiate({"_target_": "dspy.BootstrapFewShot"}, metric=metric)
    assert isinstance(bootstrap, dspy.BootstrapFewShot)
    assert bootstrap.metric is metric
    assert instantiate(resolve(composed("optimizer=labeled_few_shot")).optimizer, metric=metric).k == 16
