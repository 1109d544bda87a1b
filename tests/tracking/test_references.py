"""Starting from the playbook of a registered version: found, counted, recorded, the same in a sweep."""

import copy
import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import dspy
import pytest
from omegaconf import OmegaConf, open_dict

from tiltyard.cli import main
from tiltyard.config import fingerprint, resolve
from tiltyard.errors import InputError
from tiltyard.experiment import run
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.ace.teleprompter import ACE
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram, playbook_in
from tiltyard.record import CONFIG_FILE
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.references import without_references

NAME = "iot_tiny.scripted.ace"
LATEST = f"models:/{NAME}/latest"
NUMBERS = itertools.count(100)


class Learning(TextEngine):
    """Answers wrong, states a new rule each time, and adds it."""

    def generate(self, request):
        asked = message_text(request.messages[-1])
        if "[[ ## operations ## ]]" in asked:
            lesson = asked.split("[[ ## lesson ## ]]\n")[1].split("\n")[0]
            text = f"[[ ## operations ## ]]\nADD codes: {lesson}"
        elif "[[ ## lesson ## ]]" in asked:
            number = next(NUMBERS)
            text = f"[[ ## lesson ## ]]\nWrite code{number} before the amounts of department {number}."
        else:
            text = "[[ ## answer ## ]]\nno idea"
        return Completion(f"{text}\n\n[[ ## completed ## ]]", 20, 5)


def learning():
    return engine_lm("local/learning", Learning(), temperature=0.0)


@pytest.fixture
def experiment(composed, in_folder, tracking):
    """Resolves a run of ACE that learns two rules from a playbook; its overrides may say more."""
    known = {}  # composing takes longer than everything else here

    def resolved(playbook=None, *overrides, optimizer="ace", option="optimizer.playbook"):
        if (optimizer, overrides) not in known:
            labels = ("labels.model=scripted", f"labels.optimizer={optimizer}", "cache.enabled=false")
            cfg = composed("task=iot_tiny", f"optimizer={optimizer}", "limit=2", *labels, *overrides)
            with open_dict(cfg):
                cfg.model = {"_target_": f"{__name__}.learning"}
            known[optimizer, overrides] = cfg
        cfg = copy.deepcopy(known[optimizer, overrides])
        OmegaConf.update(cfg, option, playbook)
        return resolve(cfg)

    return resolved


def counted(cfg):
    with without_references(cfg) as found:
        return fingerprint(found.cfg)


def registered(tracking, name, program):
    """Registers a version of a program as a run does, or of a folder without one."""
    folder = Path(name)
    folder.mkdir()
    (folder / "metadata.json").write_text("{}")
    if program is not None:
        program.save(folder / "program.json")
    with tracking.start(name, tags={}, params={}) as tracked:
        tracked.register_program(folder, name)


def test_a_playbook_grows_on_from_run_to_run(experiment, tracking, in_folder):
    before = Playbook([Entry("k1", "codes", "Write A."), Entry("k2", "codes", "Write B.")])
    registered(tracking, NAME, PlaybookProgram(dspy.Predict("question -> answer"), before))
    from_first = experiment(LATEST, "optimizer.mode=online")
    digest = counted(from_first)

    second = run(from_first, in_folder / "second")

    assert second.fingerprint == digest
    assert digest != counted(experiment(None, "optimizer.mode=online"))
    after = Playbook.loads((second.folder / "playbook.jsonl").read_text())
    assert list(after.contents()) == ["k1", "k2", "k3", "k4"]
    assert {id: after.contents()[id] for id in before.contents()} == before.contents()
    [tracked] = [one for one in runs(LocalTracking()) if one.run_id == second.run_id]
    assert tracked.params["optimizer.playbook"] == LATEST
    assert tracked.tags["tiltyard.optimizer.playbook"] == f"models:/{NAME}/1"
    assert LATEST in (second.folder / CONFIG_FILE).read_text()
    assert f"optimizer.playbook is that of models:/{NAME}/1." in (second.folder / "report.md").read_text()

    # What counts is what a version holds, whatever names it.
    assert counted(experiment(f"models:/{NAME}/1", "optimizer.mode=online")) == digest
    assert counted(from_first) != digest  # latest has moved: the run registered what it has learnt
    with without_references(from_first) as found:
        assert found.versions == {"optimizer.playbook": f"models:/{NAME}/2"}
        assert ACE(lambda *_: 1.0, playbook=found.cfg.optimizer["playbook"]).playbook == after
    client = LocalTracking().connect(create=False).client
    client.set_registered_model_alias(NAME, "good", "1")
    assert counted(experiment(f"models:/{NAME}@good", "optimizer.mode=online")) == digest
    file = in_folder / "first.jsonl"
    file.write_text(before.dumps(), encoding="utf-8")
    assert counted(experiment(str(file), "optimizer.mode=online")) == digest

    # In a step of a chain it is found as well; and what was pinned is what counts.
    steps = ("optimizer@optimizer.steps.second=ace",)
    second_step = {"optimizer": "chain", "option": "optimizer.steps.second.playbook"}
    chained = experiment(LATEST, *steps, **second_step)
    with without_references(chained, {LATEST: f"models:/{NAME}/1"}) as found:
        assert found.versions == {"optimizer.steps.second.playbook": f"models:/{NAME}/1"}
        assert found.pins == {LATEST: f"models:/{NAME}/1"}
        [file] = [found.cfg.optimizer["steps"]["second"]["playbook"]]
        assert ACE(lambda *_: 1.0, playbook=file).playbook == before

    for reference, message, remedy in (
        (f"models:/{NAME}/7", f"there is no models:/{NAME}/7", "versions there: 1, 2"),
        (f"models:/{NAME}@best", f"there is no models:/{NAME}@best", "aliases: good"),
        ("models:/nobody/1", "no program is registered as 'nobody'", f"registered there: {NAME}"),
        (f"models:/{NAME}", "names no version", "models:/NAME/latest"),
    ):
        with pytest.raises(InputError, match=r"optimizer\.playbook=models:/") as refused:
            counted(experiment(reference, "optimizer.mode=online"))
        assert message in refused.value.what
        assert remedy in refused.value.remedy

    registered(tracking, "bare", dspy.Predict("question -> answer"))
    with pytest.raises(InputError, match=r"the program of models:/bare/1 has no playbook"):
        counted(experiment("models:/bare/1", "optimizer.mode=online"))
    registered(tracking, "empty", None)
    with pytest.raises(InputError, match=r"models:/empty/1 holds no program\.json"):
        counted(experiment("models:/empty/1", "optimizer.mode=online"))


