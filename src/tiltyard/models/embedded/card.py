"""Writes the embedded model's card: the text of ``card.md`` with what training and evaluation found.

>>> write_card(Path("trained/model"), Path("trained/model"), evaluation)
PosixPath('trained/model/README.md')
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tiltyard.files import write_text
from tiltyard.models.embedded.answering import BOTH, DEMONSTRATIONS, PLAIN, PLAYBOOK
from tiltyard.models.embedded.cases import CHOOSE
from tiltyard.models.embedded.conventions import PHRASINGS, RESERVED_PAIRS
from tiltyard.models.embedded.curriculum import (
    FIRST,
    FIRST_SETTINGS,
    FIRST_SHARE,
    PRACTICE,
    answering_share,
)
from tiltyard.models.embedded.held_out import REPHRASED, UNRELATED, WITHOUT, proportion
from tiltyard.models.embedded.held_out_chains import EMPTY, FILLED
from tiltyard.models.embedded.questions import KINDS

CARD_FILE = "README.md"
TRAINING_FILE = "training.json"

_COLUMNS = {
    PLAIN: "alone",
    UNRELATED: "other rules",
    WITHOUT: "without",
    PLAYBOOK: "playbook",
    DEMONSTRATIONS: "demonstrations",
    BOTH: "both",
}
_ROLES = {
    "curate/add": "curate: a new rule",
    "curate/update": "curate: an entry that the lesson corrects",
    "curate/none": "curate: nothing to do",
    EMPTY: "reflect, then curate: into an empty playbook",
    FILLED: "reflect, then curate: beside rules about other things",
    "propose/gepa": "propose: the prompt of GEPA",
    "propose/mipro": "propose: the signature of MIPRO",
}

Cells = Mapping[str, Mapping[str, Any]]


def write_card(model: Path, out: Path, evaluation: Mapping[str, Any]) -> Path:
    """Write the card of a model and return its path.

    Args:
        model: The folder with the weights; how they were trained is read from its ``training.json``, or that
            of the folder above.
        out: Where the card goes.
        evaluation: What ``evaluation.json`` holds.

    Raises:
        OSError: A file cannot be read or written.
    """
    text = files("tiltyard.models.embedded").joinpath("card.md").read_text(encoding="utf-8")
    card = Template(text).substitute(_places(model, evaluation))
    write_text(out / CARD_FILE, card)
    return out / CARD_FILE


def _places(model: Path, evaluation: Mapping[str, Any]) -> dict[str, str]:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    training = _training(model)
    found: Cells = evaluation["cells"]
    return {
        "architecture": _architecture(config),
        "parameters": f"{training['parameters']:,}" if training else "not recorded",
        "context": f"{config['max_position_embeddings']:,}",
        "vocabulary": f"{config['vocab_size']:,}",
        "megabytes": f"{evaluation['megabytes']:.1f}",
        "digest": str(evaluation["model"])[:16],
        "answering_share": f"{100 * answering_share(_places_read(training)):.0f}%",
        "reserved_pairs": ", ".join(f"*{'* with *'.join(sorted(pair))}*" for pair in RESERVED_PAIRS),
        "training": _training_text(training),
        "retrain": _retrain(training),
        "requests": f"{evaluation['requests']:,}",
        "unread": f"{evaluation['unread']:,}",
        "seconds": f"{evaluation['seconds']:.0f}",
        "ran_on": _ran_on(evaluation),
        "per_second": f"{evaluation['examples_per_second']:.0f}",
        "seed": str(evaluation["seed"]),
        "answers": _answers(found),
        "forms": _grid(found, "forms", PHRASINGS, (PLAYBOOK, REPHRASED, DEMONSTRATIONS), "convention"),
        "combinations": _grid(
            found,
            "combinations",
            [" + ".join(sorted(pair)) for pair in RESERVED_PAIRS],
            (PLAYBOOK, DEMONSTRATIONS, BOTH),
            "conventions",
        ),
        "reflect": _grid(found, "reflect", KINDS, ("exact", "some"), "kind"),
        "roles": _list(found, _ROLES),
        "judge": _judgements(found, evaluation["scores"]),
        "tatqa": _tatqa(evaluation.get("tatqa")),
    }


def _architecture(config: Mapping[str, Any]) -> str:
    normalised = ", normalised queries and keys" if config["architectures"][0].startswith("Qwen3") else ""
    return (
        f"{config['architectures'][0]}: {config['num_hidden_layers']} layers, width {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, rotary positions{normalised}"
    )


def _training(model: Path) -> dict[str, Any] | None:
    for folder in (model, model.parent):
        path = folder / TRAINING_FILE
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return None


def _places_read(training: Mapping[str, Any] | None) -> int:
    """How far into the stream of episodes a training came; those that were too long for it are counted.

    Where that is not recorded, as far as the first part of the curriculum goes.
    """
    read = int(training["episodes"]) + int(training.get("episodes_skipped", 0)) if training else 0
    return read or FIRST.stop


def _training_text(training: Mapping[str, Any] | None) -> str:
    if training is None:
        return "How these weights were trained is not recorded."
    losses, settings = training["losses"], training["settings"]
    short = ""
    if settings.get("short_steps"):
        longest = f"{settings['short_tokens']:,} tokens"
        short = f"; the first {settings['short_steps']:,} on episodes of at most {longest}"
    versions = ", ".join(f"{name} {number}" for name, number in training["versions"].items())
    settings_told = ", ".join(f"{_COLUMNS[name]} {weight}" for name, weight in FIRST_SETTINGS.items())
    read = _places_read(training)
    first = min(read, FIRST.stop)
    practised = ", ".join(
        f"{what} ({min(one.start for one in places):,} to {min(read, max(one.stop for one in places)):,})"
        for what, places in _practised(read).items()
    )
    rows = {
        "Steps": f"{training['steps']:,}{short}",
        "Optimizer": "Muon for the matrices inside the layers, AdamW for the rest",
        "Tokens": f"{training['tokens']:,} in {training['episodes']:,} episodes, each seen once",
        "Curriculum": f"dense practice, by the places of its episodes: {practised}; answers in "
        f"{100 * FIRST_SHARE:.0f}% of the other episodes up to {first:,} ({settings_told}); "
        "the mixture of all abilities else",
        "Learning rate": _learning_rate(settings),
        "Loss": _loss(settings),
        "Last loss": f"{losses['answer']:.4f} on answers, {losses['all']:.4f} on all tokens",
        "Time": _duration(training["seconds"]),
        "Hardware": f"{training['hardware']} (threads: {training['threads']})",
        "Seed": str(settings["seed"]),
        "Versions": versions,
    }
    if remark := training.get("remark"):
        rows["Remark"] = remark
    return _table(["", ""], [list(row) for row in rows.items()])


def _practised(read: int) -> dict[str, list[range]]:
    """What was practised in so many episodes, and at which places."""
    found: dict[str, list[range]] = {}
    for one in PRACTICE:
        if one.places.start < read:
            found.setdefault(one.of, []).append(one.places)
    return found


def _loss(settings: Mapping[str, Any]) -> str:
    """The loss, as far as the settings are recorded."""
    text = "cross entropy on answers that follow from the context"
    if "context_weight" in settings:
        text += f", plus {settings['context_weight']:g} times that on all tokens"
    if settings.get("context_steps", settings["steps"]) < settings["steps"]:
        text += f" ({settings['late_context_weight']:g} times after step {settings['context_steps']:,})"
    return text


def _learning_rate(settings: Mapping[str, Any]) -> str:
    """The learning rate's way, as far as the settings are recorded."""
    if not {"learning_rate", "warmup", "decay_steps"} <= settings.keys():
        return "not recorded"
    return (
        f"{settings['learning_rate']:g} after {settings['warmup']:,} steps; over the last "
        f"{settings['decay_steps']:,} along a line to zero"
    )


