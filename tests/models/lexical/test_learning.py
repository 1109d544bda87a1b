"""Demonstrations change the lexical reader's answers, and change them the right way."""

import inspect
import subprocess
import sys

import dspy
import pytest

from tiltyard.models.engine import max_concurrency
from tiltyard.models.lexical import LexicalEngine, lexical
from tiltyard.models.lexical.candidates import find_candidates
from tiltyard.models.lexical.words import content

LOGS = {
    "amber-7": [
        "grinding noise at the spindle, vibration high on the bearing",
        "bearing vibration rising, spindle grinding heard by operator",
        "strong vibration near the bearing housing with grinding noise",
        "spindle bearing grinding, vibration above alarm",
        "operator hears grinding, bearing vibration",
    ],
    "cobalt-2": [
        "coolant pressure dropping, leak below the hose clamp",
        "hose clamp wet, coolant leak, pressure low",
        "coolant level low after leak at the hose",
        "coolant leak, pressure falling at the hose",
        "wet floor, coolant leak under the clamp",
    ],
    "jade-4": [
        "network link lost, gateway timeout, packets dropped",
        "gateway timeout on uplink, dropped packets",
        "packets dropped by the gateway, network link flapping",
        "uplink lost, network timeout at the gateway",
        "gateway drops packets, link down",
    ],
}
TAUGHT = 3
CASES = [(log, label) for label, logs in LOGS.items() for log in logs[TAUGHT:]]
PLANTS = [
    ("oil", 120, 2014),
    ("water", 340, 2016),
    ("fuel", 95, 2017),
    ("acid", 410, 2012),
    ("brine", 275, 2011),
]
TABLE = """\
| Item | 2019 | 2018 |
| --- | --- | --- |
| Total sales | 1,200 | 900 |
| Operating costs | 640 | 510 |
| Net profit | 560 | 390 |"""


@pytest.fixture(autouse=True)
def _reader():
    with dspy.context(lm=lexical(), adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        yield


def taught(signature, demos):
    predictor = dspy.Predict(signature)
    predictor.demos = demos
    return predictor


def labelled(rotation=0):
    """The first logs of each label; rotated, each label stands with the logs of another."""
    labels = list(LOGS)
    return [
        dspy.Example(log=log, label=labels[(place + rotation) % len(labels)])
        for place, logs in enumerate(LOGS.values())
        for log in logs[:TAUGHT]
    ]


def right(predictor, cases=CASES):
    return sum(predictor(log=log).label == label for log, label in cases)


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter])
@pytest.mark.parametrize(
    "signature",
    ["log -> label", "log -> label: Literal['amber-7', 'cobalt-2', 'jade-4']"],
    ids=["free", "declared"],
)
def test_labels_are_learnt_from_demonstrations(signature, adapter):
    with dspy.context(adapter=adapter()):
        without, with_right, with_wrong = (
            right(taught(signature, demos)) for demos in ([], labelled(), labelled(rotation=1))
        )
    assert without <= len(CASES) // 2
    assert with_right >= len(CASES) - 1
    assert with_wrong <= 1


@pytest.mark.parametrize("others", [0, 2])
def test_a_declared_value_is_learnt_from_demonstrations_that_lack_an_earlier_output(others):
    demos = [example.copy(team=example.label).without("label") for example in labelled()]
    demos += [dspy.Example(log=f"text {number}", hours=number) for number in range(others)]
    predictor = taught("log -> hours: int, team: Literal['amber-7', 'cobalt-2', 'jade-4']", demos)
    assert sum(predictor(log=log).team == label for log, label in CASES) >= len(CASES) - 1


def test_answers_are_labels_only_where_demonstrations_use_them():
    predictor = taught("log -> label", labelled())
    assert {predictor(log=log).label for log, _ in CASES} <= set(LOGS)


def test_a_minority_of_wrong_labels_does_less_harm_than_a_majority():
    few = labelled()
    few[0] = few[0].copy(label="jade-4")
    many = [*few[:1], *labelled(rotation=1)[1:]]
    assert right(taught("log -> label", few)) > right(taught("log -> label", many))


