"""What a sweep on Ray decides before, and beside, Ray itself; the rest is tested in tests/integration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_plugins.tiltyard_launchers import RayLauncher
from tiltyard.errors import InputError
from tiltyard.launching.ray.cluster import room
from tiltyard.launching.ray.connection import connected

pytest.importorskip("ray", reason="the extra 'ray' is not installed")


@given(st.integers(1, 64), st.integers(1, 8))
def test_as_many_jobs_fit_as_their_reservations_together(cpus, each):
    count = room({"CPU": float(cpus)}, {"CPU": each})
    assert count * each <= cpus < (count + 1) * each


@pytest.mark.parametrize(("gpus", "count"), [(1 / 3, 3), (0.3333, 3), (0.5, 2), (1, 1), (2, 0)])
def test_jobs_share_a_gpu_by_fractions(gpus, count):
    assert room({"CPU": 64.0, "GPU": 1.0}, {"CPU": 1, "GPU": gpus}) == count


def test_a_node_without_a_resource_has_no_room():
    assert room({"CPU": 64.0}, {"CPU": 1, "a100": 1}) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu": 2}, "unknown key 'hydra.launcher.cpu'; did you mean 'cpus'?"),
        ({"cpus": "two"}, 'hydra.launcher.cpus="two"'),
        ({"gpus": 1.5}, "give a whole number, or a fraction of one GPU"),
        ({"runtime_env": {"env_vars": {"GROQ_API_KEY": "x"}}}, "looks like a secret"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(InputError) as refused:
        RayLauncher(**options).workforce()
    assert said in str(refused.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tiltyard\[ray\]'"):
        RayLauncher().workforce()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://head:10001", "ray job submit"),
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("head", "it is not HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_is_refused_at_once(address, said):
    with pytest.raises(InputError) as refused, connected(address):
        pass
    assert said in str(refused.value)


@pytest.mark.parametrize("option", ["ray", "cpu"])
def test_the_hardware_option_chooses_the_launcher(option):
    from hydra import compose, initialize_config_dir

    from tiltyard.resolvers import register_resolvers
    from tiltyard.shipped import config_folder

    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose("config", overrides=[f"hardware={option}"], return_hydra_config=True)
    chosen = {"ray": "RayLauncher", "cpu": "WorkersLauncher"}[option]
    assert cfg.hydra.launcher._target_.endswith(chosen)
    assert cfg.hardware.device == "cpu"
