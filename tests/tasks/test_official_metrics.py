"""Gold answers score 1 in every official task, and systematic corruptions of them what they deserve."""

import importlib.util
import json
import sys
from pathlib import Path

import dspy
import pytest

from tiltyard.tasks.finer import Finer
from tiltyard.tasks.formula import Formula
from tiltyard.tasks.gsm8k import GSM8K
from tiltyard.tasks.medqa import MedQA
from tiltyard.tasks.pubmedqa import PubMedQA
from tiltyard.tasks.tatqa import TatQA

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "metric_sanity.py"


@pytest.fixture(scope="module")
def sanity():
    spec = importlib.util.spec_from_file_location("metric_sanity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["metric_sanity"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["metric_sanity"]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def tatqa(folder):
    asked = [
        (["$1,496.5"], "span", "million"),
        (["the first and the second half"], "span", ""),
        (["2019", "2018"], "multi-span", ""),
        (["cost of sales", "interest"], "multi-span", ""),
        (-12.6, "arithmetic", "million"),
        (23.42, "arithmetic", "percent"),
        (["(134)"], "span", "thousand"),
        ("2", "count", ""),
    ]
    questions = [
        {"uid": f"q{n}", "question": f"What is {n}?", "answer": gold, "answer_type": kind, "scale": scale}
        for n, (gold, kind, scale) in enumerate(asked)
    ]
    table = {"uid": "t", "table": [["", "2019"], ["Sales", "$1,496.5"]]}
    content = [{"table": table, "paragraphs": [], "questions": questions}]
    (folder / "tatqa_dev.json").write_text(json.dumps(content))
    return TatQA(path=str(folder / "tatqa_dev.json"), program=dspy.Predict)


def gsm8k(folder):
    numbers = [3, -7, 1200, 45_000, 8]
    rows = [{"question": f"Sum {n}?", "answer": f"It is <<{n}>>{n:,}.\n#### {n:,}"} for n in numbers]
    (folder / "gsm8k.jsonl").write_text(jsonl(rows))
    return GSM8K(path=str(folder / "gsm8k.jsonl"), program=dspy.Predict)


def pubmedqa(folder):
    decisions = ["yes", "no", "maybe", "yes", "no", "maybe"]
    records = {
        str(n): {
            "QUESTION": f"Does {n}?",
            "CONTEXTS": [f"It {n}."],
            "LABELS": ["R"],
            "final_decision": decision,
        }
        for n, decision in enumerate(decisions)
    }
    (folder / "ori.json").write_text(json.dumps(records))
    return PubMedQA(path=str(folder / "ori.json"), program=dspy.Predict)


def formula(folder):
    prompt = (
        "Use formula M to answer the question. Formula: M = P, Explanation: P: Price. Question: {}. Answer:"
    )
    targets = ["15.0", "-2.5", "27,432.79", "1000000.0"]
    rows = [{"context": prompt.format(f"Find {t}"), "target": t} for t in targets]
    (folder / "formula.jsonl").write_text(jsonl(rows))
    return Formula(path=str(folder / "formula.jsonl"), program=dspy.Predict)


def finer(folder):
    tags = ["Goodwill", "Revenues", "SharePrice", "InterestExpense"]
    rows = []
    for n in range(4):
        questions = "\n".join(
            f'{k}. What is best tag for entity "{k}" in sentence: "Sentence {n} {k}"' for k in range(1, 5)
        )
        context = f"List of US GAAP tags options: {','.join(tags)}. Answer the following 4 questions. "
        context += f"Provide nothing else. \n{questions}\nOutput US GAAP tags:"
        rows.append({"context": context, "target": ",".join(tags[n:] + tags[:n])})
    (folder / "finer.jsonl").write_text(jsonl(rows))
    return Finer(path=str(folder / "finer.jsonl"), program=dspy.Predict)


def medqa(folder):
    options = {"A": "Aspirin", "B": "Water", "C": "Rest", "D": "Surgery"}
    rows = [
        {"question": f"Sign {n}?", "answer": text, "options": options, "answer_idx": letter}
        for n, (letter, text) in enumerate(options.items())
    ]
    (folder / "medqa.jsonl").write_text(jsonl(rows))
    return MedQA(path=str(folder / "medqa.jsonl"), program=dspy.Predict)


DESERVED = {
    tatqa: {"another example's answer": 0.0, "another scale": 0.0, "number x 1000, or a word too many": 0.0},
    gsm8k: {"another example's answer": 0.0, "number x 10": 0.0, "cut off before ####": 0.0},
    pubmedqa: {"another example's answer": None, "label flipped": 0.0, "two labels": 0.0},
    formula: {"another example's answer": 0.0, "number x 10": 0.0, "with a percent sign": 0.0},
    finer: {"another example's tags": 0.0, "order rotated by one": 0.0, "cut off half-way": 0.5},
    medqa: {"another example's letter": None, "the next letter": 0.0, "two letters": 0.0},
}
"""What each corruption scores; None where another example may have the same answer by chance."""


@pytest.mark.parametrize("make", DESERVED, ids=lambda make: make.__name__)
def test_gold_scores_one_and_a_corruption_what_it_deserves(make, sanity, tmp_path):
    task = make(tmp_path)
    splits = task.splits(seed=0, limit=None)
    examples = [*splits.train, *splits.validation, *splits.test]
    gold, *corrupted = sanity.measure(task, make.__name__, examples)
    bias = gold.metrics.get("position_bias", 0.0)
    assert bias == 0.0
    assert set({**gold.metrics, "position_bias": 1.0}.values()) == {1.0}
    assert {line.case for line in corrupted} == set(DESERVED[make])
    for line in corrupted:
        deserved = DESERVED[make][line.case]
        if deserved is None:
            after = [*examples[1:], examples[0]]
            deserved = sum(a.answer == b.answer for a, b in zip(examples, after, strict=True)) / len(examples)
        assert line.metrics["score"] == pytest.approx(deserved), line.case


def test_flexible_extraction_forgives_the_form_and_strict_does_not(sanity, tmp_path):
    for make, case in ((gsm8k, "cut off before ####"), (formula, "with a percent sign")):
        task = make(tmp_path)
        splits = task.splits(seed=0, limit=None)
        lines = sanity.measure(task, make.__name__, [*splits.train, *splits.validation, *splits.test])
        (found,) = (line.metrics for line in lines if line.case == case)
        assert (found["score"], found["strict"], found["flexible"]) == (0.0, 0.0, 1.0)