@pytest.mark.parametrize("sign", ["$", ""])
def test_an_amount_follows_the_demonstrations_with_or_without_its_currency_sign(sign):
    demos = [
        dspy.Example(
            context=f"The {name} pump costs ${cost} and was installed in {year}.",
            question=f"How much does the {name} pump cost?",
            answer=f"{sign}{cost}",
        )
        for name, cost, year in PLANTS
    ]
    prediction = taught("context, question -> answer", demos)(
        context="The slurry pump costs $880 and was installed in 2015.",
        question="How much does the slurry pump cost?",
    )
    assert prediction.answer == f"{sign}880"


@pytest.mark.parametrize("unit", [" litres", ""])
def test_an_amount_follows_the_demonstrations_with_or_without_its_unit(unit):
    demos = [
        dspy.Example(
            context=f"The {name} tank holds {size} litres of fluid and stands in hall {hall}.",
            question=f"How much does the {name} tank hold?",
            answer=f"{size}{unit}",
        )
        for hall, (name, size, _) in enumerate(PLANTS)
    ]
    prediction = taught("context, question -> answer", demos)(
        context="The slurry tank holds 880 litres of fluid and stands in hall 9.",
        question="How much does the slurry tank hold?",
    )
    assert prediction.answer == f"880{unit}"


def test_a_list_has_as_many_parts_as_the_demonstrations():
    demos = {
        size: [
            dspy.Example(
                context=TABLE.replace("Net", name),
                question="What were total sales, in each year?",
                answers=["1,200", "900"][:size],
            )
            for name in ("Gross", "Pure", "Plain", "Mean")
        ]
        for size in (1, 2)
    }
    for size, examples in demos.items():
        prediction = taught("context, question -> answers: list[str]", examples)(
            context=TABLE, question="What were operating costs, in each year?"
        )
        assert len(prediction.answers) == size


def test_a_multiple_choice_question_is_answered_with_a_letter():
    prediction = dspy.Predict("question, options -> answer")(
        question="Which part of the pump moves the fluid?",
        options="A. the painted cover\nB. the impeller moves the fluid in the pump\nC. the name plate",
    )
    assert prediction.answer == "B"


@pytest.mark.parametrize("by", ["letter", "text"])
def test_options_that_were_right_for_like_questions_are_chosen_as_the_demonstrations_write_them(by):
    remedies = {
        "fever": "paracetamol tablets",
        "infection": "amoxicillin capsules",
        "thrombosis": "heparin injection",
    }
    places = list(remedies.values())

    def case(complaint, number, turn):
        order = places[turn:] + places[:turn]
        options = "\n".join(f"{letter}. {text}" for letter, text in zip("ABC", order, strict=True))
        question = f"Patient {number} has {complaint}. Which remedy helps?"
        answer = remedies[complaint] if by == "text" else "ABC"[order.index(remedies[complaint])]
        return dspy.Example(question=question, options=options, answer=answer).with_inputs(
            "question", "options"
        )

    turns = [(complaint, turn) for complaint in remedies for turn in range(3)]
    demos = [case(complaint, number, turn) for number, (complaint, turn) in enumerate(turns)]
    cases = [case(complaint, 50 + number, turn) for number, (complaint, turn) in enumerate(turns)]
    with_demos, without = (
        sum(
            taught("question, options -> answer", shown)(**one.inputs()).answer == one.answer for one in cases
        )
        for shown in (demos, [])
    )
    assert with_demos >= len(cases) - 1
    assert with_demos > without + 2


@pytest.mark.parametrize(
    ("row", "year", "cell"),
    [
        ("total sales", 2019, "1,200"),
        ("total sales", 2018, "900"),
        ("operating costs", 2019, "640"),
        ("operating costs", 2018, "510"),
        ("net profit", 2019, "560"),
        ("net profit", 2018, "390"),
    ],
)
def test_a_table_cell_is_found_by_its_row_and_column_without_demonstrations(row, year, cell):
    prediction = dspy.Predict("context, question -> answer")(
        context=TABLE, question=f"What were {row} in {year}?"
    )
    assert prediction.answer == cell


