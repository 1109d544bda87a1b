"""Tells people what is in a saved program: its playbook, instructions and demonstrations, and its origin."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import dspy

from tiltyard.artifacts.metadata import ProgramMetadata, written

USE = """\
## Use

```python
from pathlib import Path

import dspy
from tiltyard.artifacts.program import load_program

program = load_program(Path("program"))
with dspy.context(lm=dspy.LM("…")):
    print(program({arguments}))
```

It is an MLflow model too: `mlflow.pyfunc.load_model("program").predict(data_frame)`.
"""


def program_readme(
    metadata: ProgramMetadata, state: Mapping[str, Any], program: dspy.Module | None = None
) -> str:
    """A program's README in Markdown.

    Args:
        metadata: The program's metadata.
        state: DSPy's state of the program.
        program: The program, for what its wrappers carry: a playbook, a cheatsheet.
    """
    score = metadata.score
    versions = ", ".join(f"{name} {number}" for name, number in metadata.versions.items())
    inputs = [field.name for field in metadata.signature.fields if field.kind == "input"]
    parts = [
        f"# {metadata.task}: a program for {metadata.model}, by {metadata.optimizer}\n",
        f"- Score {score.value:.3f} (95% interval {score.low:.3f} to {score.high:.3f}) on the "
        f"{score.split} split, seed {metadata.seed}",
        f"- Built by `{metadata.program.get('_target_')}` from `{written(metadata.signature.fields)}`",
        *(f"- Inside `{wrapper.partition(':')[2]}`" for wrapper in reversed(metadata.wrappers)),
        f"- Saved {metadata.created:%Y-%m-%d %H:%M} UTC under {versions}",
        f"- Run fingerprint `{metadata.fingerprint}`\n",
        *(_carried(program) if program is not None else ()),
        *_nearest(state),
        # DSPy's state of a program that is itself a predictor has no level of names.
        *(_predictor(name, state.get(name, state), metadata) for name in metadata.predictors),
        USE.replace("{arguments}", ", ".join(f'{name}="…"' for name in inputs)),
    ]
    return "\n".join(parts)


def _carried(program: dspy.Module) -> Iterator[str]:
    """What the wrappers around a program carry for its prompts, the outermost first."""
    playbook, sheet = getattr(program, "playbook", None), getattr(program, "sheet", None)
    if callable(rendered := getattr(playbook, "rendered", None)):
        yield f"## Playbook\n\n{_fenced(rendered() or 'It is empty.')}"
    if isinstance(sheet, str):
        yield f"## Cheatsheet\n\n{_fenced(sheet or 'It is empty.')}"
    if isinstance(inner := getattr(program, "program", None), dspy.Module):
        yield from _carried(inner)


def _nearest(state: Mapping[str, Any]) -> Iterator[str]:
    """How many demonstrations a program that looks them up for each question shows, and of how many."""
    if isinstance(nearest := state.get("nearest"), Mapping):
        yield (
            f"- Each question is shown the {nearest['k']} most similar of {len(nearest['known'])} answered "
            "examples\n"
        )


def _predictor(name: str, state: Mapping[str, Any], metadata: ProgramMetadata) -> str:
    demonstrations = state["demos"]
    shown = [field.name for field in metadata.predictors[name]]
    lines = [
        f"## Predictor `{name}`\n",
        "Instructions:\n",
        _fenced(state["signature"]["instructions"]),
        f"Demonstrations: {len(demonstrations) or 'none'}\n",
    ]
    for number, demonstration in enumerate(demonstrations, start=1):
        lines += [
            f"### Demonstration {number}\n",
            *(f"**{field}**\n\n{_fenced(demonstration[field])}" for field in shown if field in demonstration),
        ]
    return "\n".join(lines)


def _fenced(value: Any) -> str:
    """A value as a code block that no content can end early."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}\n"
