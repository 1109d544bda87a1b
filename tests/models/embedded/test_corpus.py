import pickle
from functools import partial
from itertools import islice

import numpy as np
import pytest

from tiltyard.errors import InputError
from tiltyard.models.embedded.corpus import DIGESTED, Position, Windows, digest, stream
from tiltyard.models.embedded.curriculum import FIRST, training_episode
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.tokenizer import encode_episode, train_tokenizer


def episode(index):
    """An episode that its number can be read from, of a length of its own."""
    return PromptEpisode("count", f"{index}" + "x" * (index * 7 % 40), "y" * (1 + index % 3))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([], size=261)


@pytest.fixture(scope="module")
def windows(tokenizer):
    return Windows(episode, tokenizer, longest=64, tokens=200, seed=0, size=16)


def rows(batch):
    return [tuple(ids[:length]) for ids, length in zip(batch.ids.tolist(), batch.lengths, strict=True)]


def taken(windows, start, count, workers=0):
    return list(islice(stream(windows, start, workers), count))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_each_episode_comes_once_in_its_window(windows, tokenizer):
    for index in (0, 3):
        expected = [
            tuple(encode_episode(tokenizer, episode(place)).ids)
            for place in range(16 * index, 16 * index + 16)
        ]
        found = [row for batch in windows[index].batches for row in rows(batch)]
        assert sorted(found) == sorted(expected)


def test_batches_keep_to_their_size(windows):
    batches = windows[0].batches
    assert all(batch.ids.size <= 200 for batch in batches)
    assert len(batches) < 10  # sixteen episodes of 7 to 46 tokens


def test_an_episode_larger_than_a_batch_is_one(tokenizer):
    large = Windows(episode, tokenizer, longest=64, tokens=1, seed=0, size=4)
    assert [batch.ids.shape[0] for batch in large[0].batches] == [1] * 4


def test_padding_is_behind_and_no_answer(windows):
    for batch in windows[1].batches:
        behind = np.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
        assert not batch.ids[behind].any()
        assert not batch.answer[behind].any()
        assert batch.answer.sum(axis=1).min() >= 2  # an answer and its end


def test_long_episodes_are_left_out_and_counted(windows, tokenizer):
    short = Windows(episode, tokenizer, longest=30, tokens=200, seed=0, size=16)
    lengths = [len(encode_episode(tokenizer, episode(place)).ids) for place in range(16)]
    long = sum(length > 30 for length in lengths)
    assert 0 < long < 16
    assert short[0].skipped == long
    assert max(batch.lengths.max() for batch in short[0].batches) <= 30
    count = len(short[0].batches)
    assert sum(fed.skipped for fed in taken(short, Position(0, 0), count)) == long


def test_the_order_is_decided_by_the_seed(windows, tokenizer):
    other = Windows(episode, tokenizer, longest=64, tokens=200, seed=1, size=16)
    first, again, others = (taken(one, Position(0, 0), 12) for one in (windows, windows, other))
    assert all(same(one.batch, two.batch) for one, two in zip(first, again, strict=True))
    assert not all(same(one.batch, two.batch) for one, two in zip(first, others, strict=True))


def test_the_stream_goes_on_from_every_position(windows):
    whole = taken(windows, Position(0, 0), 15)
    assert whole[-1].position.window >= 2
    for done in range(1, 14):
        following = taken(windows, whole[done - 1].position, 1)[0]
        assert same(following.batch, whole[done].batch)
        assert following.position == whole[done].position


def test_a_stream_without_short_episodes_is_refused(tokenizer):
    with pytest.raises(InputError, match="at most 3 tokens"):
        taken(Windows(episode, tokenizer, longest=3, tokens=200, seed=0, size=2), Position(0, 0), 1)


def test_windows_can_be_sent_to_another_process(tokenizer):
    windows = Windows(partial(training_episode, seed=3), tokenizer, longest=2048, tokens=9000, seed=3, size=4)
    sent = pickle.loads(pickle.dumps(windows))
    assert all(same(one, two) for one, two in zip(windows[2].batches, sent[2].batches, strict=True))


@pytest.mark.parametrize("place", DIGESTED[::9])
def test_the_digest_shows_a_change_anywhere_in_the_stream(place):
    changed = digest(lambda index: episode(index + (index == place)))
    assert changed != digest(episode) == digest(episode)


def test_the_digest_looks_into_every_part_of_the_stream():
    assert DIGESTED[0] == 0
    assert DIGESTED[1] in FIRST
    assert DIGESTED[-1] > FIRST.stop


@pytest.mark.integration
def test_a_worker_changes_nothing_about_the_batches(tokenizer):
    windows = Windows(partial(training_episode, seed=3), tokenizer, longest=2048, tokens=9000, seed=3, size=8)
    alone, helped = (taken(windows, Position(1, 1), 6, workers) for workers in (0, 1))
    assert all(same(one.batch, two.batch) for one, two in zip(alone, helped, strict=True))
    assert [one.position for one in alone] == [one.position for one in helped]
