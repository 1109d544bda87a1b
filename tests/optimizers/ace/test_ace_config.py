import inspect

import pytest

from tiltyard.config import fingerprint, instantiate, resolve
from tiltyard.errors import InputError
from tiltyard.optimizers.ace.teleprompter import ACE
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.optimizers.playbook.retention import RetentionScore


def metric(example, prediction):
    return 1.0


def plain(settings):
    return {name: value for name, value in vars(settings).items() if not name.startswith("_")}


def test_yaml_and_signature_have_the_same_defaults(composed):
    by_yaml = instantiate(resolve(composed("optimizer=ace")).optimizer, metric=metric)
    by_signature = ACE(metric)
    assert by_yaml.settings == by_signature.settings
    assert plain(by_yaml.refinement) == plain(by_signature.refinement) == plain(Refinement())
    assert by_yaml.reflector is by_yaml.playbook is by_yaml.checkpoints is None


def test_every_option_stands_in_the_yaml(composed):
    node = resolve(composed("optimizer=ace")).optimizer
    supplied = {"metric", "checkpoints"}
    assert node.keys() - {"_target_"} == inspect.signature(ACE).parameters.keys() - supplied
    assert node["refinement"].keys() - {"_target_"} == inspect.signature(Refinement).parameters.keys()
    score = node["refinement"]["score"]
    assert score.keys() - {"_target_"} == inspect.signature(RetentionScore).parameters.keys()


def test_the_seed_is_the_runs_own(composed):
    made = instantiate(resolve(composed("optimizer=ace", "seed=7")).optimizer, metric=metric)
    assert made.settings.seed == made.refinement.seed == 7


def test_a_term_of_the_retention_score_is_switched_off(composed):
    overrides = ("optimizer=ace", "optimizer.refinement.score.recency=false")
    made = instantiate(resolve(composed(*overrides)).optimizer, metric=metric)
    assert made.refinement.score == RetentionScore(recency=False)


@pytest.mark.parametrize(
    "wrong",
    [
        "optimizer.mode=offlin",
        "optimizer.epochs=0",
        "optimizer.success=1.5",
        "optimizer.credit=all",
        "optimizer.refinement.budget=0",
        "optimizer.refinement.policy=lifo",
    ],
)
def test_what_is_out_of_bounds_is_refused(composed, wrong):
    with pytest.raises(InputError, match=wrong.split("=")[0]):
        resolve(composed("optimizer=ace", wrong))


def test_what_the_playbook_holds_counts_for_the_fingerprint_and_not_its_name(composed, tmp_path):
    def counted(name, text):
        path = tmp_path / name
        path.write_text(text)
        return fingerprint(
            resolve(composed("model=lexical", "task=iot_tiny", "optimizer=ace", f"optimizer.playbook={path}"))
        )

    assert counted("a.jsonl", "one") == counted("b.jsonl", "one") != counted("a.jsonl", "two")
