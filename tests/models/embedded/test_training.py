import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from tiltyard.errors import InputError, JobError
from tiltyard.models.embedded.__main__ import main
from tiltyard.models.embedded.corpus import DIGESTED, Batch
from tiltyard.models.embedded.curves import EXPERIMENT
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.settings import Running, TrainingSettings
from tiltyard.models.embedded.steps import Trainee
from tiltyard.models.embedded.tokenizer import train_tokenizer
from tiltyard.models.embedded.training import train

SMALL = TrainingSettings(
    steps=6,
    tokens_per_step=2500,
    width=16,
    layers=2,
    heads=2,
    intermediate=32,
    context=64,
    vocabulary=280,
    tokenizer_episodes=8,
    warmup=2,
    decay_steps=4,
    short_steps=0,
)


class PowerCutError(Exception):
    pass


class Episodes:
    """Episodes that repeat a letter; from some place on, the power goes off, but for a look at the stream."""

    def __init__(self, until=10**9):
        self.until = until

    def __call__(self, index):
        if index >= self.until and index not in DIGESTED:
            raise PowerCutError
        letter = chr(97 + index % 26)
        return PromptEpisode("repeat", letter * (1 + index * 5 % 40), letter)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One thread, in this process, and a store that is made once."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    return Running(device="cpu", threads=1, workers=0, checkpoint_every=2, tracking_uri=uri)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def once(tmp_path_factory, running):
    folder = tmp_path_factory.mktemp("once") / "trained"
    train(SMALL, Episodes(), folder, running)
    return folder


@pytest.fixture
def trained(once, tmp_path):
    """A training that is done, which the test may change."""
    return Path(shutil.copytree(once, tmp_path / "trained"))


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def checkpoint(folder, step):
    return torch.load(folder / "checkpoints" / f"step-{step:07}.pt", weights_only=True)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def run_of(running, folder):
    client = MlflowClient(running.tracking_uri)
    newest = max((folder / "checkpoints").glob("*.pt"))
    return client, torch.load(newest, weights_only=True)["run_id"]


def test_the_folder_holds_a_model_that_transformers_loads(trained):
    model = AutoModelForCausalLM.from_pretrained(trained / "model")
    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "aaa"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]
    assert model.dtype == torch.bfloat16
    assert model.config.tie_word_embeddings
    assert "lm_head.weight" not in weights(trained)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 1
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id == 0
    assert model.config.max_position_embeddings == tokenizer.model_max_length == SMALL.context
    assert len(tokenizer) == model.config.vocab_size <= SMALL.vocabulary


def test_it_says_how_it_went(trained):
    facts = json.loads((trained / "training.json").read_text())
    assert facts["settings"]["width"] == 16
    assert facts["steps"] == 6
    assert facts["episodes_skipped"] == 0
    assert facts["tokens"] > facts["episodes"] > 0
    assert facts["seconds"] > 0
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["hardware"].endswith("cores")
    assert facts["parameters"] == sum(weight.numel() for weight in weights(trained).values())


def test_the_curves_are_in_mlflow(trained, running):
    client, run_id = run_of(running, trained)
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENT
    assert run.info.status == "FINISHED"
    assert run.data.params["width"] == "16"
    losses = json.loads((trained / "training.json").read_text())["losses"]
    assert run.data.metrics["loss.answer"] == losses["answer"]
    assert run.data.metrics["loss.all"] == losses["all"]
    assert run.data.metrics["tokens_per_second"] > 0
    assert run.data.metrics["learning_rate"] == SMALL.learning_rate_at(5)
    assert [point.step for point in client.get_metric_history(run_id, "loss.answer")] == [6]


def test_it_learns(tmp_path, running):
    settings = replace(SMALL, steps=40, learning_rate=0.02, warmup=5, ema=0.9)
    train(settings, Episodes(), tmp_path, replace(running, checkpoint_every=40))
    client, run_id = run_of(running, tmp_path)
    first, *_, last = [point.value for point in client.get_metric_history(run_id, "loss.answer")]
    assert last < 0.7 * first


