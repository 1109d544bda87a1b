"""Training and evaluation share nothing that is drawn: the generators are watched while they draw.

It holds by construction, since all that is drawn comes from ``Draw``; what is watched here is a sample of the
training stream, from its beginning and from each of its stages, and of an evaluation, and the whole test bed.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.resources import files

import pytest

from tiltyard.models.embedded import adapting, answering, cases
from tiltyard.models.embedded.conventions import RESERVED_PAIRS
from tiltyard.models.embedded.curriculum import FIRST, PRACTICE, training_episode
from tiltyard.models.embedded.draw import Draw, reserved
from tiltyard.models.embedded.held_out import trials
from tiltyard.models.embedded.held_out_chains import chain_trials
from tiltyard.models.embedded.held_out_judgements import judgement_trials
from tiltyard.tasks.conventions_data import SHIPPED_RECORDS, SHIPPED_SEED, encoded, make_records

PLACES = (
    *(place for practice in PRACTICE for place in practice.places[:120]),
    *range(FIRST.stop - 120, FIRST.stop + 240),
)
"""Of the training stream: each practice, the answers, and some of the mixture of all abilities."""
ENTITIES = ("word", "code", "number", "date")
SHIPPED = ("conventions", "tatqa_tiny", "medqa_tiny", "iot_tiny")


@dataclass
class Drawn:
    """All that the generators drew while it was watched."""

    entities: set[str] = field(default_factory=set)
    items: dict[tuple, set] = field(default_factory=lambda: defaultdict(set))
    pairs: set[frozenset[str]] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)


def watched(make):
    """What is drawn while ``make`` makes texts."""
    drawn = Drawn()
    with pytest.MonkeyPatch.context() as patch:
        for name in ENTITIES:
            _watch(patch, name, lambda arguments, found: drawn.entities.add(found))
        _watch(patch, "item", lambda arguments, found: drawn.items[tuple(arguments[0])].add(found))
        combined = answering.combined

        def watch_house(wanted, draw):
            house = combined(wanted, draw)
            for one in house:
                drawn.pairs |= {
                    frozenset((one.form, other.form)) for other in house if one.subject == other.subject
                }
            return house

        for module in (answering, adapting, cases):
            patch.setattr(module, "combined", watch_house)
        drawn.texts = make()
    return drawn


def _watch(patch, name, note):
    method = getattr(Draw, name)

    def watching(self, *arguments, **options):
        found = method(self, *arguments, **options)
        note(arguments, found)
        return found

    patch.setattr(Draw, name, watching)


def text(episode):
    return "\n".join(message.content for message in episode.messages())


@pytest.fixture(scope="module")
def training():
    return watched(lambda: [text(training_episode(place, seed=0)) for place in PLACES])


@pytest.fixture(scope="module")
def evaluation():
    def asked():
        found = [*trials(1, seed=0), *chain_trials(4, seed=0), *judgement_trials(8, seed=0)]
        return [text(episode) for trial in found for episode in trial.episodes]

    return watched(asked)


@pytest.fixture(scope="module")
def shipped():
    return watched(lambda: make_records(SHIPPED_SEED, SHIPPED_RECORDS))


def test_enough_was_drawn_to_tell(training, evaluation):
    assert len(training.texts) == len(PLACES) > 300
    assert len(evaluation.texts) > 200
    assert min(len(drawn.entities) for drawn in (training, evaluation)) > 800
    assert min(len(drawn.items) for drawn in (training, evaluation)) > 50


def test_words_names_numbers_and_dates_of_training_are_not_kept_back(training):
    assert not [entity for entity in training.entities if reserved(entity)]


def test_words_names_numbers_and_dates_of_the_evaluation_are_kept_back(evaluation):
    assert all(reserved(entity) for entity in evaluation.entities)


def test_phrasings_and_nouns_are_on_one_side_only(training, evaluation):
    both = training.items.keys() & evaluation.items.keys()
    assert len(both) > 40
    assert not any(training.items[options] & evaluation.items[options] for options in both)


def test_training_never_combines_what_is_kept_back_and_the_evaluation_does(training, evaluation):
    kept = {frozenset(pair) for pair in RESERVED_PAIRS}
    assert not training.pairs & kept
    assert kept <= evaluation.pairs


def test_no_episode_of_the_evaluation_is_one_of_training(training, evaluation):
    assert not set(training.texts) & set(evaluation.texts)


def test_the_test_bed_is_drawn_from_what_is_kept_back(shipped, training):
    file = files("tiltyard.tasks").joinpath("data", "conventions.jsonl")
    assert encoded(shipped.texts) == file.read_bytes()
    assert all(reserved(entity) for entity in shipped.entities)
    both = training.items.keys() & shipped.items.keys()
    assert len(both) > 10
    assert not any(training.items[options] & shipped.items[options] for options in both)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_text_of_a_shipped_task_occurs_in_training(name, training):
    lines = files("tiltyard.tasks").joinpath("data", f"{name}.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    trained = "\n".join(training.texts)
    contexts = {one for record in records if (one := record.get("context", "").strip())}
    found = [one for one in contexts if one in trained]
    found += [record["question"] for record in records if record["question"] in trained]
    assert found == []


def test_every_shipped_file_of_records_is_looked_at():
    data = files("tiltyard.tasks").joinpath("data")
    assert sorted(one.name for one in data.iterdir() if one.name.endswith(".jsonl")) == sorted(
        f"{name}.jsonl" for name in SHIPPED
    )
