import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.ledger import Ledger
from tiltyard.optimizers.playbook.operations import Add, Merge, Remove, Tag, Update, read_operations
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.optimizers.playbook.retention import RetentionScore, prune
from tiltyard.signatures import check_node


def grown(*contents, **settings):
    playbook, refinement = Playbook(), Refinement(budget=None, **settings)
    wishes = [Add("x", content) for content in contents]
    refined = refinement.refine(playbook, wishes, step=0, sources=["e1"])
    return playbook, refinement, refined


def test_a_rule_that_is_known_lends_its_source_to_the_entry():
    playbook, refinement, _ = grown("Write USD before amounts.", "Round doses.")
    playbook.credit("k1", "helpful", step=0)
    refined = refinement.refine(playbook, [Add("y", "Put 'USD' before the amounts")], step=1, sources=["e2"])
    assert refined.counts == {"duplicate": 1}
    assert refined.steps[0].outcome.id == "k1"
    assert len(playbook) == 2
    assert playbook["k1"].content == "Write USD before amounts."
    assert (playbook["k1"].helpful, playbook["k1"].sources) == (1, ("e1", "e2"))
    assert playbook.history.rebuild() == playbook


@pytest.mark.parametrize(
    "other",
    ["Write EUR before amounts.", "Write USD after amounts.", "Never write USD before amounts."],
)
def test_a_rule_that_is_one_word_apart_is_another_rule(other):
    playbook, refinement, _ = grown("Write USD before amounts.")
    assert refinement.refine(playbook, [Add("x", other)], step=1).counts == {"add": 1}
    assert len(playbook) == 2


def test_an_update_that_is_one_word_apart_is_an_update():
    playbook, refinement, _ = grown("Write USD before amounts.", "Write no for a fall.")
    wishes = read_operations("UPDATE k1: Write EUR before amounts.\nUPDATE k2: Write yes for a fall.")
    assert refinement.refine(playbook, wishes, step=1).counts == {"update": 2}
    assert list(playbook.contents().values()) == ["Write EUR before amounts.", "Write yes for a fall."]


def test_an_update_to_what_another_entry_says_merges_the_two():
    playbook, refinement, _ = grown("Write EUR before amounts.", "Round doses.", "Write USD before amounts.")
    playbook.credit("k1", "harmful", step=0)
    playbook.credit("k3", "helpful", step=0)
    refined = refinement.refine(
        playbook, [Update("k1", "Before amounts, write USD.")], step=1, sources=["e4"]
    )
    assert refined.counts == {"duplicate": 1}
    assert list(playbook.contents()) == ["k1", "k2"]
    assert playbook["k1"] == Entry(
        "k1", "x", "Before amounts, write USD.", helpful=1, harmful=1, sources=("e1", "e4")
    )


def test_similarity_alone_decides_where_that_is_asked_for():
    loose = {"same_words": False, "threshold": 0.6}
    playbook, _, refined = grown("Write USD before amounts.", "Write EUR before amounts.", **loose)
    assert refined.counts == {"add": 1, "duplicate": 1}
    strict = {"same_words": False, "threshold": 0.95}
    assert len(grown("Write USD before amounts.", "Write EUR before amounts.", **strict)[0]) == 2
    assert len(playbook) == 1


def test_deduplication_can_be_switched_off():
    assert len(grown("Round doses.", "Round doses.", deduplicate=False)[0]) == 2


def test_advice_is_refused_wherever_it_comes():
    playbook, refinement, _ = grown("Round doses.", "Use dots.")
    before = playbook.copy()
    wishes = [
        Add("x", "Be careful."),
        Update("k1", "Read the question twice."),
        Merge(("k1", "k2"), "Check it."),
    ]
    refined = refinement.refine(playbook, wishes, step=1)
    assert refined.counts == {"generic": 3}
    assert playbook == before
    assert playbook.history.dumps().count("every question") == 3


