import json
from collections import Counter
from dataclasses import asdict
from itertools import pairwise

import dspy
import pytest
import torch

from tiltyard.errors import InputError
from tiltyard.models.embedded import FOLDER, evaluation, weights_digest
from tiltyard.models.embedded.__main__ import main as command
from tiltyard.models.embedded.card import write_card
from tiltyard.models.embedded.cases import CHOOSE, draw_case
from tiltyard.models.embedded.conventions import PHRASINGS, RESERVED_PAIRS
from tiltyard.models.embedded.curriculum import FIRST, answering_share
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.evaluation import cells, evaluate_model, main, scores
from tiltyard.models.embedded.held_out import KINDS_OF_FORM, Tally, proportion, sentences, trials
from tiltyard.models.embedded.held_out_chains import EMPTY, FILLED, chain_trials
from tiltyard.models.embedded.held_out_judgements import judgement_trials
from tiltyard.models.embedded.questions import KINDS
from tiltyard.models.embedded.settings import TrainingSettings
from tiltyard.models.embedded.tatqa_score import measure_tatqa
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.models.hardware import Hardware
from tiltyard.models.tiny_gpt2 import tiny_gpt2
from tiltyard.programs.playbook import rules_of

TRIALS = [*trials(1), *chain_trials(4), *judgement_trials(2)]

TRAINING = {
    "settings": asdict(TrainingSettings(seed=3, steps=500, context_steps=400, decay_steps=150)),
    "parameters": 1_234_567,
    "steps": 500,
    "tokens": 9_000_000,
    "episodes": 30_000,
    "seconds": 5400.0,
    "hardware": "a processor, 2 cores",
    "threads": 2,
    "versions": {"torch": "2.0"},
    "losses": {"answer": 0.0123, "all": 0.4},
}


class Scripted(TextEngine):
    """Answers each conversation as a script says."""

    max_concurrency = 8

    def __init__(self, script):
        self._script = script

    def generate(self, request):
        system = (
            request.system
            if isinstance(request.system, str)
            else "".join(p.text for p in request.system or ())
        )
        said = [message_text(message) for message in request.messages]
        text = self._script(tuple(filter(None, [system, *said])))
        return Completion(text, prompt_tokens=1, completion_tokens=1)


def scripted(script):
    return engine_lm("local/scripted", Scripted(script))


def followed(trial, changed=lambda outputs: outputs):
    """All episodes of a trial whose replies are the right ones, or changed ones."""
    episodes = list(trial.episodes)
    replies = [None if len(episodes) > 1 else changed(dict(_outputs(one))) for one in episodes]
    while (episode := trial.following(replies)) is not None:
        episodes.append(episode)
        replies.append(changed(dict(_outputs(episode))))
    return episodes


def _outputs(episode):
    return {"reply": episode.reply} if isinstance(episode, PromptEpisode) else episode.asked.outputs


@pytest.fixture(scope="module")
def omniscient():
    """Knows every answer that can be known."""
    known = {}
    for trial in TRIALS:
        for episode in followed(trial):
            *asked, answer = (message.content for message in episode.messages())
            known[tuple(asked)] = answer
    return scripted(known.__getitem__)


@pytest.fixture(scope="module")
def found(omniscient):
    return evaluate_model(omniscient, TRIALS)


def test_who_answers_all_rightly_is_right_in_every_cell_but_what_cannot_be_known(found):
    shares = {name: cell["share"] for name, cell in cells(found).items()}
    unknowable = {name: share for name, share in shares.items() if name.endswith("/without")}
    assert set(unknowable.values()) == {0.0}
    assert {share for name, share in shares.items() if name not in unknowable} == {1.0}
    assert scores(found)["judge/importance"]["mean_absolute_error"] == 0.0


def test_every_ability_has_its_cells(found):
    settings = ("plain", "unrelated", "without", "playbook", "demonstrations", "both")
    expected = {f"answers/{kind}/{setting}" for kind in (*KINDS, CHOOSE) for setting in settings}
    expected |= {
        f"forms/{form}/{how}" for form in PHRASINGS for how in ("playbook", "rephrased", "demonstrations")
    }
    expected |= {
        f"combinations/{' + '.join(sorted(pair))}/{how}"
        for pair in RESERVED_PAIRS
        for how in ("playbook", "demonstrations", "both")
    }
    expected |= {f"reflect/{kind}/{how}" for kind in KINDS for how in ("exact", "some")}
    expected |= {f"curate/{change}" for change in ("add", "update", "none")}
    expected |= {"propose/gepa", "propose/mipro", EMPTY, FILLED}
    judged = {name for name in found.marks if name.startswith("judge/")}
    assert set(found.marks) - judged == expected
    assert {name for name in judged if name.endswith("in order")} == {
        f"judge/{name}/pairs in order" for name in ("importance", "creative", "channel", "purchase")
    }


