"""Whatever goes wrong in a running batch, each request gets its answer or an error of its own."""

import weakref

import pytest
import torch
from small_models import ENDS, VOCABULARY

from tiltyard.models.batching import limits as limits_module
from tiltyard.models.batching.batch import RunningBatch
from tiltyard.models.batching.key_values import Lane, Segment
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.prefix_tree import PrefixTree
from tiltyard.models.batching.rows import BatchedRequest
from tiltyard.models.decoding import Decoding
from tiltyard.telemetry.inference import InferenceMeter

TRUNK = tuple((13 * at + 5) % VOCABULARY for at in range(60))
PROMPTS = [(*TRUNK, number, 3 * number + 1, *range(number)) for number in range(1, 6)]
AMPLE = {"batch_tokens": 10**6, "prefix_bytes": 10**8, "rows": 64, "step_tokens": 2048, "step_scores": 2**25}


def request(prompt, most=30, **options):
    return BatchedRequest(tuple(prompt), Decoding(max_tokens=most), **options)


@pytest.fixture
def start(built):
    """A function that starts a batch with limits; the batch says its limits and its meter."""
    model, layout, _ = built("llama")

    def begin(**changes):
        limits, meter = Limits(**{**AMPLE, **changes}), InferenceMeter()
        batch = RunningBatch(model, ENDS, layout, limits, meter)
        return batch, limits, meter

    return begin


@pytest.fixture
def forward(built, monkeypatch):
    """The model's forward, and a function that puts another in its place."""
    model, _, _ = built("llama")
    plain = model.forward

    def replace(instead):
        monkeypatch.setattr(model, "forward", instead)

    return plain, replace


@pytest.fixture(scope="module")
def alone(built):
    """What transformers' own generate writes."""
    _, _, reference = built("llama")
    found = {}

    def answer(prompt, most=30):
        if (prompt, most) not in found:
            ids = torch.tensor([prompt])
            output = reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=list(ENDS),
            )
            found[prompt, most] = output[0, len(prompt) :].tolist()
        return found[prompt, most]

    return answer


def run(batch, requests=(), most_turns=2000):
    for one in requests:
        batch.add(one)
    turns = 0
    with torch.inference_mode():
        while batch.busy:
            batch.turn()
            turns += 1
            assert turns < most_turns, "the batch goes round in circles"
    return turns


def tokens(one):
    return list(one.future.result(timeout=0).tokens)


def out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_rows_that_outgrow_their_lane_are_put_back_and_keep_their_answers(start, alone):
    batch, _, meter = start(batch_tokens=300, prefix_bytes=0)
    prompts = [tuple((7 * at + row) % VOCABULARY for at in range(30)) for row in (5, 12, 15, 19)]
    requests = [request(prompt, 125) for prompt in prompts]

    run(batch, requests)

    assert [tokens(one) for one in requests] == [alone(prompt, 125) for prompt in prompts]
    done = meter.snapshot()
    assert done.prefill_tokens > done.prompt_tokens == 120, "no row was put back"


def test_a_failing_pass_fails_only_those_in_it(start, forward, alone):
    plain, replace = forward
    batch, _, _ = start()
    early, late = request(PROMPTS[0]), request(PROMPTS[1])
    with torch.inference_mode():
        batch.add(early)
        for _ in range(5):
            batch.turn()
        replace(lambda *_, **__: (_ for _ in ()).throw(ValueError("a broken kernel")))
        batch.add(late)
        batch.turn()
        replace(plain)
    run(batch)

    assert tokens(early) == alone(PROMPTS[0])
    with pytest.raises(ValueError, match="a broken kernel"):
        late.future.result(timeout=0)