@pytest.mark.parametrize(("short_steps", "until"), [(0, 256), (3, 512), (4, 512)])
def test_a_resumed_training_comes_to_the_same_weights(tmp_path, running, short_steps, until):
    settings = replace(SMALL, short_steps=short_steps, short_tokens=20)
    train(settings, Episodes(), tmp_path / "whole", running)
    with pytest.raises(PowerCutError):
        train(settings, Episodes(until), tmp_path / "resumed", running)
    assert not (tmp_path / "resumed" / "model").exists()
    client, run_id = run_of(running, tmp_path / "resumed")
    assert client.get_run(run_id).info.status == "FAILED"
    train(settings, Episodes(), tmp_path / "resumed", running)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))
    states = [checkpoint(tmp_path / name, 6) for name in ("whole", "resumed")]
    for part in ("trainee", "position", "totals", "losses"):
        assert equal(states[0][part], states[1][part])
    assert states[1]["run_id"] == run_id
    assert client.get_run(run_id).info.status == "FINISHED"


def test_another_seed_comes_to_other_weights(trained, tmp_path, running):
    train(replace(SMALL, seed=SMALL.seed + 1), Episodes(), tmp_path / "other", running)
    assert not equal(weights(trained), weights(tmp_path / "other"))


def test_a_training_that_is_done_is_not_done_again(trained, running):
    before = weights(trained)
    (trained / "model" / "model.safetensors").unlink()
    train(SMALL, Episodes(until=255), trained, running)
    assert equal(before, weights(trained))


def test_a_folder_of_another_training_is_refused(trained, running):
    with pytest.raises(InputError, match=r"other settings \(learning_rate\).*another folder"):
        train(replace(SMALL, learning_rate=1e-3), Episodes(), trained, running)


def test_other_episodes_than_it_began_with_are_told(trained, running, caplog):
    with caplog.at_level(logging.WARNING):
        train(SMALL, Episodes(), trained, running)
        assert "no longer those" not in caplog.text
        train(SMALL, lambda index: Episodes()(index + 1), trained, running)
    assert "no longer those" in caplog.text


def test_only_the_newest_checkpoints_stay(trained):
    assert sorted(path.name for path in (trained / "checkpoints").iterdir()) == [
        "step-0000004.pt",
        "step-0000006.pt",
    ]


def test_a_checkpoint_that_was_cut_short_is_passed_over(trained, running):
    (trained / "checkpoints" / "step-0000008.pt.7.partial").write_bytes(b"half")
    train(SMALL, Episodes(), trained, running)


def test_without_an_average_the_last_weights_are_kept(tmp_path, running):
    train(replace(SMALL, ema=0.0), Episodes(), tmp_path, running)
    last = checkpoint(tmp_path, 6)["trainee"]["model"]
    kept = weights(tmp_path)
    assert all(torch.equal(kept[name], last[name].bfloat16()) for name in kept)


def test_a_loss_that_is_no_number_ends_it(tmp_path, running):
    with pytest.raises(JobError, match="lower the learning rate"):
        train(replace(SMALL, learning_rate=1e38, clip=1e30), Episodes(), tmp_path, running)
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(one).all() for one in state["unreported"])
    assert not (tmp_path / "checkpoints" / "step-0000006.pt").exists()


def test_a_store_that_fails_does_not_end_it(tmp_path, running, monkeypatch, caplog):
    write = MlflowClient.log_batch

    def fail_once_it_runs(client, run_id, metrics=(), params=()):
        if metrics:
            raise OSError("disk full")
        write(client, run_id, params=params)

    monkeypatch.setattr(MlflowClient, "log_batch", fail_once_it_runs)
    with caplog.at_level(logging.WARNING):
        train(SMALL, Episodes(), tmp_path, running)
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert [record.message for record in caplog.records if "disk full" in record.message] == [
        "MLflow did not take a point; the curves have gaps: OSError: disk full"
    ]


