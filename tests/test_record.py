"""What a run says that got no answer at all."""

from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import ContextLengthError

from tiltyard.config import resolve
from tiltyard.errors import JobError
from tiltyard.experiment import run
from tiltyard.models.lexical.model import LexicalEngine


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["optimizer=labeled_few_shot"], "try optimizer.k=4"),
        (["optimizer=labeled_few_shot", "optimizer.k=4"], "try optimizer.k=2"),
        (["optimizer=bootstrap"], "try optimizer.max_labeled_demos=4"),
        (["optimizer=labeled_few_shot", "optimizer.k=1"], ""),
        (["optimizer=none"], ""),
    ],
)
def test_prompts_that_are_too_long_get_fewer_demonstrations(
    composed: Any, in_folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], remedy: str
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise ContextLengthError("too long")

    monkeypatch.setattr(LexicalEngine, "generate", refuse)
    cfg = composed("model=lexical", "task=iot_tiny", "tracking=off", *overrides)
    with pytest.raises(JobError, match="all 5 examples failed, the first with: context: ") as caught:
        run(resolve(cfg), in_folder / "out")
    assert str(caught.value).endswith(
        "; ".join(["", *filter(None, [remedy]), "errors.jsonl in the run's folder has all"])
    )
    assert ("; try " in str(caught.value)) == bool(remedy)
    assert "\n" not in str(caught.value)