def test_without_demonstrations_a_question_for_a_figure_gets_the_number_of_the_sentence_that_matches():
    prediction = dspy.Predict("context, question -> answer")(
        context="The plant in Ghent opened in spring. The plant employs 340 people. The roof is green.",
        question="How many people does the plant employ?",
    )
    assert prediction.answer == "340"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Why did the margin fall?", "freight became dearer"),
        ("What is tested for impairment?", "Goodwill"),
    ],
)
def test_without_demonstrations_other_questions_get_words_of_the_sentence_that_matches(question, said):
    prediction = dspy.Predict("context, question -> answer")(
        context="Sales grew in Asia. The margin fell because freight became dearer. Staff numbers were flat."
        " Goodwill is tested for impairment every year.",
        question=question,
    )
    assert said in prediction.answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [("What is the limit?", "80"), ("How high is the limit?", "80"), ("The limit?", "80")],
)
def test_without_demonstrations_a_short_sentence_answers_with_its_figure(question, answer):
    predictor = dspy.Predict("context, question -> answer")
    assert predictor(context="The limit is 80 C.", question=question).answer == answer


@pytest.mark.parametrize("context", ["The limit is 80 C.", "The roof of the hall. It is green.", ""])
@pytest.mark.parametrize("question", ["What is the limit?", "How is it?", "Which one is it, and why?"])
def test_no_part_of_the_inputs_without_content_words_is_a_candidate(context, question):
    inputs = {"context": context, "question": question}
    for candidate in find_candidates(inputs, "question"):
        assert candidate.kind == "sentence" or content(candidate.text)


@pytest.mark.parametrize(
    ("ticket", "team"),
    [
        ("A question on billing: my card was charged twice.", "billing"),
        ("The shipping took too long.", "shipping"),
        ("I want to report a security hole.", "security"),
    ],
)
def test_without_demonstrations_a_declared_value_is_chosen_by_the_words_of_the_input(ticket, team):
    predictor = dspy.Predict("ticket -> team: Literal['billing', 'shipping', 'security']")
    assert predictor(ticket=ticket).team == team


def test_a_number_that_no_input_holds_is_guessed_from_near_demonstrations():
    demos = [
        dspy.Example(review=review, stars=stars)
        for review, stars in [
            ("broken parts, bad service", 1),
            ("bad smell and broken lid", 1),
            ("service was bad, cup broken", 1),
            ("lovely colours, great taste", 5),
            ("great service, lovely cup", 5),
            ("lovely smell, great lid", 5),
        ]
    ]
    predictor = taught("review -> stars: int", demos)
    low, high = predictor(review="bad and broken").stars, predictor(review="great, lovely").stars
    assert low < high


def test_a_trust_near_zero_keeps_the_defaults():
    demos = [
        dspy.Example(
            context=f"The {name} pump costs ${cost} and was installed in {year}.",
            question=f"When was the {name} pump bought?",
            answer=f"${cost}",
        )
        for name, cost, year in PLANTS
    ]
    inputs = {
        "context": "The slurry pump costs $880 and was installed in 2015.",
        "question": "When was the slurry pump bought?",
    }
    predictor = taught("context, question -> answer", demos)
    assert predictor(**inputs, lm=lexical(trust=10.0)).answer == "$880"
    kept = predictor(**inputs, lm=lexical(trust=0.001)).answer
    assert kept == taught("context, question -> answer", [])(**inputs).answer


@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
def test_a_saved_program_answers_as_before_with_its_reader(module, tmp_path):
    program, loaded = module("log -> label"), module("log -> label")
    program.predictors()[0].demos = labelled()
    program.set_lm(lexical(neighbours=3, trust=0.5))
    program.save(tmp_path / "program.json")
    with pytest.raises(ValueError, match="LexicalEngine"):
        loaded.load(tmp_path / "program.json")
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    engine = loaded.predictors()[0].lm.engine
    assert isinstance(engine, LexicalEngine)
    assert engine.dump_state() == {"neighbours": 3, "trust": 0.5}
    assert [loaded(log=log).toDict() for log, _ in CASES] == [program(log=log).toDict() for log, _ in CASES]


def test_engine_state_makes_the_same_engine():
    state = LexicalEngine(neighbours=5, trust=2.0).dump_state()
    assert LexicalEngine.load_state(state).dump_state() == state


def test_the_reader_takes_one_request_at_a_time_and_no_hardware():
    assert max_concurrency(lexical()) == 1
    assert set(inspect.signature(lexical).parameters) == {"neighbours", "trust"}


def test_what_it_computes_with_is_imported_when_a_reader_is_made_and_not_before():
    script = """
import sys
from tiltyard.models.lexical import lexical
heavy = {"sklearn.feature_extraction.text", "scipy.optimize"}
print(len(heavy & sys.modules.keys()))
lexical()
print(len(heavy & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "2"]
