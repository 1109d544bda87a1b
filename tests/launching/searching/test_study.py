"""A search's study, on its own: what is drawn, and what goes on."""

import pytest

from tiltyard.errors import InputError
from tiltyard.launching.searching.space import read_space
from tiltyard.launching.searching.study import open_study

SPACE = read_space(["x=interval(-2, 2)", "y=range(0, 5)", "z=a,b"], None)


def score(values):
    return -((values["x"] - 0.5) ** 2) - 0.1 * values["y"] + (values["z"] == "a")


def open_(folder, sampler, objectives=("score",), **options):
    node = {"_target_": f"optuna.samplers.{sampler}", "seed": 3, **options}
    return open_study(
        "study",
        f"sqlite:///{folder}/study.db",
        dict.fromkeys(objectives, "maximize"),
        node,
        folder,
        SPACE.described(),
    )


def go_on(study, until):
    while len(study.trials()) < until:
        trial = study.ask(SPACE)
        study.tell(trial.number, [score(trial.params)])


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("RandomSampler", {}),
        ("TPESampler", {"n_startup_trials": 3}),
        ("GPSampler", {"n_startup_trials": 3}),
        ("NSGAIISampler", {"population_size": 3}),
        ("QMCSampler", {"scramble": True}),
    ],
)
def test_a_study_in_two_parts_draws_what_one_in_a_piece_draws(tmp_path, sampler, options):
    drawn = {}
    for name, parts in (("whole", [8]), ("parts", [4, 8])):
        (tmp_path / name).mkdir()
        for until in parts:
            with open_(tmp_path / name, sampler, **options) as study:
                go_on(study, until)
                drawn[name] = [trial.params for trial in study.trials()]
    assert drawn["whole"] == drawn["parts"]
    assert (
        len({params["x"] for params in drawn["whole"]}) > 4
    )  # children of NSGA-II share their parents' values


def test_a_trial_that_was_left_running_is_handed_out_again_with_its_values(tmp_path):
    with open_(tmp_path, "RandomSampler") as study:
        left = study.ask(SPACE)
        assert study.best() == []
    with open_(tmp_path, "RandomSampler") as study:
        [again] = study.unfinished()
        assert (again.number, again.params) == (left.number, left.params)
        study.tell(again.number, [1.0])
        assert study.unfinished() == []
        assert study.best() == [left.number]


def test_notes_of_trials_outlast_the_process(tmp_path):
    with open_(tmp_path, "RandomSampler") as study:
        study.note(12, folder="12_here")
    with open_(tmp_path, "RandomSampler") as study:
        assert study.notes() == {12: {"folder": "12_here"}}


def test_a_sampler_that_refuses_its_options_is_wrong_input(tmp_path):
    with pytest.raises(InputError, match="qmc_type"), open_(tmp_path, "QMCSampler", qmc_type="no"):
        pass


def test_another_number_of_objectives_is_another_search(tmp_path):
    with open_(tmp_path, "RandomSampler"):
        pass
    with pytest.raises(InputError, match="other objectives"), open_(tmp_path, "RandomSampler", ("a", "b")):
        pass