def _ran_on(evaluation: Mapping[str, Any]) -> str:
    """What the speed was measured on."""
    if "hardware" not in evaluation:
        return "a machine that is not recorded"
    return (
        f"{evaluation['hardware']} (device {evaluation['device']}, {evaluation['dtype']}, threads: "
        f"{evaluation['threads']}, {evaluation['requests_at_once']} requests at once)"
    )


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _retrain(training: Mapping[str, Any] | None) -> str:
    """The options of the command that trains these weights again, where they are not the defaults."""
    from tiltyard.models.embedded.settings import TrainingSettings

    settings = dict(training["settings"]) if training else {}
    defaults = vars(TrainingSettings())
    shown = [name for name, value in settings.items() if name == "seed" or value != defaults.get(name)]
    options = [f"--{name.replace('_', '-')} {settings[name]}" for name in shown]
    threads = training["threads"] if training else None
    if isinstance(threads, int):
        options.append(f"--threads {threads}")
    return " ".join(options)


def _answers(cells: Cells) -> str:
    head = ["kind", *_COLUMNS.values(), "each of"]
    rows = []
    for kind in (*KINDS, CHOOSE):
        found = [cells.get(f"answers/{kind}/{setting}") for setting in _COLUMNS]
        if found[0]:
            rows.append([kind, *(_percent(one) for one in found), str(found[0]["n"])])
    pooled = [_pooled(cells, "answers", setting) for setting in _COLUMNS]
    rows.append(["**all**", *(_with_interval(one) for one in pooled), str(pooled[0]["n"])])
    return _table(head, rows)


