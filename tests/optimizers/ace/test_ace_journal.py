import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.ace.journal import FILE, Journal
from tiltyard.optimizers.ace.plan import planned
from tiltyard.optimizers.ace.records import Lesson, Measured, Step, Tried, dumped, loaded
from tiltyard.optimizers.ace.settings import Settings
from tiltyard.optimizers.adapting.plain_values import plain
from tiltyard.optimizers.adapting.spending import Spent

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(), st.lists(st.text(), max_size=2))
TRIED = st.builds(
    Tried,
    example=st.integers(0, 9),
    outputs=st.none() | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    score=st.none() | st.floats(0, 1),
    latency_ms=st.floats(0, 1e6),
    reflected=st.booleans(),
    reflection_latency_ms=st.none() | st.floats(0, 1e6),
    error=st.text(),
    prompt_tokens=st.integers(0, 99),
    completion_tokens=st.integers(0, 99),
)
STEP = st.builds(
    Step,
    step=st.integers(0, 9),
    epoch=st.integers(1, 3),
    tried=st.lists(TRIED, max_size=2).map(tuple),
    lessons=st.lists(
        st.builds(Lesson, source=st.text(), rules=st.lists(st.text()).map(tuple)), max_size=2
    ).map(tuple),
    curated=st.booleans(),
    events=st.text(),
    counts=st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
    spent=st.dictionaries(st.text(max_size=5), st.builds(Spent, calls=st.integers(0, 9)), max_size=2),
    kind=st.just("step"),
)


def measured(steps, score=0.5):
    return Measured(
        epoch=1,
        steps=steps,
        program="playbook",
        entries=1,
        tokens=9,
        score=score,
        examples=4,
        judged=4,
        repeated=False,
        ends_epoch=True,
        shown="f00d",
    )


@settings(deadline=None)
@given(record=STEP)
def test_a_record_survives_its_line(record):
    line = dumped(record)
    assert "\n" not in line
    assert loaded(line) == record
    assert loaded(dumped(measured(3))) == measured(3)


def test_half_a_surrogate_pair_can_be_kept():
    half = plain({"answer": "\ud83d"})
    assert loaded(dumped(_step(outputs=half))).tried[0].outputs == half


@pytest.mark.parametrize(
    ("said", "kept"),
    [('see ?key=open-sesame-42" there', 'see ?key=***" there'), ('api_key="${KEY}"', 'api_key="${KEY}"')],
)
def test_a_secret_is_kept_nowhere_and_masking_it_breaks_no_line(tmp_path, said, kept):
    journal = Journal.opened(tmp_path, "f00d")
    journal.add(_step(outputs={"answer": said}))
    journal.add(_step(step=1))
    assert Journal.opened(tmp_path, "f00d").records == journal.records
    assert journal.records[0].tried[0].outputs == {"answer": kept}


def _step(outputs=None, step=0):
    tried = Tried(0, outputs, 1.0, 1.0, False, None, "", 1, 1)
    return Step(step, 1, (tried,), (), True, "", {}, {})


def test_what_was_added_is_there_again(tmp_path):
    journal = Journal.opened(tmp_path / "new", "f00d")
    assert journal.records == []
    for record in (_step(), measured(1), _step(step=1)):
        journal.add(record)
    assert Journal.opened(tmp_path / "new", "f00d").records == journal.records


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 400))
def test_a_line_that_was_cut_off_is_done_again(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal.opened(folder, "f00d")
    for step in range(3):
        journal.add(_step(step=step))
    whole = (folder / FILE).read_bytes()
    last = len(whole) - whole[:-1].rfind(b"\n") - 1
    cut = min(cut, last)
    (folder / FILE).write_bytes(whole[:-cut])
    again = Journal.opened(folder, "f00d")
    assert [record.step for record in again.records] == [0, 1]
    again.add(_step(step=2))
    assert (folder / FILE).read_bytes() == whole


def test_a_journal_of_other_settings_is_replaced_with_a_warning(tmp_path, caplog):
    Journal.opened(tmp_path, "f00d").add(_step())
    assert Journal.opened(tmp_path, "beef").records == []
    assert "starting anew" in caplog.text
    assert json.loads((tmp_path / FILE).read_text()) == {"format": 1, "fingerprint": "beef"}


@pytest.mark.parametrize("content", [b"", b"no journal\n", b'{"format": 1, "fing', b"\xff\xfe\n"])
def test_what_is_no_journal_is_replaced(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    journal = Journal.opened(tmp_path, "f00d")
    journal.add(_step())
    assert Journal.opened(tmp_path, "f00d").records == [_step()]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = Journal.opened(None, "f00d")
    journal.add(_step())
    assert journal.records == [_step()]
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(
    examples=st.integers(0, 30),
    window=st.integers(1, 7),
    epochs=st.integers(1, 3),
    curate_every=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_epoch_takes_every_example_once_and_curates_all(examples, window, epochs, curate_every, seed):
    windows = planned(
        Settings(window=window, epochs=epochs, curate_every=curate_every, seed=seed, validate_every=3),
        examples,
    )
    assert [one.step for one in windows] == list(range(len(windows)))
    for epoch in range(1, epochs + 1):
        mine = [one for one in windows if one.epoch == epoch]
        assert sorted(place for one in mine for place in one.examples) == list(range(examples))
        assert all(len(one.examples) == window for one in mine[:-1])
        if mine:
            assert [one.ends_epoch for one in mine] == [False] * (len(mine) - 1) + [True]
            assert mine[-1].curates
            assert mine[-1].measures
    assert all(one.measures == (one.ends_epoch or (one.step + 1) % 3 == 0) for one in windows)


def test_orders_differ_between_epochs_and_between_seeds_and_a_stream_keeps_its_own():
    def order(**settings):
        return [place for one in planned(Settings(**settings), 20) for place in one.examples]

    offline = order(epochs=2)
    assert offline[:20] != offline[20:]
    assert offline == order(epochs=2)
    assert offline != order(epochs=2, seed=1)
    assert order(mode="online", seed=1) == list(range(20))
    assert order(mode="evaluate") == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"credit": "shown"}, "credit every entry alike"),
        ({"k": 3}, "selection=all"),
        ({"shown_tokens": 300}, "selection=all"),
        ({"selection": "relevant"}, "no limit"),
        ({"mode": "online", "epochs": 2}, "once"),
        ({"window": 0}, "optimizer.window=0"),
        ({"rounds": -1}, "optimizer.rounds=-1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Settings(**wrong)