def test_a_version_in_a_list_of_steps_is_a_tag_that_mlflow_takes(experiment, tracking, in_folder):
    start = Playbook([Entry("k1", "codes", "Write A.")])
    registered(tracking, NAME, PlaybookProgram(dspy.Predict("question -> answer"), start))
    ace = experiment(LATEST, "optimizer.mode=online").optimizer
    listed = {"_target_": "tiltyard.optimizers.chain.Chain", "steps": [ace]}
    with without_references(replace(experiment(), optimizer=listed)) as found:
        with tracking.start("listed", tags={}, params={}) as tracked:
            tracked.set_tags(found.tags())
        [step] = found.cfg.optimizer["steps"]
        assert ACE(lambda *_: 1.0, playbook=step["playbook"]).playbook == start
    tagged = [one.tags.get("tiltyard.optimizer.steps.0.playbook") for one in runs(LocalTracking())]
    assert f"models:/{NAME}/1" in tagged


def test_without_a_store_there_is_nothing_to_start_from(experiment, in_folder):
    shutil.rmtree(in_folder / "mlruns")
    with pytest.raises(InputError, match="no runs are tracked in mlruns"):
        counted(experiment(LATEST))
    with pytest.raises(InputError, match="tracking=off keeps no runs"):
        counted(experiment(LATEST, "tracking=off"))
    with pytest.raises(InputError, match="looked up in the tracking store"):
        ACE(lambda *_: 1.0, playbook=LATEST)


def test_all_jobs_of_a_sweep_start_from_one_version(in_folder, tracking, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    start = Playbook([Entry("k7", "style", "Answer in one word.")], next_number=9)
    registered(tracking, "iot_tiny.lexical.ace", PlaybookProgram(dspy.Predict("question -> answer"), start))
    ace = ("model=lexical", "task=iot_tiny", "optimizer=ace", "optimizer.mode=evaluate", "limit=2")
    latest = "optimizer.playbook=models:/iot_tiny.lexical.ace/latest"

    # Each job registers a version, so that latest moves while the sweep runs.
    assert main(("-m", "hydra/launcher=basic", *ace, latest, "seed=0,1", "hydra.sweep.dir=swept")) == 0

    first = "models:/iot_tiny.lexical.ace/1"
    assert json.loads((in_folder / "swept/sweep.json").read_text())["pins"] == {latest.split("=")[1]: first}
    jobs = [one for one in runs(LocalTracking()) if one.sweep]
    assert [one.tags["tiltyard.optimizer.playbook"] for one in jobs] == [first, first]
    capfd.readouterr()

    assert main(("-m", *ace, "seed=0,1", "optimizer.playbook=models:/iot_tiny.lexical.ace/9")) == 2
    err = capfd.readouterr().err
    assert "there is no models:/iot_tiny.lexical.ace/9" in err
    assert "versions there: 1, 2, 3" in err
    assert main((*ace, "optimizer.playbook=models:/nobody/latest", "hydra.run.dir=never")) == 2
    assert not (in_folder / "never").exists()


def test_the_state_of_a_program_of_dspys_has_no_playbook(tmp_path):
    inner = PlaybookProgram(dspy.Predict("question -> answer"), Playbook([Entry("k3", "x", "Be brief.")]))

    class Larger(dspy.Module):
        def __init__(self):
            super().__init__()
            self.deeper = inner

    assert playbook_in(dspy.Predict("question -> answer").dump_state()) is None
    assert playbook_in(Larger().dump_state()) == playbook_in(inner.dump_state()) == inner.playbook
