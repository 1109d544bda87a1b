"""How a playbook grew from step to step, from the history that a run keeps of it.

>>> growth(run.text("playbook_history.jsonl"))["entries"]
[(0, 0.0), (1, 1.0), (2, 1.0), (3, 2.0)]
"""

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.history import History, Operated, Pruned, Started
from tiltyard.optimizers.playbook.operations import Unreadable
from tiltyard.optimizers.playbook.playbook import Playbook


def growth(text: str) -> dict[str, list[tuple[int, float]]]:
    """Entries and tokens after each step.

    Args:
        text: A ``playbook_history.jsonl``.

    Returns:
        The curves ``entries`` and ``tokens`` over the number of steps that are done: 0 is before the first.
        They end with the last step of which the history tells anything.

    Raises:
        InputError: The text is no such history, or its events do not fit each other.
    """
    history = History.loads(text)
    first, *events = history
    assert isinstance(first, Started)  # a history makes sure of it
    playbook = Playbook(first.entries, next_number=first.next_number)
    sizes = {0: (len(playbook), playbook.tokens)}
    for event in events:
        assert not isinstance(event, Started)  # only the first one is
        # Events are applied one after the other: to rebuild each step on its own takes their square.
        try:
            match event:
                case Operated(outcome=outcome, operation=operation) if outcome.applied:
                    if not isinstance(operation, Unreadable):
                        playbook.apply(operation, step=event.step, sources=event.sources)
                case Pruned():
                    playbook.prune(event.id, event.reason, step=event.step)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"the playbook's history does not fit together at step {event.step} ({error})",
                "use it as the run wrote it",
            ) from error
        sizes[event.step + 1] = (len(playbook), playbook.tokens)
    return {what: _every_step(sizes, place) for place, what in enumerate(("entries", "tokens"))}


def _every_step(sizes: dict[int, tuple[int, int]], place: int) -> list[tuple[int, float]]:
    """The curve with the steps that changed nothing."""
    curve, size = [], sizes[0]
    for step in range(max(sizes) + 1):
        size = sizes.get(step, size)
        curve.append((step, float(size[place])))
    return curve