def test_the_filter_can_be_switched_off():
    assert len(grown("Be careful.", refuse_generic=False)[0]) == 1


def test_invalid_and_unreadable_wishes_are_recorded_and_the_others_applied():
    playbook, refinement, _ = grown("Round doses.")
    wishes = read_operations("Well:\nREMOVE k7\nADD dates: Use dots.\nTAG k1 harmful\nADD x: ")
    refined = refinement.refine(playbook, wishes, step=1)
    assert refined.counts == {"unreadable": 2, "invalid": 1, "add": 1, "tag": 1}
    assert list(playbook.contents()) == ["k1", "k2"]
    assert len(playbook.history) == 2 + 5


RULE = st.lists(
    st.sampled_from(["USD", "doses", "dots", "levels", "commas", "names"]), min_size=1, max_size=6
).map(" ".join)
IDS = st.integers(1, 9).map(lambda number: f"k{number}")
WISHES = st.one_of(
    st.builds(Add, st.just("x"), RULE),
    st.builds(Update, IDS, RULE),
    st.builds(Merge, st.tuples(IDS, IDS), RULE),
    st.builds(Remove, IDS),
    st.builds(Tag, IDS, st.sampled_from(["helpful", "harmful"])),
)


@given(
    st.lists(st.lists(WISHES, max_size=4), max_size=6),
    st.sampled_from(["score", "fifo", "lru", "random"]),
    st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_the_budget_holds_after_every_step(steps, policy, budget):
    playbook, refinement = Playbook(), Refinement(budget=budget, policy=policy)
    for step, wishes in enumerate(steps):
        refinement.refine(playbook, wishes, step=step)
        assert playbook.tokens <= budget
        contents = list(playbook.contents().values())
        assert len(set(contents)) == len(contents), "a rule stands twice"
    assert playbook.history.rebuild() == playbook


def aged():
    """Three entries of 3 tokens each beside the id's 4: k1 is oldest and used last, k2 never, k3 long ago."""
    playbook = Playbook()
    for step, content in enumerate(["Use dots.", "Use dash.", "Use plus."]):
        playbook.apply(Add("x", content), step=step)
    playbook.shown(["k3"], step=3)
    playbook.shown(["k1"], step=9)
    return playbook


def order(policy, seed=0, **settings):
    """The order in which entries go, when all must."""
    gone = prune(aged(), 0, step=10, policy=policy, seed=seed, **settings)
    return [entry.id for entry in gone]


def test_fifo_drops_the_first_created_first():
    assert order("fifo") == ["k1", "k2", "k3"]


def test_lru_drops_the_least_recently_used_first():
    assert order("lru") == ["k2", "k3", "k1"]


def test_random_draws_by_its_seed():
    orders = {tuple(order("random", seed=seed)) for seed in range(40)}
    assert len(orders) == 6
    assert order("random", seed=5) == order("random", seed=5)


@given(
    st.lists(st.lists(WISHES, max_size=4), max_size=6), st.sampled_from(["score", "fifo", "lru", "random"])
)
@settings(max_examples=40, deadline=None)
def test_what_goes_does_not_depend_on_a_ledger_that_is_kept(steps, policy):
    playbook, refinement = Playbook(), Refinement(budget=40, policy=policy, deduplicate=False)
    for step, wishes in enumerate(steps):
        resumed = playbook.copy()
        refinement.refine(playbook, wishes, step=step)
        Refinement(budget=40, policy=policy, deduplicate=False).refine(resumed, wishes, step=step)
        assert resumed == playbook


def test_no_more_goes_than_must():
    playbook = aged()
    each = playbook["k1"].tokens
    assert [entry.id for entry in prune(playbook, 2 * each, step=10, policy="fifo")] == ["k1"]
    assert prune(playbook, 2 * each, step=10) == []
    assert prune(playbook, None, step=10) == []
    assert prune(playbook, 2 * each - 1, step=10, policy="fifo")[0].id == "k2"


def test_an_unknown_policy_is_refused():
    with pytest.raises(InputError, match="fifo"):
        prune(aged(), 1, step=10, policy="lifo")


OFF = {"success": False, "failure": False, "recency": False, "vagueness": False}
TOLD_APART = {
    "success": ({"helpful": 3}, {"helpful": 1}),
    "failure": ({"harmful": 1}, {"harmful": 3}),
    "recency": ({"last_used": 9}, {"last_used": 2}),
    "vagueness": ({"content": "Use dots."}, {"content": "Always use good dots."}),
}
"""For each term two entries, of which it prefers the first."""


@pytest.mark.parametrize("term", TOLD_APART)
def test_each_term_of_the_score_counts_alone_and_can_be_switched_off(term):
    better, worse = (
        Entry(**{"id": id, "section": "x", "content": "Use dots.", **parts})
        for id, parts in zip(("k1", "k2"), TOLD_APART[term], strict=True)
    )
    alone = RetentionScore(**{**OFF, term: True}).of(Ledger([better, worse]), step=10)
    assert alone[0] > alone[1]
    without = RetentionScore(**{term: False}).of(Ledger([better, worse]), step=10)
    assert without[0] == without[1]
    weightless = RetentionScore(**{f"{term}_weight": 0.0}).of(Ledger([better, worse]), step=10)
    assert weightless[0] == weightless[1]


def test_recency_halves():
    entries = [Entry("k1", "x", "Use dots.", last_used=10), Entry("k2", "x", "Use dots.", created=6)]
    score = RetentionScore(**{**OFF, "recency": True}, recency_weight=1.0, half_life=4.0)
    assert list(score.of(Ledger(entries), step=10)) == [1.0, 0.5]


def test_a_new_entry_is_not_what_goes_first():
    playbook = Playbook()
    for step, content in enumerate(["Use dots.", "Use dash.", "Use plus."]):
        playbook.apply(Add("x", content), step=step * 40)
    playbook.credit("k1", "helpful", step=80)
    gone = prune(playbook, 2 * playbook["k1"].tokens, step=80)
    assert [entry.id for entry in gone] == ["k2"]


def test_yaml_can_set_all_of_it():
    node = {
        "_target_": "tiltyard.optimizers.playbook.refinement.Refinement",
        "budget": 400,
        "policy": "lru",
        "score": {
            "_target_": "tiltyard.optimizers.playbook.retention.RetentionScore",
            "recency": False,
            "success_weight": 2.0,
        },
    }
    check_node(node, path="optimizer.refinement")
    for bad in ({"policy": "lifo"}, {"budget": 0}, {"threshold": 1.5}, {"max_vagueness": "much"}):
        with pytest.raises(InputError):
            check_node({**node, **bad}, path="optimizer.refinement")
    node["score"]["half_life"] = 0.0
    with pytest.raises(InputError):
        check_node(node, path="optimizer.refinement")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("Write USD before amounts.", "Write EUR before amounts.", "update"),
        ("Write neaqo instead of no.", "Write liosloucu instead of no.", "update"),
        ("Write USD before amounts.", "Call a level high from 51 on.", "added_instead"),
        ("Write OT before doses.", "Answer options with the letter in brackets.", "added_instead"),
    ],
)
def test_a_correction_that_says_something_else_is_added_instead(old, new, kind):
    playbook = Playbook()
    playbook.apply(Add("house", old), step=0)
    refined = Refinement().refine(playbook, [Update("k1", new)], step=1)
    assert refined.counts == {kind: 1}
    contents = [entry.content for entry in playbook.entries]
    assert contents == ([new] if kind == "update" else [old, new])


def test_all_corrections_can_be_let_through():
    playbook = Playbook()
    playbook.apply(Add("house", "Write USD before amounts."), step=0)
    Refinement(update_similarity=0).refine(playbook, [Update("k1", "Call a level high from 51 on.")], step=1)
    assert [entry.content for entry in playbook.entries] == ["Call a level high from 51 on."]
