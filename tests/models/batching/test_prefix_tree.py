"""The tree gives back the keys and values of exactly the tokens asked for, and keeps to its budget."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.batching.key_values import Segment
from tiltyard.models.batching.prefix_tree import SHORTEST, PrefixTree, common_length

# Few kinds of blocks and lengths around SHORTEST, so that prompts share, split and differ at every turn.
blocks = st.sampled_from([(1,) * 3, (2,) * SHORTEST, (1, 2) * 10, (3,) * (SHORTEST - 1), (2, 1, 1)])
prompts = st.lists(blocks, min_size=1, max_size=6).map(lambda parts: tuple(t for part in parts for t in part))
TOKEN_BYTES = 2 * 2 * 2 * 4  # two layers of keys and values, two numbers each, of four bytes


def numbers(tokens, start, end):
    """Keys and values that tell each token's whole history, as those of a causal model do."""
    rows = [[float(hash(tokens[: at + 1]) % 10_007), float(at)] for at in range(start, end)]
    key = torch.tensor(rows).reshape(1, end - start, 2)
    return Segment([key, key + 0.25], [key + 0.5, key + 0.75])


def joined(segments):
    return [
        [torch.cat([getattr(segment, kind)[layer] for segment in segments], dim=1) for layer in (0, 1)]
        for kind in ("keys", "values")
    ]


def stored(tree):
    """All nodes with the tokens that lead to their end."""
    waiting = [(tree._root, ())]
    while waiting:
        node, before = waiting.pop()
        for first, child in node.children.items():
            assert child.tokens[0] == first
            assert child.parent is node
            assert child.segment.length == len(child.tokens)
            yield child, before + child.tokens
            waiting.append((child, before + child.tokens))


@settings(max_examples=60, deadline=None)
@given(
    uses=st.lists(st.tuples(st.booleans(), prompts), max_size=25),
    budget=st.sampled_from([None, 0, 30 * TOKEN_BYTES, 90 * TOKEN_BYTES]),
)
def test_it_holds_what_was_read_within_its_budget(uses, budget):
    tree = PrefixTree(budget)
    seen = set()
    for reading, prompt in uses:
        if reading:
            tree.insert(prompt, lambda start, end, tokens=prompt: numbers(tokens, start, end))
            seen.add(prompt)
        else:
            known = tree.known(prompt)
            segments = tree.take(prompt)

            assert sum(segment.length for segment in segments) == known
            assert known <= max((common_length(prompt, other) for other in seen), default=0)
            if segments:
                whole = numbers(prompt, 0, known)
                for found, expected in zip(joined(segments), (whole.keys, whole.values), strict=True):
                    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
            # what was split off is known as well as before
            assert tree.known(prompt) == known
        assert tree.used_bytes == sum(node.segment.nbytes for node, _ in stored(tree))
        assert budget is None or tree.used_bytes <= budget


@settings(max_examples=60, deadline=None)
@given(st.lists(prompts, min_size=1, max_size=12))
def test_without_a_budget_nothing_long_enough_is_forgotten(read):
    tree = PrefixTree(None)
    for prompt in read:
        tree.insert(prompt, lambda start, end, tokens=prompt: numbers(tokens, start, end))

    for prompt in read:
        # neither a short ending nor a short part of a longer node is worth its while
        assert len(prompt) - tree.known(prompt) < 2 * SHORTEST


def insert(tree, tokens):
    tree.insert(tokens, lambda start, end: numbers(tokens, start, end))


def test_what_was_used_longest_ago_gives_way():
    one, two, three = ((kind,) * 20 for kind in (1, 2, 3))
    tree = PrefixTree(40 * TOKEN_BYTES)
    insert(tree, one)
    insert(tree, two)
    tree.take(one)

    insert(tree, three)

    assert [tree.known(prompt) for prompt in (one, two, three)] == [20, 0, 20]


def test_a_shared_beginning_outlives_its_oldest_ending():
    trunk = (1,) * 20
    first, second = trunk + (2,) * 20, trunk + (3,) * 20
    tree = PrefixTree(60 * TOKEN_BYTES)
    insert(tree, first)
    insert(tree, second)

    insert(tree, trunk + (4,) * 20)

    assert [tree.known(prompt) for prompt in (first, second)] == [20, 40]


def test_a_prompt_beyond_the_budget_leaves_the_tree_empty_and_consistent():
    tree = PrefixTree(10 * TOKEN_BYTES)

    insert(tree, (1,) * 20)

    assert (tree.used_bytes, tree.known((1,) * 20), tree.take((1,) * 20)) == (0, 0, [])


def test_segments_that_were_taken_stay_as_they_are():
    tokens = (1,) * 20 + (2,) * 20
    tree = PrefixTree(None)
    insert(tree, tokens)
    (taken,) = tree.take(tokens)
    before = [layer.clone() for layer in (*taken.keys, *taken.values)]

    insert(tree, tokens[:20] + (3,) * 20)  # splits the node
    tree.take(tokens[:18])

    assert all(
        torch.equal(one, other) for one, other in zip((*taken.keys, *taken.values), before, strict=True)
    )


def test_split_parts_share_no_memory_with_the_whole():
    """Else one part that is still used would hold the memory of the other, which the budget counts free."""
    tokens = (1,) * 40
    tree = PrefixTree(None)
    insert(tree, tokens)

    (part,) = tree.take(tokens[:20])

    assert all(layer.untyped_storage().nbytes() == layer.nbytes for layer in (*part.keys, *part.values))


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_the_common_length_is_that_of_the_common_beginning(one, other):
    found = common_length(tuple(one), tuple(other))

    assert one[:found] == other[:found]
    assert found == min(len(one), len(other)) or one[found] != other[found]


@pytest.mark.parametrize("length", [SHORTEST - 1, SHORTEST])
def test_endings_are_kept_from_the_shortest_on(length):
    tree = PrefixTree(None)
    insert(tree, (1,) * length)

    assert tree.known((1,) * length) == (length if length >= SHORTEST else 0)