@pytest.mark.parametrize("text", ["", "no fields at all", "[[ ## answer ## ]]"])
def test_an_answer_that_cannot_be_read_is_wrong_and_stays_in_the_denominator(text, found):
    nonsense = evaluate_model(scripted(lambda asked: text), TRIALS[:20])
    counted = cells(nonsense)
    assert {cell["correct"] for cell in counted.values()} == {0}
    if text != "[[ ## answer ## ]]":
        assert (
            nonsense.unread_answers == nonsense.requests == sum(len(trial.episodes) for trial in TRIALS[:20])
        )
        assert all(cell["unread"] == cell["n"] for cell in counted.values())


def test_an_answer_in_the_default_way_does_not_count_for_the_house():
    asked = [trial for trial in trials(1) if trial.episodes[0].ability.startswith("answers/")]
    defaults = {}
    for trial in asked:
        answer = trial.episodes[0].asked.outputs["answer"]
        defaults |= {e.messages()[-2].content: f"[[ ## answer ## ]]\n{answer}" for e in trial.episodes}
    found = evaluate_model(scripted(lambda messages: defaults[messages[-1]]), asked)
    shares = Counter()
    for name, cell in cells(found).items():
        shares[name.rpartition("/")[2]] += cell["correct"]
    assert shares["plain"] == shares["unrelated"] == len(asked)
    assert shares["playbook"] == shares["demonstrations"] == shares["both"] == 0


@pytest.mark.integration
def test_a_real_model_is_asked_through_dspy():
    lm = tiny_gpt2(hardware=Hardware(device="cpu", threads=1), weights="random", max_tokens=2)
    found = evaluate_model(lm, TRIALS[:2])
    assert {cell["share"] for cell in cells(found).values()} == {0.0}


def test_each_trial_is_decided_by_its_seed():
    def asked(seed):
        return [
            [message.content for message in episode.messages()]
            for trial in (*trials(1, seed), *chain_trials(1, seed), *judgement_trials(1, seed))
            for episode in trial.episodes
        ]

    assert asked(0) == asked(0)
    assert all(one != other for one, other in zip(asked(0), asked(1), strict=False))


@pytest.mark.parametrize("form", PHRASINGS)
def test_a_case_of_a_form_is_shaped_by_that_form_alone(form):
    for place in range(3):
        draw = Draw(f"test/{form}/{place}", held_out=True)
        case = draw_case(draw, draw.one(KINDS_OF_FORM[form]), frozenset({form}))
        assert case.forms == {form}
        assert case.gold != case.question.answer


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Write USD before sums. Put commas between thousands in sums.", 2),
        ("Write dates as day.month.year.", 1),
        ("Give the answer.\nWrite USD before sums.\n", 2),
        ("", 0),
    ],
)
def test_a_lesson_is_read_sentence_by_sentence(text, parts):
    assert len(sentences(text)) == parts


def test_shares_come_with_wilson_intervals():
    assert proportion(0, 10) == {"n": 10, "correct": 0, "share": 0.0, "low": 0.0, "high": 0.2775}
    assert proportion(40, 40)["low"] == pytest.approx(0.912, abs=1e-3)


def test_scores_that_never_vary_have_no_correlation():
    tally = Tally(pairs={"judge/importance": [(1.0, 5.0), (9.0, 5.0)]})
    found = scores(tally)["judge/importance"]
    assert found == {"n": 2, "asked": 2, "mean_absolute_error": 4.0, "rank_correlation": None}


def test_scores_say_of_how_many_answers_they_are():
    marks = {"judge/importance/score within 1": [False, False, False]}
    tally = Tally(marks=marks, pairs={"judge/importance": [(1.0, 5.0), (9.0, 5.0)]})
    found = scores(tally)["judge/importance"]
    assert (found["n"], found["asked"]) == (2, 3)


CHAIN = list(chain_trials(8, seed=5))


def judged(trial, replies):
    tally = Tally()
    trial.judge(tally, *replies)
    return [right for marks in tally.marks.values() for right in marks]


def test_a_chain_curates_the_rules_that_the_model_itself_stated():
    lengths = set()
    for trial in CHAIN:
        reflection, *curations = followed(trial)
        lesson = reflection.asked.outputs["lesson"]
        assert [one.asked.inputs["lesson"] for one in curations] == rules_of(lesson)
        for earlier, later in pairwise(curations):
            assert earlier.asked.inputs["lesson"] in later.asked.inputs["playbook"]
        assert (reflection.ability == EMPTY) == (curations[0].asked.inputs["playbook"] == "")
        lengths.add(len(curations))
        other = [{"lesson": "Be brief."}]
        assert trial.following(other).asked.inputs["lesson"] == "Be brief."
        assert trial.following([None]) is trial.following([{"lesson": ""}]) is None
    assert len(lengths) > 1