def test_a_store_that_cannot_be_opened_is_wrong_input(tmp_path, running):
    with pytest.raises(InputError, match="--tracking-uri"):
        train(SMALL, Episodes(), tmp_path, replace(running, tracking_uri="nowhere://x"))


def test_the_loss_is_that_of_the_tokens_without_padding():
    tokenizer = train_tokenizer([], size=261)
    settings = replace(SMALL, vocabulary=261)
    rng = np.random.default_rng(0)
    lengths = np.array([9, 4], dtype=np.int32)
    ids, answer = rng.integers(5, 261, (2, 9), dtype=np.int32), rng.random((2, 9)) < 0.5
    ids[1, 4:], answer[1, 4:] = 0, False
    trainee = Trainee(settings, tokenizer, "cpu")
    model = trainee._model
    of_answers, of_all = [], []
    with torch.no_grad():
        for row, length in enumerate(lengths):
            one = torch.from_numpy(ids[row : row + 1, :length]).long()
            nats = functional.cross_entropy(model(one).logits[0, :-1], one[0, 1:], reduction="none")
            of_all += nats.tolist()
            of_answers += nats[torch.from_numpy(answer[row, 1:length])].tolist()
    found = trainee.step(Batch(ids, answer, lengths), 0).tolist()
    assert found == pytest.approx([np.mean(of_answers), np.mean(of_all)], rel=0.01)  # bfloat16


def test_the_learning_rate_rises_stays_and_falls():
    settings = TrainingSettings(steps=300, warmup=100, learning_rate=2e-3, decay_steps=50)
    rates = [settings.learning_rate_at(step) for step in range(300)]
    assert rates[0] == pytest.approx(2e-5)
    assert rates[:100] == sorted(rates[:100])
    assert set(rates[99:251]) == {2e-3}
    assert rates[250:] == sorted(rates[250:], reverse=True)
    assert rates[-1] == pytest.approx(2e-3 / 50)


@given(steps=st.integers(60, 500), more=st.integers(0, 500))
def test_what_comes_before_the_fall_does_not_depend_on_the_steps(steps, more):
    shorter, longer = (TrainingSettings(steps=count, decay_steps=50) for count in (steps, steps + more))
    for step in range(steps - 50):
        assert shorter.learning_rate_at(step) == longer.learning_rate_at(step)


def test_late_steps_weigh_the_context_less():
    settings = replace(SMALL, steps=10, context_steps=7, context_weight=0.1, late_context_weight=0.02)
    assert [settings.context_weight_at(step) for step in (0, 6, 7, 9)] == [0.1, 0.1, 0.02, 0.02]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"seed": -1},
        {"vocabulary": 260},
        {"width": 20, "heads": 3},
        {"ema": 1.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"decay_steps": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainingSettings(**wrong)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: command"),
        (["dance"], "invalid choice: 'dance'"),
        (["train"], "--out"),
        (["train", "--out", "x", "--steps", "many"], "--steps"),
        (["train", "--out", "x", "--steps", "0"], "steps=0"),
        (["train", "--out", "x", "--threads", "0"], "threads=0"),
        (["train", "--out", __file__], "is not a folder"),
        (["train", "--out", f"{__file__}/x", "--workers", "0"], "cannot be written to"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, said, capsys, in_folder):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not list(in_folder.iterdir())


def test_the_command_trains_on_the_curriculum(tmp_path, running, capsys):
    chosen = {"steps": 2, "width": 16, "layers": 1, "heads": 2, "intermediate": 32, "tokenizer-episodes": 30}
    chosen |= {"workers": 0, "threads": 1, "tracking-uri": running.tracking_uri, "tokens-per-step": 4000}
    arguments = [part for name, value in chosen.items() for part in (f"--{name}", str(value))]
    assert main(["train", "--out", str(tmp_path / "out"), *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "model")
    assert json.loads((tmp_path / "out" / "training.json").read_text())["settings"]["heads"] == 2
