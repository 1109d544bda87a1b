"""Models inside an optimizer's node: found, checked, counted, built and handed over."""

import dspy
import pytest
from omegaconf import open_dict

from tiltyard.config import check, fingerprint, instantiate, model_identity, nested_models, resolve
from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.models.in_use import models_in_use
from tiltyard.nested_models import model_nodes, with_models


class Echo(TextEngine):
    """Answers anything; notes when it is closed."""

    closed = 0

    def generate(self, request):
        return Completion("[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]", 10, 1)

    def close(self):
        Echo.closed += 1


def echo(hardware, name: str = "a") -> dspy.LM:
    return engine_lm(f"local/{name}", Echo())


def unannotated(name="a"):
    return engine_lm(f"local/{name}", Echo())


class Pair:
    """Holds things."""

    def __init__(self, first=None, second=None):
        self.first, self.second = first, second


class Reflecting(dspy.teleprompt.Teleprompter):
    """Takes another model, and anything else."""

    def __init__(self, metric=None, reflector: dspy.LM | None = None, others=None, steps=None):
        self.reflector, self.others, self.steps = reflector, others, steps


def node(target, **options):
    return {"_target_": f"{__name__}.{target}", **options}


@pytest.fixture
def configured(composed):
    def with_optimizer(*overrides, model=None, **options):
        cfg = composed("model=lexical", "task=iot_tiny", *overrides)
        with open_dict(cfg):
            cfg.optimizer = node("Reflecting", **options)
            if model is not None:
                cfg.model = model
        return cfg

    return with_optimizer


def test_models_are_found_wherever_they_stand():
    optimizer = node(
        "Reflecting",
        reflector=node("unannotated"),
        others=[node("echo"), node("Pair", first=node("echo", name="b"))],
        steps={"one": node("Pair", second=node("echo", name="c")), "two": node("Pair")},
    )
    assert {path: model.get("name") for path, model in model_nodes(optimizer, "optimizer").items()} == {
        "optimizer.reflector": None,
        "optimizer.others[0]": None,
        "optimizer.others[1].first": "b",
        "optimizer.steps.one.second": "c",
    }


def test_built_models_reach_their_places_as_they_are():
    optimizer = node(
        "Reflecting", reflector=node("echo"), others=[node("Pair", first=node("echo", name="b"))]
    )
    reflector, other = echo(None), echo(None, "b")
    models = {"optimizer.reflector": reflector, "optimizer.others[0].first": other}
    built = instantiate(with_models(optimizer, "optimizer", models))
    assert built.reflector is reflector
    assert built.others[0].first is other
    assert optimizer["reflector"] == node("echo")


@pytest.mark.parametrize("name", ["lexical", "embedded", "hf", "vllm", "openai"])
def test_any_shipped_model_can_stand_in_an_optimizer(name, composed):
    place = "optimizer.teacher"
    identifier = {"hf": [f"{place}.model.id=some/model"]}.get(name, [])
    cfg = resolve(composed("model=lexical", "optimizer=bootstrap", f"+model@{place}={name}", *identifier))
    [(path, model)] = nested_models(cfg).items()
    assert path == place
    own = {"hf": ["model.id=some/model"]}.get(name, [])
    assert model == resolve(composed(f"model={name}", *own)).model


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reflector": node("echo", nam="b")}, "unknown key 'optimizer.reflector.nam'"),
        ({"reflector": node("echo", name=3)}, "optimizer.reflector.name=3"),
        ({"reflecter": node("echo")}, "unknown key 'optimizer.reflecter'; did you mean 'reflector'"),
        ({"reflector": node("missing")}, "optimizer.reflector._target_"),
        ({"steps": {"one": node("Pair", third=1)}}, "unknown key 'optimizer.steps.one.third'"),
    ],
)
def test_a_wrong_nested_node_is_one_line(options, words, configured):
    with pytest.raises(InputError) as caught:
        check(configured(**options))
    assert words in str(caught.value)


def test_a_nested_model_counts_in_the_fingerprint(configured):
    def of(*overrides, **options):
        return fingerprint(resolve(configured(*overrides, **options)))

    base = of(reflector=node("echo"))
    assert base == of(reflector=node("echo"))
    assert len({base, of(), of(reflector=node("echo", name="b")), of(reflector=node("unannotated"))}) == 4
    # It takes hardware, though the run's own model does not.
    assert of("hardware=cpu") == of("hardware=cuda")
    assert of("hardware=cpu", reflector=node("echo")) != of("hardware=cuda", reflector=node("echo"))


def test_equal_nodes_have_one_identity(configured):
    cfg = resolve(configured(model=node("echo"), reflector=node("echo", name="b")))
    nested = nested_models(cfg)["optimizer.reflector"]
    assert model_identity(cfg, nested) != model_identity(cfg)
    assert model_identity(cfg, nested) == model_identity(resolve(configured(model=node("echo", name="b"))))


def test_models_are_built_once_cached_and_closed(configured, cache_folder):
    cfg = resolve(configured(model=node("echo"), reflector=node("echo"), others=[node("echo", name="b")]))
    Echo.closed = 0
    with models_in_use(cfg) as models:
        assert models.nested["optimizer.reflector"] is models.own
        other = models.nested["optimizer.others[0]"]
        assert other is not models.own
        other("hello", temperature=0.0)
        other("hello", temperature=0.0)
        assert [entry["response"].provider_data is not None for entry in other.history] == [False, True]
    assert Echo.closed == 2
    assert (cache_folder / "responses/responses.db").is_file()
