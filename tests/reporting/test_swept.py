from collections.abc import Callable

import pytest

from tiltyard.reporting.swept import swept
from tiltyard.result import ExperimentResult

MakeResult = Callable[..., ExperimentResult]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([("optimizer=bootstrap", "optimizer.k=1"), ("optimizer=none", "optimizer.k=8")], {"k": ["1", "8"]}),
        ([("optimizer.k=8", "seed=0"), ("optimizer.k=8", "seed=1")], {}),
        ([("+limit=3",), ("++limit=5",)], {"limit": ["3", "5"]}),
        ([("a.k=1", "b.k=1"), ("a.k=2", "b.k=2")], {"a.k": ["1", "2"], "b.k": ["1", "2"]}),
        ([("a.k=1", "b.k=1"), ("a.k=2", "b.k=1")], {"k": ["1", "2"]}),
        ([("model.seed=1",), ("model.seed=2",)], {"model.seed": ["1", "2"]}),
        ([("task.filter='a=b'",), ()], {"filter": ["'a=b'", "–"]}),
        ([("~model.stop",), ("model.stop=x",)], {"stop": ["deleted", "x"]}),
        ([("limit=1", "limit=2"), ("limit=1", "limit=3")], {"limit": ["2", "3"]}),
        ([], {}),
    ],
)
def test_what_varies_is_found(
    make_result: MakeResult, jobs: list[tuple[str, ...]], expected: dict[str, list[str]]
) -> None:
    assert swept([make_result(overrides=overrides) for overrides in jobs]) == expected