def _grid(cells: Cells, section: str, names: Iterable[str], columns: Sequence[str], title: str) -> str:
    rows = [
        [name, *(_with_interval(cells.get(f"{section}/{name}/{column}")) for column in columns)]
        for name in names
        if f"{section}/{name}/{columns[0]}" in cells
    ]
    if len(rows) > 2:
        rows.append(["**all**", *(_with_interval(_pooled(cells, section, column)) for column in columns)])
    return _table([title, *columns], rows)


def _list(cells: Cells, names: Mapping[str, str]) -> str:
    rows = [[title, _with_interval(cells[name]), str(cells[name]["n"])] for name, title in names.items()]
    return _table(["role", "right", "of"], rows)


def _judgements(cells: Cells, scores: Cells) -> str:
    rows = []
    for name, cell in cells.items():
        section, _, judgement = name.partition("/")
        if section == "judge":
            title = judgement.replace("/", ": ").replace("_", " ")
            rows.append([title, _with_interval(cell), str(cell["n"])])
    table = _table(["judgement", "right", "of"], rows)
    found = scores.get("judge/importance")
    if found is None:
        return table
    order = "undefined" if found["rank_correlation"] is None else f"{found['rank_correlation']:.2f}"
    return (
        f"{table}\n\nOver the {found['n']:,} of {found['asked']:,} answers that could be read, importance "
        f"scores are {found['mean_absolute_error']:.2f} off on average, of 1 to 10; "
        f"their rank correlation with what is right is {order}."
    )


def _tatqa(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "Not measured."
    share, low, high = (100 * found[name] for name in ("score", "low", "high"))
    return (
        "Real questions over real reports, asked through the whole pipeline (`task=tatqa`, "
        f"`{found['file']}`): exact match **{share:.1f}%** [{low:.1f}, {high:.1f}] of "
        f"{found['examples']:.0f} questions. {found['too_long']:.0f} did not fit into its context and "
        f"{found['unparsed']:.0f} answers could not be read; both count as wrong."
    )


def _pooled(cells: Cells, section: str, column: str) -> dict[str, Any]:
    first, last = f"{section}/", f"/{column}"
    own = [cell for name, cell in cells.items() if name.startswith(first) and name.endswith(last)]
    return proportion(sum(cell["correct"] for cell in own), sum(cell["n"] for cell in own))


def _percent(cell: Mapping[str, Any] | None) -> str:
    return f"{100 * cell['share']:.0f}" if cell else ""


def _with_interval(cell: Mapping[str, Any] | None) -> str:
    return f"{100 * cell['share']:.0f} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]" if cell else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])] if head[0] else ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
