"""How the examples of a run are asked, as tags: program, demonstrations, prompt format, and the score.

>>> asked(cfg.task, task, compiled.program, lm)
{'tiltyard.program': 'dspy.ChainOfThought', 'tiltyard.demos': '4', 'tiltyard.adapter': 'ChatAdapter', …}
"""

from collections.abc import Mapping
from typing import Any

import dspy

from tiltyard.models.engine import adapter, provenance
from tiltyard.signatures import TARGET
from tiltyard.tasks.task import Task

UNKNOWN = "unknown"
"""The chat template of a model behind a server, which applies its own."""


def asked(node: Mapping[str, Any], task: Task, program: dspy.Module, lm: dspy.LM) -> dict[str, str]:
    """The tags of a run that say how its examples are asked and what its score is.

    * ``tiltyard.program``: the technique, such as ``dspy.Predict``.
    * ``tiltyard.demos``: how many demonstrations a call shows; of several predictors, the most.
    * ``tiltyard.adapter``: what writes the prompt and reads the reply.
    * ``tiltyard.chat_template``: ``tokenizer`` with a digest, ``none`` for a plain layout, or ``unknown``
      where a server applies its own.
    * ``tiltyard.metric``: what the score is, where the task says.

    Args:
        node: The task's node of the config.
        task: The task.
        program: The compiled program.
        lm: The run's model.
    """
    program_node = node.get("program")
    technique = program_node.get(TARGET) if isinstance(program_node, Mapping) else None
    facts = provenance(lm)
    template = facts.get("chat_template", UNKNOWN)
    digest = facts.get("chat_template_digest")
    tags = {
        "tiltyard.program": str(technique or UNKNOWN),
        "tiltyard.demos": str(demonstrations(program)),
        "tiltyard.adapter": type(adapter(lm) or dspy.settings.adapter or dspy.ChatAdapter()).__name__,
        "tiltyard.chat_template": f"{template} {digest}" if digest else template,
    }
    primary = getattr(task, "primary", None)
    return tags if primary is None else {**tags, "tiltyard.metric": str(primary)}


def demonstrations(program: dspy.Module) -> int:
    """How many demonstrations a call of the program shows; of several predictors, the most.

    A program that chooses them for each call says so by a parameter with ``k``, and shows that many of those
    that it knows.
    """
    chosen = (
        min(int(parameter.k), len(parameter.known))
        for _, parameter in program.named_parameters()
        if hasattr(parameter, "k") and hasattr(parameter, "known")
    )
    shown = (len(predictor.demos) for _, predictor in program.named_predictors())
    return max((*shown, *chosen), default=0)
