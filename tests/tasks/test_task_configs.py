from pathlib import Path

import dspy
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tiltyard.config import instantiate
from tiltyard.errors import InputError
from tiltyard.signatures import check_node
from tiltyard.tasks.task import Task

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
TINY = {"tatqa_tiny": (3, "finance"), "medqa_tiny": (3, "medical"), "iot_tiny": (5, "iot")}


def composed(option, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose(f"task/{option}", overrides=list(overrides)).task
    return OmegaConf.to_container(node, resolve=True)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_lists_every_parameter_of_its_target(option, tmp_path):
    records = tmp_path / "a.json"
    records.write_text("[]")
    node = composed(option, *([] if option in TINY else [f"task.path={records}"]))
    check_node(node, "task")
    target = pytest.importorskip(node["_target_"].rpartition(".")[0])
    signature = getattr(target, node["_target_"].rpartition(".")[2]).__init__.__annotations__
    assert set(node) - {"_target_"} == set(signature) - {"return"}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_first_comment_of_an_option_is_a_command(option):
    lines = (CONF / "task" / f"{option}.yaml").read_text().splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# ")
    assert f"tiltyard task={option}" in first


@pytest.mark.parametrize("option", OPTIONS)
def test_a_program_is_swapped_on_the_command_line(option):
    default, swapped = composed(option, "task.path=x"), composed(option, "task.path=x", "task/program=cot")
    assert default["program"] == {"_target_": "dspy.Predict", "_partial_": True}
    assert swapped == {**default, "program": {"_target_": "dspy.ChainOfThought", "_partial_": True}}


@pytest.mark.parametrize("option", TINY)
@pytest.mark.parametrize("program", ["predict", "cot"])
def test_a_shipped_task_can_be_run(option, program):
    node = composed(option, f"task/program={program}")
    check_node(node, "task")
    task: Task = instantiate(node)
    splits = task.splits(seed=0, limit=None)
    size, domain = TINY[option]
    assert (len(splits.test), task.domain) == (size, domain)
    assert len(splits.train) >= 12
    assert len(splits.validation) >= 6
    for example in splits.train + splits.validation + splits.test:
        assert float(task.metric(example, dspy.Prediction(answer=example.answer))) == 1.0
    module = task.program(task.signature)
    assert isinstance(module, dspy.Module)
    assert module.named_predictors()


@pytest.mark.parametrize(
    ("option", "override", "message"),
    [
        ("qa", "task.domain=x", "task.path is not set"),
        ("qa", "task.path=missing.json", "task.path=\"missing.json\": there is no such file"),
        ("tatqa_tiny", "task.metric=bleu", "should be 'exact', 'f1', 'number' or 'similarity'"),
        ("tatqa_tiny", "task.fractions.test=0.9", "should add up to 1, not 1.5"),
        ("tatqa_tiny", "+task.fraction=1", "did you mean 'fractions'"),
    ],
)  # fmt: skip
def test_a_wrong_task_is_refused_before_anything_runs(option, override, message):
    with pytest.raises(InputError) as error:
        check_node(composed(option, override), "task")
    assert message in str(error.value)
