import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.operations import Add, Remove, Unreadable
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.reporting.playbook_growth import growth

DONE = st.sampled_from(["add", "remove", "prune", "show", "refuse"])


@given(st.lists(st.tuples(st.integers(0, 2), DONE), max_size=15))
def test_each_step_is_as_the_history_rebuilds_it(events: list[tuple[int, str]]) -> None:
    playbook, step = Playbook(), 0
    for number, (further, done) in enumerate(events):
        step += further
        ids = [entry.id for entry in playbook.entries]
        if done == "refuse":
            playbook.refuse(Unreadable("x", "no line"), "no line", step=step)
        elif done == "add" or not ids:
            playbook.apply(Add("general", f"Rule {number} of its own."), step=step)
        elif done == "remove":
            playbook.apply(Remove(ids[0]), step=step)
        elif done == "prune":
            playbook.prune(ids[-1], "harmful", step=step)
        else:
            playbook.shown(ids, step=step)
    found = growth(playbook.history.dumps())
    rebuilt = [playbook.history.rebuild(step=done - 1) for done in range(step + 2 if events else 1)]
    assert found["entries"] == [(done, float(len(one))) for done, one in enumerate(rebuilt)]
    assert found["tokens"] == [(done, float(one.tokens)) for done, one in enumerate(rebuilt)]


def test_a_history_that_does_not_fit_together_is_refused() -> None:
    playbook = Playbook()
    playbook.apply(Add("general", "A rule."), step=0)
    playbook.prune(playbook.entries[0].id, "harmful", step=1)
    started, _, pruned = playbook.history.dumps().splitlines()
    with pytest.raises(InputError, match="does not fit together at step 1"):
        growth(f"{started}\n{pruned}\n")
