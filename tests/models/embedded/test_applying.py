from hypothesis import given
from hypothesis import strategies as st

from tiltyard.models.embedded.applying import applying, asking_by_rules
from tiltyard.models.embedded.conventions import PHRASINGS
from tiltyard.models.embedded.draw import Draw

PLACES = st.integers(0, 10**6)


@given(PLACES, st.booleans())
def test_all_is_decided_by_the_seed(place, held_out):
    for episode in (applying, asking_by_rules):
        first, again = (episode(Draw(f"{place}", held_out=held_out)) for _ in range(2))
        assert first == again


@given(PLACES)
def test_each_reply_is_a_line_of_its_own(place):
    for episode in (applying(Draw(f"{place}")), asking_by_rules(Draw(f"{place}"))):
        assert all(reply.startswith("\n") and reply.strip() for _, reply in episode.exchanges)


def test_a_rule_changes_most_replies():
    changed = 0
    for place in range(60):
        for prompt, reply in applying(Draw(f"{place}")).exchanges:
            asked = prompt.split("\n")[-1]
            changed += not asked.endswith(f": {reply.strip()}")
    assert changed > 90


def test_a_whole_number_is_what_the_rule_says():
    whole = {one.format(subject="doses", Subject="Doses", value="") for one in PHRASINGS["whole"]}
    found = 0
    for place in range(4000):
        (first, *_), *_ = applying(Draw(f"{place}")).exchanges
        rules = first.partition("\n\n")[0].split("\n")
        if (
            rules[0] not in {one.format(subject="doses", Subject="Doses", value="") for one in whole}
            or rules[1:]
        ):
            continue
        for prompt, reply in applying(Draw(f"{place}")).exchanges:
            asked = prompt.split("\n")[-1]
            if asked.startswith("doses: ") and asked != "doses: unknown":
                found += 1
                assert reply == f"\n{int(float(asked.removeprefix('doses: ')) + 0.5)}"
    assert found > 3
