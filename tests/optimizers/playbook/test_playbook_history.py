import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.history import History
from tiltyard.optimizers.playbook.operations import Add, Merge, Remove, Tag, Unreadable, Update
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.retention import prune

IDS = st.integers(1, 8).map(lambda number: f"k{number}")
TEXTS = st.text(max_size=12)
OPERATIONS = st.one_of(
    st.builds(Add, TEXTS, TEXTS),
    st.builds(Add, st.just("x"), st.text("ab \u2028", min_size=1, max_size=4)),
    st.builds(Update, IDS, TEXTS),
    st.builds(Merge, st.lists(IDS, max_size=3).map(tuple), TEXTS, st.none() | TEXTS),
    st.builds(Remove, IDS),
    st.builds(Tag, IDS, st.sampled_from(["helpful", "harmful", "neutral"])),
)
CHANGES = st.one_of(
    OPERATIONS,
    st.builds(Unreadable, TEXTS, TEXTS),
    st.lists(IDS, max_size=3),
    st.integers(0, 40),
)
"""Operations, unreadable lines, ids that are shown, and budgets to prune under."""


def change(playbook, what, step):
    if isinstance(what, int):
        prune(playbook, what, step=step, policy="random", seed=3)
    elif isinstance(what, list):
        playbook.shown([id for id in what if id in playbook], step=step)
    elif isinstance(what, Unreadable):
        playbook.refuse(what, what.reason, step=step, sources=["e"])
    else:
        playbook.apply(what, step=step, sources=[f"e{step}"])


@given(st.lists(st.lists(CHANGES, max_size=5), max_size=8), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_every_step_can_be_rebuilt_exactly(steps, starting):
    playbook = Playbook()
    for number in range(starting):
        playbook.apply(Add("start", f"Rule {number}."), step=0)
    playbook = Playbook.loads(playbook.dumps())
    versions = {-1: playbook.copy()}
    given_ids = {entry.id: 0 for entry in playbook.entries}
    for step, changes in enumerate(steps):
        for what in changes:
            known = set(playbook.contents())
            change(playbook, what, step)
            for id in set(playbook.contents()) - known:
                assert id not in given_ids, "an id was used again"
                given_ids[id] = step
        assert playbook.tokens == sum(entry.tokens for entry in playbook.entries)
        versions[step] = playbook.copy()
    history = History.loads(playbook.history.dumps())
    assert len(history) == len(playbook.history)
    for step, version in versions.items():
        assert history.rebuild(step) == version
    rebuilt = history.rebuild()
    assert rebuilt == playbook
    assert rebuilt.history.dumps() == playbook.history.dumps()
    assert rebuilt.dumps() == playbook.dumps()


def test_a_rebuilt_playbook_goes_on_where_it_stopped():
    playbook = Playbook()
    playbook.apply(Add("x", "One."), step=0)
    resumed = History.loads(playbook.history.dumps()).rebuild()
    for each in (playbook, resumed):
        each.apply(Add("x", "Two."), step=1)
    assert resumed.history.dumps() == playbook.history.dumps()


def test_new_events_alone_can_be_written():
    playbook = Playbook()
    playbook.apply(Add("x", "One."), step=0)
    whole, seen = playbook.history.dumps(), len(playbook.history)
    playbook.apply(Add("x", "Two."), step=1)
    assert whole + playbook.history.dumps(since=seen) == playbook.history.dumps()


def test_steps_never_go_back_and_nothing_changes_when_they_try():
    playbook = Playbook()
    playbook.apply(Add("x", "One."), step=5)
    before = playbook.copy()
    for attempt in (
        lambda: playbook.apply(Remove("k1"), step=4),
        lambda: playbook.shown(["k1"], step=4),
        lambda: playbook.prune("k1", "why", step=4),
        lambda: playbook.refuse(Remove("k1"), "why", step=4),
    ):
        with pytest.raises(ValueError, match="never go back"):
            attempt()
    assert playbook == before
    assert len(playbook.history) == 2


def damaged(change):
    playbook = Playbook()
    playbook.apply(Add("x", "One."), step=0)
    playbook.shown(["k1"], step=1)
    events = [json.loads(line) for line in playbook.history.dumps().splitlines()]
    change(events)
    return "\n".join(json.dumps(event) for event in events)


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.pop(0),
        lambda events: events.pop(1),
        lambda events: events.append(events[0]),
        lambda events: events.append(events[1]),
        lambda events: events[1]["outcome"].update(id="k2"),
        lambda events: events[1]["operation"].update(kind="sing"),
        lambda events: events[2].pop("ids"),
        lambda events: events[2].update(event="sung"),
        lambda events: events[0]["entries"].append({"id": "k1"}),
        lambda events: events.clear(),
    ],
)
def test_a_damaged_history_is_refused(change):
    with pytest.raises(InputError):
        History.loads(damaged(change)).rebuild()
