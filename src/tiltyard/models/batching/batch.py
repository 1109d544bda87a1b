"""The running batch of one model: takes requests in, reads, writes, and lets finished ones go.

One thread at a time may use it; :class:`~tiltyard.models.batching.batcher.Batcher` sees to that.
"""

import logging
import time
import traceback
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Any

import torch

from tiltyard.models.batching.admission import Room, admit
from tiltyard.models.batching.attention import LONG, keeps_scores
from tiltyard.models.batching.key_values import Layout, Segment
from tiltyard.models.batching.lanes import Lanes
from tiltyard.models.batching.limits import Limits, is_out_of_memory
from tiltyard.models.batching.packing import pack
from tiltyard.models.batching.prefix_tree import PrefixTree
from tiltyard.models.batching.rows import BatchedRequest, Row, Written
from tiltyard.models.batching.support import forward
from tiltyard.telemetry.inference import InferenceMeter

logger = logging.getLogger(__name__)

FIRST_GUESS = 64
"""Tokens that an answer is expected to have before any is finished."""


class RunningBatch:
    """Requests that wait, read and write.

    Args:
        model: A transformers model that takes packed steps.
        ends: The tokens that end a completion.
        layout: The model's keys and values.
        limits: What fits; it shrinks when memory runs out.
        meter: Where the work is counted.
    """

    def __init__(
        self, model: Any, ends: tuple[int, ...], layout: Layout, limits: Limits, meter: InferenceMeter
    ) -> None:
        self._model = model
        self._ends = frozenset(ends)
        self._layout = layout
        self._limits = limits
        self._meter = meter
        self._heads = model.config.get_text_config(decoder=True).num_attention_heads
        self._keeps_scores = keeps_scores(model)
        self._tree = PrefixTree(limits.prefix_bytes)
        self._waiting: deque[BatchedRequest] = deque()
        self._rows: list[Row] = []
        self._lanes = Lanes(layout)
        self._answer_tokens = float(FIRST_GUESS)
        self._told = False

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._rows)

    def add(self, request: BatchedRequest) -> None:
        """Put a request into the queue."""
        self._waiting.append(request)

    def turn(self) -> None:
        """Let requests in, and make one pass through the model. Failures go to the requests concerned."""
        concerned: Collection[Row] = ()
        try:
            self._drop_abandoned()
            self._let_in()
            if self._rows:
                concerned = counts = self._next_tokens()
                self._pass(counts)
        except Exception as error:  # whatever a model raises belongs to those who asked it
            _let_go_of_tensors(error)
            if is_out_of_memory(error):
                self._start_smaller(error)
            else:
                self._fail(error, concerned)

    def give_up(self, error: BaseException) -> None:
        """Answer everybody with an error, and forget everything."""
        asked = [row.request for row in self._rows if row.request is not None]
        for request in (*asked, *self._waiting):
            request.fail(error)
        self._rows.clear()
        self._waiting.clear()
        self._lanes.clear()
        self._tree = PrefixTree(self._limits.prefix_bytes)

    # Joining and leaving

    def _drop_abandoned(self) -> None:
        for row in [row for row in self._rows if row.request is not None and row.request.abandoned]:
            self._remove(row)
        if any(request.abandoned for request in self._waiting):
            self._waiting = deque(request for request in self._waiting if not request.abandoned)

    def _let_in(self) -> None:
        if not self._waiting or len(self._rows) >= self._limits.rows:
            return
        being_read = [
            row.tokens
            for row in self._rows
            if row.reading and (row.request is None or row.request.share_prefix)
        ]
        kept = self._limits.prefix_bytes_now(self._tree.used_bytes, self._model.device)
        room = Room(
            rows=self._limits.rows - len(self._rows),
            tokens=self._limits.tokens_now(
                self._lanes.allocated_tokens, self._layout.token_bytes, self._model.device
            ),
            empty=not self._rows,
            answer_tokens=self._expected_answer(),
            beginning_tokens=kept // self._layout.token_bytes,
        )
        admission = admit(self._waiting, being_read, self._tree, room)
        joining = deque(admission.requests)
        try:
            known = {
                request: self._tree.take(request.tokens[:-1]) if request.share_prefix else []
                for request in joining
            }
            users = Counter(segment for path in known.values() for segment in path)
            users.update(self._lanes.users())
            for tokens, request in admission.beginnings:
                self._place(Row(list(tokens), reads_for=request), self._tree.take(tokens), users, 0)
            while joining:
                request = joining.popleft()
                self._join(request, known[request], users)
        except Exception:
            self._waiting.extendleft(reversed(joining))
            raise

    def _join(self, request: BatchedRequest, path: list[Segment], users: Mapping[Segment, int]) -> None:
        left = request.how.max_tokens - len(request.written)
        row = Row(list(request.tokens), request=request)
        self._place(row, path, users, min(left, self._expected_answer()))
        if request.cached_tokens is None:
            # What was read for it in a shared beginning was not spared.
            request.cached_tokens = max(0, sum(segment.length for segment in path) - request.read_ahead)
            self._meter.count_prompt(len(request.prompt), request.cached_tokens)

    def _place(self, row: Row, path: list[Segment], users: Mapping[Segment, int], answer: int) -> None:
        self._rows.append(row)  # first, so that no request is lost when there is no memory for its place
        self._lanes.place(row, path, users, answer)
        row.known = row.context

    def _remove(self, row: Row) -> None:
        self._rows.remove(row)
        self._lanes.leave(row)

    # Working

    def _next_tokens(self) -> dict[Row, int]:
        """How many tokens each row reads in the next pass: prompts first, so that all write together."""
        reading = [row for row in self._rows if row.reading]
        if not reading:
            self._make_room_to_write()
            return dict.fromkeys(self._rows, 1)
        counts: dict[Row, int] = {}
        tokens, scores = self._limits.step_tokens, self._limits.step_scores
        for row in reading:
            # Long readings do not hold their scores in memory, see attention.LONG.
            holds = self._keeps_scores or row.pending < LONG
            width = self._heads * len(row.tokens) if holds else 0
            most = min(tokens, scores // width if width else tokens)
            if most < 1 and counts:
                break
            counts[row] = count = min(row.pending, max(most, 1))
            tokens -= count
            scores -= count * width
        return counts

    def _make_room_to_write(self) -> None:
        for row in list(self._rows):
            if row.lane is not None and row.stored + 1 > row.lane.capacity:
                self._lanes.widen(row, row.stored + 1)
                while self._held_tokens() > self._limits.batch_tokens and len(self._rows) > 1:
                    self._put_back(self._rows[-1])

    def _put_back(self, row: Row) -> None:
        """Take a row out of the batch for now; what it wrote stays with its request."""
        if row.request is not None:
            self._waiting.appendleft(row.request)
        self._remove(row)

    def _pass(self, counts: Mapping[Row, int]) -> None:
        started = time.perf_counter()
        reading = any(row.reading for row in counts)
        step = pack(counts, self._model.device)
        logits = forward(self._model, step)
        likeliest = logits.argmax(dim=-1).tolist()
        for row, count in counts.items():
            row.stored += count
        for index, row in enumerate(step.finished):
            if row.reading:
                self._keep(row)
            if row.request is None:
                row.account_for_reading()
                self._remove(row)
            else:
                row.reading = False
                self._write(row, row.request, likeliest[index], logits[index])
        seconds = time.perf_counter() - started
        if reading:
            self._meter.count_prefill(sum(counts.values()), seconds)
        else:
            self._meter.count_decode(len(counts), seconds)

    def _keep(self, row: Row) -> None:
        """Remember what a row has read, where others may use it. A failure to do so costs no answer."""
        lane, slot = row.lane, row.slot
        assert lane is not None
        if not row.shared:
            return
        tree = self._tree
        prompt = tuple(row.tokens) if row.request is None else row.request.prompt
        try:
            tree.budget_bytes = self._limits.prefix_bytes_now(tree.used_bytes, self._model.device)
            # What the row attends to may have been forgotten meanwhile, so the chain may be read as well.
            tree.insert(prompt, lambda start, end: lane.read(slot, start, end))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            if not self._told:  # it may fail for each prompt
                what = type(error).__name__
                logger.warning("a prompt could not be remembered for the next ones (%s: %s)", what, error)
            self._told = True
            # A tree that was left in the middle of a change would give later prompts wrong beginnings.
            self._tree = PrefixTree(self._limits.prefix_bytes)

    def _write(self, row: Row, request: BatchedRequest, likeliest: int, logits: torch.Tensor) -> None:
        """Add the next token to a completion, and let the request go when that was the last."""
        first = request.first_token is None
        try:
            token = likeliest if request.plain else request.choose(logits)
            over = request.write(token, self._ends)
        except Exception as error:  # a constraint that cannot be kept concerns this request alone
            request.fail(error)
            self._remove(row)
            return
        row.tokens.append(token)
        if first and request.first_token is not None:
            self._meter.count_first_token(1000 * (request.first_token - request.submitted))
        if over:
            self._answer_tokens += 0.1 * (len(request.written) - self._answer_tokens)
            request.future.set_result(Written(tuple(request.written), request.cached_tokens or 0))
            self._remove(row)

    # When something goes wrong

    def _start_smaller(self, error: Exception) -> None:
        """After memory ran out: everything goes back into the queue, and fewer come out of it.

        A single request reads in smaller steps, until they cannot be smaller.
        """
        asked = [row.request for row in self._rows if row.request is not None]
        alone = len(self._rows) <= 1
        held = self._held_tokens()
        self._rows.clear()
        self._lanes.clear()
        self._waiting.extendleft(reversed(asked))
        if not alone:
            self._limits.shrink(held)
        elif not self._limits.shrink_step() and self._waiting:
            request = self._waiting.popleft()
            tokens = len(request.tokens)
            request.fail(MemoryError(f"memory does not suffice for one request of {tokens} tokens ({error})"))
        self._tree = PrefixTree(self._limits.prefix_bytes)
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _fail(self, error: Exception, concerned: Collection[Row]) -> None:
        """Answer the rows of a pass with its error, or those that could not be given a place, or else all."""
        rows = [row for row in self._rows if row in concerned or row.lane is None] or list(self._rows)
        asked = [row.request for row in rows if row.request is not None]
        if not rows:
            asked, self._waiting = list(self._waiting), deque()
        for request in asked:
            request.fail(error)
        if not asked:
            logger.warning("reading a shared beginning failed (%s: %s)", type(error).__name__, error)
        for row in rows:
            self._remove(row)

    def _held_tokens(self) -> int:
        return sum(row.lane.capacity for row in self._rows if row.lane is not None)

    def _expected_answer(self) -> int:
        return int(1.25 * self._answer_tokens) + 1


def _let_go_of_tensors(error: Exception) -> None:
    """Empty the frames of an error's traceback: whoever keeps the error would keep the pass and the model."""
    where = error.__traceback__
    traceback.clear_frames(where)
    # The first frame is still running, so it cannot be emptied.
    error.__traceback__ = where and where.tb_next
