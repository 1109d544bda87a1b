"""Lets any number of threads ask one model at once: their requests join the batch that is running.

>>> batcher = Batcher(model, tokenizer, layout=examine(model), limits=limits, meter=InferenceMeter())
>>> batcher.complete([1, 4, 17], Decoding(max_tokens=32))
Decoded(text=' 42', tokens=3, finish_reason='stop', cached_tokens=0)
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tiltyard.models.batching.batch import RunningBatch
from tiltyard.models.batching.key_values import Layout
from tiltyard.models.batching.limits import Limits
from tiltyard.models.batching.rows import BatchedRequest, Written
from tiltyard.models.batching.stop_strings import StopStrings
from tiltyard.models.batching.token_rules import token_rules
from tiltyard.models.decoding import Decoded, Decoding, decoded, end_tokens
from tiltyard.models.threads import use_threads
from tiltyard.telemetry.inference import InferenceMeter

if TYPE_CHECKING:
    from tiltyard.models.constraints import TokenConstraint

LINGER_SECONDS = 0.5
"""How long the thread that works on the batch stays when nothing is left to do."""
ENDING = "the model takes no requests any more: the interpreter is ending"


class Batcher:
    """The door to a running batch.

    A thread of its own works while there is work. A request that finds nothing running starts at once;
    others join between two passes through the model. The thread ends soon after the last request, so that
    nothing holds on to a model that is not used.

    Args:
        model: A transformers model that takes packed steps.
        tokenizer: Its tokenizer.
        layout: Its keys and values.
        limits: What fits into memory.
        meter: Where the work is counted.
        threads: CPU threads of one operation; None is torch's default.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        layout: Layout,
        limits: Limits,
        meter: InferenceMeter,
        threads: int | None = None,
    ) -> None:
        self._generation_config = model.generation_config
        self._device = model.device
        self._tokenizer = tokenizer
        self._ends = end_tokens(model, tokenizer)
        self._batch = RunningBatch(model, self._ends, layout, limits, meter)
        self._threads = threads
        self._door = _Door()
        # When nobody can ask any more, and before the interpreter ends, the thread ends too.
        weakref.finalize(self, self._door.close)

    def complete(
        self,
        prompt: Sequence[int],
        how: Decoding,
        constraint: "TokenConstraint | None" = None,
        *,
        share_prefix: bool = True,
    ) -> Decoded:
        """Complete a prompt. Any number of threads may wait at once.

        Args:
            prompt: Token ids, at least one.
            how: The settings. Prompt and ``max_tokens`` together must fit into the context window.
            constraint: What the completion has to look like.
            share_prefix: Whether to use, and to leave behind, keys and values of the prompt's beginning.

        Raises:
            MemoryError: Memory does not suffice for this request alone.
            Exception: Whatever the model raised in a pass with this request.
        """
        request = BatchedRequest(
            tuple(prompt),
            how,
            share_prefix=share_prefix,
            rules=token_rules(self._generation_config, self._ends, len(prompt), self._device),
            constraint=constraint,
            stops=StopStrings(self._tokenizer, how.stop) if how.stop else None,
        )
        written = self._wait_for(request)
        return decoded(self._tokenizer, written.tokens, how.stop, self._ends, written.cached_tokens)

    def _wait_for(self, request: BatchedRequest) -> Written:
        self._door.enter(request, lambda: _thread(self._door, weakref.ref(self), self._threads))
        try:
            return request.future.result()
        finally:
            request.abandoned = True  # where the wait was interrupted, nobody reads the rest

    def turn(self, arrived: Iterable[BatchedRequest]) -> bool:
        """Take requests in and make one pass, for the batcher's own thread; False when all is done."""
        for request in arrived:
            self._batch.add(request)
        if self._batch.busy:
            self._batch.turn()
        return self._batch.busy

    def give_up(self, error: BaseException) -> None:
        """Answer everybody with an error, for the batcher's own thread."""
        self._batch.give_up(error)


class _Door:
    """Where requests come in. The working thread waits here, and holds no model while it waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrived: deque[BatchedRequest] = deque()
        self._worker: threading.Thread | None = None
        self._closed = False

    def enter(self, request: BatchedRequest, worker: Callable[[], threading.Thread]) -> None:
        """Leave a request to the working thread, which is started where there is none.

        Raises:
            RuntimeError: The interpreter is ending, or no thread can be started.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError(ENDING)
            # A thread may also be gone without a word, where it could not start or the process was forked.
            if self._worker is None or not self._worker.is_alive():
                self._worker = worker()
                self._worker.start()
            self._arrived.append(request)
            self._changed.notify()

    def arrivals(self) -> list[BatchedRequest]:
        """The requests that came in since."""
        with self._changed:
            found = list(self._arrived)
            self._arrived.clear()
            return found

    def wait(self) -> bool:
        """Wait for a request; False when none came for a while, and the working thread has to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._closed, LINGER_SECONDS)
            if not self._arrived:
                self._worker = None
                return False
            return True

    def serves(self, worker: threading.Thread) -> bool:
        """Whether a thread is still the working one."""
        with self._changed:
            return self._worker is worker

    def leave(self, error: BaseException) -> None:
        """End the working thread's service; requests that it leaves behind are answered with an error."""
        with self._changed:
            self._worker = None
            for request in self._arrived:
                request.fail(error)
            self._arrived.clear()

    @property
    def closed(self) -> bool:
        """Whether the working thread has to end after its pass."""
        return self._closed

    def close(self) -> None:
        """Take no more requests, and wait for the working thread to end its pass."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            worker = self._worker
        # Only at the interpreter's end is there a pass to wait for: threads that it cuts off there, in the
        # middle of torch, abort the process.
        if worker is not None and worker.is_alive() and worker is not threading.current_thread():
            worker.join()


def _thread(door: _Door, asked: "weakref.ref[Batcher]", threads: int | None) -> threading.Thread:
    return threading.Thread(target=_work, args=(door, asked, threads), name="inference", daemon=True)


def _work(door: _Door, asked: "weakref.ref[Batcher]", threads: int | None) -> None:
    batcher: Batcher | None = None
    end: BaseException = RuntimeError(ENDING)
    try:
        use_threads(threads)
        with torch.inference_mode():
            while not door.closed and (batcher := asked()) is not None:
                busy = batcher.turn(door.arrivals())
                batcher = None  # a model that is let go while nothing is to do goes at once
                if not busy and not door.wait():
                    return
    except BaseException as error:
        end = error
        raise
    finally:
        # Whatever ended it, nobody waits for a thread that is gone.
        if door.serves(threading.current_thread()):
            if (batcher := asked()) is not None:
                batcher.give_up(end)
            door.leave(end)
