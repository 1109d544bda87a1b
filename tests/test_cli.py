"""The command line as a user meets it: what it prints, what it leaves, and its exit codes."""

import json
import shlex
import subprocess
import sys
from contextlib import closing

import pytest

from tiltyard.checkpoints import checkpoint_folder
from tiltyard.cli import main
from tiltyard.models.response_cache import Entry, ResponseCache

HEAVY = ("torch", "transformers", "mlflow", "dspy", "pandas", "sklearn", "scipy", "matplotlib")


@pytest.fixture
def tiltyard(in_folder, monkeypatch, capfd):
    """Runs a command line in a folder of its own; returns its exit code and what it printed."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["tiltyard"])

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return run


WRONG_INPUT = [
    (["modle=lexical"], "unknown key 'modle'; did you mean 'model'?"),
    (["model=lexicl"], "no option 'lexicl' in group 'model'; did you mean 'lexical'?"),
    (["optimizer=bootstrap", "optimizer.max_rouns=2"], "did you mean 'max_rounds'?"),
    (["optimizer=bootstrap", "optimizer.max_rounds=two"], 'optimizer.max_rounds="two"'),
    (["optimizer=labeled_few_shot", "optimizer.k=-1"], "optimizer.k=-1"),
    (["limit=0"], "limit=0: should be greater than or equal to 1"),
    (["seed=one"], 'seed="one": should be a valid integer'),
    (["task=qa"], "task.path is not set"),
    (["task=qa", "task.path=nowhere.json"], "nowhere.json"),
    (["hardware.device=tpu"], "hardware.device"),
    (["hardware=slurm"], "hardware=slurm runs the jobs of a sweep elsewhere"),
    (["-m", "hardware=slurm,cpu"], "job 0 (hardware=slurm) has another launcher than the sweep"),
    (["-m", "hardware=slurm", "hydra.launcher.gpus_per_node=two"], 'hydra.launcher.gpus_per_node="two"'),
    (["-m", "hardware=slurm", "hydra.launcher.gpu=2"], "unknown key 'hydra.launcher.gpu'"),
    (["task=a=b"], "cannot read 'task=a=b'"),
    (["model=lexical,tiny-gpt2"], "gives several values to a single run; add -m"),
    (["-m", "seed=0,-1"], "job 1 (seed=-1): seed=-1"),
    (["-m", "seed=0", "--cfg", "job"], "exclude each other"),
    (["timeout=5"], "timeout=5 is for sweeps"),
    (["-m", "timeout=0"], "timeout=0"),
    (["-m", "timeout=5", "hydra/launcher=basic"], "this launcher cannot end jobs that hang"),
    (["-m", "model=lexical,lexicl"], "no option 'lexicl'"),
    (["-m", "seed=interval(0,1)"], "does not support sweep type"),
    (["-m", "seed=range(0)"], "the sweep has no combination"),
    (["-m", "tracking=off,local"], "'tracking' cannot be swept over"),
    (["-m", "seed=0,1", "hydra.sweep.subdir=same"], "jobs of the sweep share a folder"),
    (["model=null"], "group override must be a string"),
    (["hydra.job.chdir=true"], "hydra.job.chdir=true"),
    (["task.path=" + "x" * 300 + ".csv"], "task.path"),
    (["+model.api_key=abc"], "'model.api_key' looks like a secret"),
    (["optimizer=bootstrap", "+optimizer.teacher={api_key: abc}"], "looks like a secret"),
    (["task=iot_tiny", "task.domain=sk-abcdefghijklmnop1234"], "'task.domain' looks like a secret"),
    (["model=tiny-gpt2", "+model.max_token=5"], "did you mean 'max_tokens'?"),
    (["tracking=server", "tracking.uri=http://user:pw12345678@host"], "tracking.uri"),
    (["--config-dir", "nowhere"], "nowhere"),
    (["--nope"], "unknown flag '--nope'"),
    (["--cfg", "everything"], "argument --cfg/-c: invalid choice: 'everything'"),
    (["repot"], "unknown command 'repot'; did you mean 'report'?"),
    (["report", "--nope"], "tiltyard report: unrecognized arguments: --nope"),
    (["report"], "no runs are tracked in mlruns"),
    (["ui", "--tracking", "nowhere"], "no runs are tracked in nowhere"),
    (["cache", "--clean"], "tiltyard cache: unrecognized arguments: --clean"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), WRONG_INPUT, ids=[" ".join(arguments) for arguments, _ in WRONG_INPUT]
)
def test_wrong_input_is_one_line_and_leaves_nothing(tiltyard, in_folder, arguments, words):
    code, out, err = tiltyard(*arguments)
    assert code == 2
    assert out == ""
    [line] = err.strip().splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert ";" in line
    assert list(in_folder.iterdir()) == []


def test_debug_adds_the_traceback(tiltyard):
    code, _, err = tiltyard("limit=0", "debug=true")
    assert code == 2
    assert "Traceback" in err
    assert err.strip().splitlines()[-1].startswith("error: limit=0")


def test_one_run_is_scored_tracked_and_said(tiltyard, in_folder):
    code, out, _ = tiltyard("model=lexical", "task=iot_tiny", "optimizer=bootstrap")
    assert code == 0
    assert "lexical on iot_tiny, bootstrap, seed 0" in out
    assert "95% interval" in out
    assert "next" in out
    [folder] = (in_folder / "outputs").glob("*/*")
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left >= {
        "config.yaml",
        "predictions.csv",
        "latency.json",
        "report.md",
        "result.json",
        "figures/latency.svg",
        "program/program.json",
        "program/metadata.json",
    }
    assert not list(folder.rglob("*.pkl"))
    code, out, _ = tiltyard("report")
    assert code == 0
    assert "iot_tiny" in out
    assert (in_folder / "outputs/report/summary.csv").is_file()
    assert (in_folder / "outputs/report/report.md").is_file()


def test_a_sweep_is_a_parent_with_children_and_a_table(tiltyard, in_folder):
    from tiltyard.tracking.reader import runs
    from tiltyard.tracking.recorder import LocalTracking

    sweep = ("-m", "model=lexical", "task=iot_tiny,medqa_tiny", "optimizer=none,labeled_few_shot", "limit=2")
    code, out, _ = tiltyard(*sweep)
    assert code == 0
    [sweep] = (in_folder / "outputs/sweeps").iterdir()
    identity = json.loads((sweep / "sweep.json").read_text())
    tracked = runs(LocalTracking())
    assert len(tracked) == 4
    assert {run.parent for run in tracked} == {identity["parent_run_id"]}
    assert {run.sweep for run in tracked} == {sweep.name}
    assert {run.name for run in tracked} == {
        f"{task}/lexical/{optimizer}/s0"
        for task in ("iot_tiny", "medqa_tiny")
        for optimizer in ("none", "labeled_few_shot")
    }
    assert out.count("medqa_tiny") == 2
    assert (sweep / "summary.csv").is_file()
    parent = LocalTracking().connect(create=False).client.get_run(identity["parent_run_id"])
    description = parent.data.tags["mlflow.note.content"]
    assert description.startswith("4 jobs, 0 failed.")
    assert sum(line.startswith("|") for line in description.split("\n")) == 2 + 4


def test_a_failed_job_does_not_stop_the_others(tiltyard, in_folder):
    broken = in_folder / "broken.jsonl"
    broken.write_text('{"question": "q"}\n')
    good = in_folder / "good.jsonl"
    good.write_text("".join(f'{{"question": "q{n}", "answer": "a{n}"}}\n' for n in range(9)))
    code, out, err = tiltyard("-m", "model=lexical", "task=qa", f"task.path={broken},{good}", "tracking=off")
    assert code == 1
    assert "1 of 2 jobs failed" in err
    assert "field 'answer'" in out
    assert "good" in out


def test_an_experiment_may_be_a_sweep(tiltyard, in_folder):
    (in_folder / "mine/experiment").mkdir(parents=True)
    (in_folder / "mine/experiment/two.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    code, out, _ = tiltyard(
        "experiment=two", "--config-dir", "mine", "model=lexical", "tracking=off", "limit=1"
    )
    assert code == 0
    assert "2 jobs" in out
    [report] = (in_folder / "outputs/sweeps").glob("*/1_*/report.md")
    [again] = [line for line in report.read_text().splitlines() if line.startswith("tiltyard ")]
    code, out, _ = tiltyard(*shlex.split(again)[1:])
    assert code == 0
    assert "lexical on conventions, baseline, seed 1" in out


def test_a_users_folder_adds_options_to_any_group(tiltyard, in_folder):
    for group, text in {
        "model": "_target_: tiltyard.models.lexical.lexical\n",
        "optimizer": "_target_: dspy.LabeledFewShot\nk: 3\n",
    }.items():
        (in_folder / "mine" / group).mkdir(parents=True)
        (in_folder / "mine" / group / "house.yaml").write_text(text)
    options = ("model=house", "optimizer=house", "task=iot_tiny")
    code, out, _ = tiltyard("--config-dir", "mine", *options, "tracking=off")
    assert code == 0
    assert "house on iot_tiny, house, seed 0" in out


def test_without_tracking_there_is_no_store(tiltyard, in_folder):
    code, _, _ = tiltyard("model=lexical", "tracking=off", "limit=1")
    assert code == 0
    assert not (in_folder / "mlruns").exists()


def test_config_flags_of_hydra_work(tiltyard, in_folder):
    code, out, _ = tiltyard("--cfg", "job", "optimizer=bootstrap")
    assert code == 0
    assert "_target_: tiltyard.optimizers.bootstrapping.BootstrapFewShot" in out
    code, out, _ = tiltyard("--info", "searchpath")
    assert code == 0
    assert list(in_folder.iterdir()) == []


def test_help_lists_groups_and_commands(tiltyard):
    code, out, _ = tiltyard("--help")
    assert code == 0
    for word in (
        "tiltyard report",
        "tiltyard cache",
        "model: ",
        "embedded",
        "lexical",
        "tiny-gpt2",
        "optimizer: ",
        "bootstrap",
    ):
        assert word in out


def test_doctor_says_what_works(tiltyard, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret-value")
    code, out, _ = tiltyard("doctor")
    assert code == 0
    assert "python" in out
    assert "GROQ_API_KEY" in out
    assert "gsk-secret-value" not in out
    assert "mlruns does not exist yet" in out
    assert "embedded model" in out
    assert all(line.split()[0] in ("ok", "note") for line in out.strip().splitlines())


def test_the_response_cache_is_shown_and_emptied(tiltyard, cache_folder):
    folder = cache_folder / "responses"
    code, out, _ = tiltyard("cache")
    checkpoints = f"checkpoints of 0 runs, 0.0 MB in {cache_folder / 'checkpoints'}"
    assert (code, out) == (0, f"0 responses, 0.0 MB in {folder}\n{checkpoints}\n")
    with closing(ResponseCache(folder, 100)) as cache:
        for number in range(30):
            cache.put(b"%d" % number, Entry(bytes(10_000), 1.0))
    code, out, _ = tiltyard("cache")
    assert code == 0
    assert out.startswith("30 responses, 0.")
    assert "30 responses" in tiltyard("doctor")[1]
    code, out, _ = tiltyard("cache", "--clear")
    assert code == 0
    assert out.startswith("0 responses")
    assert tiltyard("cache", "--folder", "elsewhere")[1].splitlines() == [
        "0 responses, 0.0 MB in elsewhere/responses",
        "checkpoints of 0 runs, 0.0 MB in elsewhere/checkpoints",
    ]


def test_checkpoints_are_shown_and_removed_but_for_those_in_use(tiltyard, cache_folder):
    parent = cache_folder / "checkpoints"
    for name, size in (("left", 300_000), ("running", 400_000)):
        (parent / name / "deeper").mkdir(parents=True)
        (parent / name / "deeper" / "steps.jsonl").write_bytes(bytes(size))
    with closing(ResponseCache(cache_folder / "responses", 100)) as cache:
        cache.put(b"key", Entry(b"body", 1.0))
    with checkpoint_folder(parent, "running", resume=True):
        out = tiltyard("cache")[1]
        assert f"checkpoints of 2 runs (1 running), 0.7 MB in {parent}\n" in out
        assert "2 runs" in tiltyard("cache", "--clear")[1]
        out = tiltyard("cache", "--clear", "checkpoints")[1]
        assert f"checkpoints of 1 run (1 running), 0.4 MB in {parent}\n" in out
        assert [path.name for path in parent.iterdir() if path.is_dir()] == ["running"]
    (parent / "left").mkdir()
    with closing(ResponseCache(cache_folder / "responses", 100)) as cache:
        cache.put(b"key", Entry(b"body", 1.0))
    assert tiltyard("cache", "--clear", "checkpoints")[1].startswith("1 response")
    (parent / "left").mkdir()
    out = tiltyard("cache", "--clear", "all")[1]
    assert out.startswith("0 responses")
    assert "checkpoints of 0 runs" in out
    assert list(parent.iterdir()) == []
    code, _, err = tiltyard("cache", "--clear", "everything")
    assert code == 2
    assert "--clear" in err


def test_a_damaged_response_cache_is_one_line_and_can_be_emptied(tiltyard, cache_folder):
    (cache_folder / "responses").mkdir()
    (cache_folder / "responses/responses.db").write_bytes(b"not a database" * 999)
    code, _, err = tiltyard("cache")
    assert code == 1
    assert "tiltyard cache --clear" in err
    assert len(err.splitlines()) == 1
    code, out, _ = tiltyard("doctor")
    assert code == 0
    assert "tiltyard cache --clear" in out
    assert tiltyard("cache", "--clear")[0] == 0
    assert tiltyard("cache")[0] == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--version"], ["cache"]])
def test_nothing_heavy_is_imported_before_a_run(arguments, in_folder):
    code = (
        "import sys; from tiltyard.cli import main; code = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=in_folder
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_the_module_is_the_program(in_folder):
    done = subprocess.run(
        [sys.executable, "-m", "tiltyard", "limit=0"], capture_output=True, text=True, cwd=in_folder
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: limit=0")


def test_a_users_broken_yaml_is_one_line(tiltyard, in_folder):
    (in_folder / "mine/model").mkdir(parents=True)
    (in_folder / "mine/model/bad.yaml").write_text("a: [1\n")
    code, _, err = tiltyard("--config-dir", "mine", "model=bad")
    assert code == 2
    [line] = err.strip().splitlines()
    assert "not YAML" in line


def test_an_output_folder_that_cannot_be_made_is_one_line(tiltyard, in_folder):
    (in_folder / "afile").touch()
    for arguments in (["hydra.run.dir=afile"], ["-m", "seed=0,1", "hydra.sweep.dir=afile"]):
        code, _, err = tiltyard(*arguments)
        assert code == 2
        assert len(err.strip().splitlines()) == 1
        assert "afile" in err


def test_what_a_fixed_sweep_folder_held_before_is_not_reported(tiltyard, in_folder, monkeypatch):
    here = ["-m", "hydra/launcher=basic", "hydra.sweep.dir=fixed"]
    fixed = [*here, "model=lexical", "task=iot_tiny", "limit=1", "tracking=off"]
    assert tiltyard(*fixed, "seed=0,1")[0] == 0
    monkeypatch.setattr("tiltyard.experiment.run", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
    code, out, _ = tiltyard(*fixed, "seed=0,1")
    assert code == 1
    assert "gone" in out
    assert "2 failed" in out


def test_a_target_that_exits_is_one_line(tiltyard, in_folder, monkeypatch):
    monkeypatch.syspath_prepend(str(in_folder))
    (in_folder / "leaves_tiltyard.py").write_text("import sys\nsys.exit(3)\n")
    code, _, err = tiltyard("model._target_=leaves_tiltyard.model")
    assert code == 2
    assert "cannot import 'leaves_tiltyard.model'" in err
    assert len(err.strip().splitlines()) == 1
