from collections.abc import Callable

import pytest
from omegaconf import OmegaConf

from tiltyard.config import resolve
from tiltyard.errors import InputError
from tiltyard.launching.stored_config import stored_config


@pytest.fixture
def text(composed: Callable) -> str:
    cfg = resolve(composed("model=lexical", "task=iot_tiny", "optimizer=labeled_few_shot"))
    return OmegaConf.to_yaml(OmegaConf.create(cfg.as_dict()))


def test_a_config_comes_back_as_it_was_kept(text: str) -> None:
    assert OmegaConf.to_yaml(OmegaConf.create(stored_config(text, "run x").as_dict())) == text


def test_seeds_follow_the_seed_unless_they_are_given(text: str) -> None:
    assert stored_config(text, "run x", overrides=["seed=3"]).optimizer["seed"] == 3
    both = stored_config(text, "run x", overrides=["seed=3", "optimizer.seed=1"])
    assert (both.seed, both.optimizer["seed"]) == (3, 1)


def test_a_dollar_in_a_kept_value_is_no_interpolation(text: str) -> None:
    kept = text.replace("domain: iot", r"domain: a\\${b}${nowhere}")
    assert stored_config(kept, "run x").task["domain"] == r"a\\${b}${nowhere}"


def test_a_masked_secret_is_asked_for(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masked = text.replace("domain: iot", "domain: ***")
    with pytest.raises(InputError, match=r"task\.domain of run x held a secret"):
        stored_config(masked, "run x")
    monkeypatch.setenv("DOMAIN", "iot")
    assert stored_config(masked, "run x", overrides=["task.domain=${oc.env:DOMAIN}"]).task["domain"] == "iot"


def test_a_key_that_is_gone_is_named_and_can_be_dropped(text: str) -> None:
    old = f"retired: 1\n{text}"
    with pytest.raises(InputError, match=r"does not take the config of run x: unknown key 'retired'.*~KEY"):
        stored_config(old, "run x")
    assert stored_config(old, "run x", overrides=["~retired"]).seed == 0


@pytest.mark.parametrize("damaged", ["", "a: [", "model: {}", "- 1"])
def test_a_damaged_config_is_one_error(damaged: str) -> None:
    with pytest.raises(InputError, match=r"config\.yaml of run x"):
        stored_config(damaged, "run x")