def test_a_chain_is_right_where_exactly_the_expected_rules_were_added():
    for trial in CHAIN:
        right = [dict(one.asked.outputs) for one in followed(trial)]
        operations = [one["operations"] for one in right[1:]]
        assert judged(trial, right) == [True]
        in_other_words = [{"operations": one.replace("ADD ", "ADD my own ")} for one in operations]
        assert judged(trial, [right[0], *in_other_words]) == [True]
        assert judged(trial, [right[0], *reversed(right[1:])]) == [True]
        assert judged(trial, right[:-1]) == [False]
        assert judged(trial, [*right, {"operations": "ADD rules: Be brief."}]) == [False]
        assert judged(trial, [*right, right[-1]]) == [False]
        assert judged(trial, [*right, None]) == [False]
        first = followed(trial)[1].asked.inputs["playbook"]
        if first:
            changed = f"UPDATE {first[1:].partition(']')[0]}: Be brief."
            assert judged(trial, [*right, {"operations": changed}]) == [False]


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like a trained model."""
    place = tmp_path / "model"
    place.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "max_position_embeddings": 2048,
        "vocab_size": 1024,
    }
    (place / "config.json").write_text(json.dumps(config))
    (place / "model.safetensors").write_bytes(b"weights")
    (place / "tokenizer.json").write_text("{}")
    return place


@pytest.fixture
def _answered(monkeypatch, omniscient):
    """The command asks who knows the answers, whatever the folder holds, and judges little."""
    monkeypatch.setattr(evaluation, "embedded", lambda **options: omniscient)
    monkeypatch.setattr(evaluation, "judgement_trials", lambda examples, seed: judgement_trials(2, seed))
    monkeypatch.setattr(evaluation, "chain_trials", lambda examples, seed: chain_trials(4, seed))
    monkeypatch.setattr(evaluation, "trials", lambda examples, seed: trials(1, seed))


@pytest.mark.usefixtures("_answered")
def test_the_command_writes_what_it_found_and_the_card(folder, capsys):
    (folder.parent / "training.json").write_text(json.dumps(TRAINING))
    assert main(["--model", str(folder), "--examples", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "README.md")
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["cells"]["answers/amount/playbook"]["share"] == 1.0
    assert found["cells"]["answers/amount/playbook"]["unread"] == 0
    assert found["requests"] == sum(len(followed(trial)) for trial in TRIALS)
    assert found["device"] == (device := Hardware().resolve().device)
    assert (found["dtype"], found["requests_at_once"]) == ("float32", 8)
    assert found["threads"] == torch.get_num_threads()
    assert found["hardware"].endswith("cores")
    assert len(found["model"]) == 128
    assert set(found["versions"]) == {"torch", "transformers", "dspy"}
    card = (folder / "README.md").read_text()
    assert "| amount | 100 | 100 | 0 | 100 | 100 | 100 | 1 |" in card
    assert "1,234,567" in card
    assert (
        "train --out trained --steps 500 --seed 3 --decay-steps 150 --context-steps 400 --threads 2\n" in card
    )
    assert (
        f"{found['hardware']} (device {device}, float32, threads: {found['threads']}, 8 requests at once)"
        in card
    )
    assert "| reflect, then curate: into an empty playbook | 100 [51, 100] | 4 |" in card
    assert "Over the 2 of 2 answers that could be read, importance scores are 0.00 off" in card
    assert "Not measured." in card
    assert not list(folder.glob("*.partial"))


@pytest.mark.usefixtures("_answered")
def test_a_score_on_tatqa_stays_while_the_model_is_the_same(folder):
    assert main(["--model", str(folder)]) == 0
    path = folder / "evaluation.json"
    found = json.loads(path.read_text())
    tatqa = {"file": "dev.json", "score": 0.01, "low": 0.0, "high": 0.02, "examples": 9.0}
    found["tatqa"] = {**tatqa, "failed": 2.0, "unparsed": 1.0, "too_long": 1}
    path.write_text(json.dumps(found))
    main(["--model", str(folder)])
    assert json.loads(path.read_text())["tatqa"] == found["tatqa"]
    assert "exact match **1.0%** [0.0, 2.0] of 9 questions" in (folder / "README.md").read_text()
    (folder / "model.safetensors").write_bytes(b"other weights")
    main(["--model", str(folder)])
    assert "tatqa" not in json.loads(path.read_text())


@pytest.mark.usefixtures("_answered")
def test_the_card_can_be_written_again_without_asking(folder, monkeypatch):
    main(["--model", str(folder)])
    first = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    monkeypatch.setattr(evaluation, "embedded", lambda **options: pytest.fail("asked"))
    assert main(["--model", str(folder), "--card"]) == 0
    assert (folder / "README.md").read_text() == first


def test_a_card_says_when_the_training_is_not_recorded(folder, found):
    evaluated = {
        "model": "ab" * 64,
        "megabytes": 1.0,
        "seed": 0,
        "requests": 10,
        "unread": 0,
        "seconds": 1.0,
        "examples_per_second": 10.0,
        "cells": cells(found),
        "scores": scores(found),
    }
    card = write_card(folder, folder, evaluated).read_text()
    assert "How these weights were trained is not recorded." in card
    assert "$" not in card.replace("$ python", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "nowhere"],
        ["--examples", "0"],
        ["--examples", "many"],
        ["--seed", "-1"],
        ["--tatqa", "nowhere.json"],
        ["--unknown"],
    ],
)
def test_wrong_input_is_one_line(arguments, capsys):
    assert command(["evaluate", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.mark.usefixtures("_answered")
def test_a_card_of_other_weights_is_refused(folder, capsys):
    main(["--model", str(folder)])
    before = (folder / "README.md").read_text()
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert command(["evaluate", "--model", str(folder), "--card"]) == 2
    error = capsys.readouterr().err
    assert "is of other weights" in error
    assert error.count("\n") == 1
    assert (folder / "README.md").read_text() == before


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(folder, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "embedded", lambda **options: pytest.fail("asked"))
    out = folder / "config.json" / "out"
    assert command(["evaluate", "--model", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "cannot be written to" in error
    assert error.count("\n") == 1


def card_of(folder, found, training):
    (folder / "training.json").write_text(json.dumps(training))
    evaluated = {
        "model": weights_digest(str(folder)),
        "megabytes": 1.0,
        "seed": 0,
        "requests": 10,
        "unread": 0,
        "seconds": 1.0,
        "examples_per_second": 10.0,
        "cells": cells(found),
        "scores": scores(found),
    }
    return write_card(folder, folder, evaluated).read_text()


@pytest.mark.parametrize(("episodes", "skipped"), [(30_000, 0), (100_000, 25_000), (300_000, 0)])
def test_the_card_counts_the_answers_of_what_was_read(folder, found, episodes, skipped):
    card = card_of(folder, found, {**TRAINING, "episodes": episodes, "episodes_skipped": skipped})
    read = episodes + skipped
    assert f"Most of them ({100 * answering_share(read):.0f}%) ask a question" in card
    assert f"of the other episodes up to {min(read, FIRST.stop):,} (" in card


def test_the_card_tells_the_way_of_the_learning_rate_and_of_the_loss(folder, found):
    card = card_of(folder, found, TRAINING)
    assert "| Learning rate | 0.0018 after 100 steps; over the last 150 along a line to zero |" in card
    assert "0.1 times that on all tokens (0.02 times after step 400) |" in card


@pytest.mark.parametrize("threads", ["default", "1, then 2"])
def test_threads_that_are_no_number_are_no_option(folder, found, threads):
    assert "--threads" not in card_of(folder, found, {**TRAINING, "threads": threads})


def test_a_card_needs_an_evaluation(folder):
    with pytest.raises(InputError, match=r"evaluation\.json"):
        main(["--model", str(folder), "--card"])


@pytest.mark.integration
def test_tatqa_is_measured_through_the_pipeline(tmp_path):
    table = {"uid": "t1", "table": [["", "2019"], ["Revenue", "12.5"]]}
    question = {
        "uid": "q1",
        "question": "What was revenue in 2019?",
        "answer": ["12.5"],
        "derivation": "",
        "answer_type": "span",
        "answer_from": "table",
        "scale": "",
        "order": 1,
        "rel_paragraphs": [],
        "req_comparison": False,
    }
    report = {"table": table, "paragraphs": [], "questions": [question]}
    file = tmp_path / "dev's.json"
    file.write_text(json.dumps([report]))
    found = measure_tatqa(file, FOLDER)
    assert found["examples"] == 1.0
    assert 0.0 <= found["low"] <= found["score"] <= found["high"] <= 1.0
    assert found["too_long"] == 0
    with pytest.raises(InputError, match="TAT-QA could not be measured"):
        measure_tatqa(tmp_path, FOLDER)


def test_dspy_is_left_as_it_was(omniscient):
    before = dspy.settings.adapter, dspy.settings.lm
    evaluate_model(omniscient, TRIALS[:1])
    assert (dspy.settings.adapter, dspy.settings.lm) == before
