"""What a node must share with the sweep's machine, looked for on this one with something taken away."""

import pickle
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from tiltyard.launching.assignment import Assignment
from tiltyard.launching.node_check import node_needs


@pytest.fixture
def needs(composed, in_folder, monkeypatch):
    """Gives what a sweep with some overrides needs of its nodes, as long as the test runs."""
    monkeypatch.setattr("tiltyard.launching.node_check.SECONDS_TO_APPEAR", 0.0)
    (in_folder / "swept").mkdir()
    (in_folder / "mlruns").mkdir()
    (in_folder / "qa.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    open_needs = []

    def of(*overrides):
        cfg = composed("model=lexical", "hardware=cpu", *overrides)
        OmegaConf.set_struct(cfg, False)
        cfg = OmegaConf.merge(cfg, {"hydra": {"sweep": {"dir": str(in_folder / "swept")}}})
        job = Assignment(0, "job", in_folder / "swept/0", "", None, pickle.dumps(cfg), (), str(in_folder))
        open_needs.append(node_needs([job]))
        return open_needs[-1].__enter__()

    yield of
    for one in open_needs:
        one.__exit__(None, None, None)
    assert not list(in_folder.glob("*/.seen-by-nodes-*"))


def test_a_machine_that_shares_everything_lacks_nothing(needs):
    found = needs("task=qa", "task.path=qa.jsonl")
    assert pickle.loads(pickle.dumps(found)).missing() is None


def test_another_folder_at_the_same_path_is_noticed(needs, in_folder):
    found = needs()
    (in_folder / "swept").rename(in_folder / "elsewhere")
    (in_folder / "swept").mkdir()
    assert f"does not see the sweep's folder {in_folder}/swept" in str(found.missing())
    (in_folder / "swept").rmdir()
    (in_folder / "elsewhere").rename(in_folder / "swept")


def test_a_local_store_of_its_own_is_noticed(needs, in_folder):
    found = needs()
    (in_folder / "mlruns" / found.token).unlink()
    assert "use tracking=server" in str(found.missing())


def test_data_that_is_missing_or_differs_is_noticed(needs, in_folder):
    found = needs("task=qa", "task.path=qa.jsonl")
    (in_folder / "qa.jsonl").write_text("another\n")
    assert "has 8 bytes" in str(found.missing())
    (in_folder / "qa.jsonl").unlink()
    assert f"does not see {in_folder / 'qa.jsonl'}" in str(found.missing())


def test_a_server_that_does_not_answer_is_noticed(needs):
    found = needs("tracking=server", "tracking.uri=http://127.0.0.1:9")
    assert "from there, no MLflow server answers at http://127.0.0.1:9" in str(found.missing())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.99"}, "the sweep's machine has 3.99"),
        ({"tiltyard": "99.0"}, "the sweep's machine has 99.0"),
        ({"versions": {"dspy": "0.1"}}, "the sweep's machine has 0.1"),
    ],
)
def test_other_versions_are_noticed(needs, change, said):
    assert said in str(replace(needs(), **change).missing())