def test_after_a_failure_others_are_answered(start, forward, alone):
    plain, replace = forward
    batch, _, _ = start()
    replace(lambda *_, **__: (_ for _ in ()).throw(ValueError("a broken kernel")))
    first = [request(prompt) for prompt in PROMPTS]
    run(batch, first)
    replace(plain)
    second = [request(prompt) for prompt in PROMPTS]
    run(batch, second)

    assert all(isinstance(one.future.exception(timeout=0), ValueError) for one in first)
    assert [tokens(one) for one in second] == [alone(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("error", [ValueError("a broken kernel"), torch.OutOfMemoryError("out of memory")])
def test_an_error_that_is_kept_does_not_keep_the_tensors_of_its_pass(start, forward, error):
    _, replace = forward
    batch, _, _ = start()
    steps = []

    def broken(packed_step, **_):
        steps.append(weakref.ref(packed_step))
        raise error

    replace(broken)
    with torch.inference_mode():
        batch.add(request(PROMPTS[0]))
        batch.turn()

    assert error.__traceback__ is not None
    assert [step() for step in steps] == [None]


class Constraint:
    """Allows all tokens, and raises after some."""

    def __init__(self, after):
        self.left = after

    def restrict(self, scores):
        self.left -= 1
        if self.left < 0:
            raise ValueError("no token may come next")
        return scores

    def accept(self, token):
        pass


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_constraint_that_raises_fails_only_its_request(start, alone, after):
    batch, _, _ = start()
    bad = request(PROMPTS[0], constraint=Constraint(after))
    good = [request(prompt) for prompt in PROMPTS[1:]]

    run(batch, [bad, *good])

    with pytest.raises(ValueError, match="no token may come next"):
        bad.future.result(timeout=0)
    assert [tokens(one) for one in good] == [alone(prompt) for prompt in PROMPTS[1:]]


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_who_does_not_wait_any_more_leaves(start, alone, turns):
    batch, _, meter = start()
    gone, stays = request(PROMPTS[0], 90), request(PROMPTS[1])
    batch.add(gone)
    batch.add(stays)
    with torch.inference_mode():
        for _ in range(turns):
            batch.turn()
    gone.abandoned = True
    run(batch)

    assert not gone.future.done()
    assert tokens(stays) == alone(PROMPTS[1])
    assert meter.snapshot().decode_tokens < 90


@pytest.mark.parametrize(("owner", "name"), [(PrefixTree, "insert"), (PrefixTree, "_evict"), (Lane, "read")])
def test_a_failure_to_remember_costs_no_answer(start, alone, monkeypatch, caplog, owner, name):
    def broken(*_):
        raise ValueError("a tree in pieces")

    batch, _, _ = start()
    requests = [request(prompt) for prompt in PROMPTS]
    with monkeypatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr(owner, name, broken)
        run(batch, requests)
    assert [tokens(one) for one in requests] == [alone(prompt) for prompt in PROMPTS]
    told = [record.message for record in caplog.records if "could not be remembered" in record.message]
    assert len(told) == 1
    assert "ValueError: a tree in pieces" in told[0]

    again = [request(PROMPTS[0]), request(PROMPTS[0])]
    for one in again:
        run(batch, [one])
    assert [tokens(one) for one in again] == [alone(PROMPTS[0])] * 2
    assert again[-1].cached_tokens > 0


PLACES = {
    "Lane.add": (Lane, "add"),
    "Lane.own": (Lane, "own"),
    "Lane.remove": (Lane, "remove"),
    "Segment.part": (Segment, "part"),
    "PrefixTree.take": (PrefixTree, "take"),
    "PrefixTree.insert": (PrefixTree, "insert"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize("error", [MemoryError("no memory"), RuntimeError("device-side assert")])
def test_no_request_is_lost_wherever_it_fails(start, alone, monkeypatch, place, at, error):
    owner, name = PLACES[place]
    plain, calls = getattr(owner, name), []

    def sometimes(*args, **kwargs):
        calls.append(args)
        if len(calls) - 1 == at:
            raise error
        return plain(*args, **kwargs)

    batch, _, _ = start()
    first = [request(prompt, 70) for prompt in PROMPTS[:3]]
    run(batch, first)
    monkeypatch.setattr(owner, name, sometimes)
    rest = [request(prompt, 70) for prompt in PROMPTS[3:]]
    rest += [request((*PROMPTS[0][:40], 9, 9), 70), request(range(50, 80), 70)]
    run(batch, rest)

    for one in rest:
        if one.future.exception(timeout=0) is None:
            assert tokens(one) == alone(one.prompt, 70)
        else:
            assert one.future.exception() is error
    if isinstance(error, MemoryError):
        assert all(one.future.exception() is None for one in rest)


def test_memory_for_one_row_only_answers_one_after_the_other(start, forward, alone):
    plain, replace = forward

    def small(*args, packed_step, **inputs):
        rows = sum(group.rows for group in packed_step.groups)
        return plain(*args, packed_step=packed_step, **inputs) if rows == 1 else out_of_memory()

    replace(small)
    batch, limits, _ = start()
    requests = [request(prompt) for prompt in PROMPTS]
    run(batch, requests)

    assert [tokens(one) for one in requests] == [alone(prompt) for prompt in PROMPTS]
    assert limits.batch_tokens < 200


def test_memory_that_never_suffices_is_an_error_for_each(start, forward):
    _, replace = forward
    replace(out_of_memory)
    batch, _, _ = start()
    requests = [request(prompt) for prompt in PROMPTS]

    run(batch, requests, most_turns=100)

    for one in requests:
        with pytest.raises(MemoryError, match=r"one request of \d+ tokens"):
            one.future.result(timeout=0)


def test_no_memory_to_place_a_request_is_an_error_for_it(start, monkeypatch, alone):
    plain = Lane.add

    def add(lane, row, beginning=()):
        return out_of_memory() if len(row.tokens) > 100 else plain(lane, row, beginning)

    monkeypatch.setattr(Lane, "add", add)
    batch, _, _ = start()
    big, small = request(range(110), 4), request(PROMPTS[0])
    run(batch, [big, small], most_turns=200)

    with pytest.raises(MemoryError, match="one request of 110 tokens"):
        big.future.result(timeout=0)
    assert tokens(small) == alone(PROMPTS[0])


def test_a_single_prompt_is_read_in_smaller_steps(start, forward, alone, monkeypatch):
    plain, replace = forward
    monkeypatch.setattr(limits_module, "SMALLEST_STEP_TOKENS", 8)

    def small(*args, input_ids, **inputs):
        return plain(*args, input_ids=input_ids, **inputs) if input_ids.shape[1] <= 20 else out_of_memory()

    replace(small)
    batch, limits, _ = start(step_tokens=64)
    one = request(PROMPTS[0])
    run(batch, [one])

    assert tokens(one) == alone(PROMPTS[0])
    assert (limits.step_tokens, limits.batch_tokens) == (16, 10**6)


def test_what_is_shared_is_read_once(start):
    batch, _, meter = start()

    run(batch, [request(prompt) for prompt in PROMPTS])

    done = meter.snapshot()
    own = sum(len(prompt) - len(TRUNK) for prompt in PROMPTS)
    assert done.prefill_tokens == len(TRUNK) + own
    # Read once, on the account of one of them.
    assert done.cached_tokens == len(TRUNK) * (len(PROMPTS) - 1)
    assert done.cached_tokens + done.prefill_tokens == done.prompt_tokens


def test_who_does_not_share_reads_all_and_leaves_nothing(start, alone):
    batch, _, meter = start()
    requests = [request(prompt, share_prefix=False) for prompt in PROMPTS]

    run(batch, requests)
    after = request(PROMPTS[0])
    run(batch, [after])

    assert [one.cached_tokens for one in (*requests, after)] == [0] * 6
    assert meter.snapshot().cached_tokens == 0
    assert tokens(after) == alone(PROMPTS[0])


def test_a_beginning_that_is_forgotten_while_others_read_on_from_it_is_kept_whole_again(start, built, alone):
    _, layout, _ = built("llama")
    batch, _, _ = start(prefix_bytes=100 * layout.token_bytes, step_tokens=7)
    known, other = TRUNK[:40], tuple(range(60, 115))
    longer = (*TRUNK, *range(30, 60))
    run(batch, [request(known, 1)])
    batch.add(request(longer, 1))  # reads on from what is known, in small steps
    with torch.inference_mode():
        batch.turn()
    batch._tree.insert(other * 2, lambda start, end: Segment(*_blank(layout, end - start)))
    assert batch._tree.known(known) == 0, "it was not forgotten"
    run(batch)

    again = [request((*longer, 8)), request((*longer[:70], 9))]
    run(batch, again)

    assert all(one.cached_tokens for one in again)
    assert [tokens(one) for one in again] == [alone(one.prompt) for one in again]


def _blank(layout, length):
    parts = zip(*layout.layers, strict=True)
    return [[like.new_zeros(like.shape[0], length, like.shape[-1]) for like in part] for part in parts]


def test_giving_up_answers_everybody(start, alone):
    batch, _, _ = start(rows=2)
    requests = [request(prompt) for prompt in PROMPTS]
    for one in requests:
        batch.add(one)
    with torch.inference_mode():
        batch.turn()
        batch.turn()
    batch.give_up(SystemError("over"))

    assert not batch.busy
    assert all(isinstance(one.future.exception(timeout=0), SystemError) for one in requests)
    again = request(PROMPTS[0])
    run(batch, [again])
    assert tokens(again) == alone(PROMPTS[0])
