"""A small world for tests of ACE: a house that writes a code before each amount, and models scripted for it.

The generator reads its prompt: it writes an amount as the house does only where the rule stands in its
instructions. The oracle states and curates such rules.
"""

import re
import threading
from dataclasses import dataclass, field

import dspy

from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.tasks.task import Score

CODES = {"salt": "USD", "iron": "EUR", "wool": "CHF", "corn": "SEK", "ivory": "GBP"}
"""What the house writes before amounts, by what is counted."""
SUBJECTS = ("salt", "iron", "wool", "corn")
"""What it counts every day."""
RULE = re.compile(r"Write (\w+) before (\w+)\.")


def rule(subject, code=None):
    return f"Write {code or CODES[subject]} before {subject}."


def example(number, subject):
    return dspy.Example(
        id=f"e{number}",
        question=f"How much {subject} is there?",
        context=f"{subject} {number}",
        answer=f"{CODES[subject]} {number}",
    ).with_inputs("question", "context")


def examples(count, *, first=10, subjects=SUBJECTS):
    return [example(first + number, subjects[number % len(subjects)]) for number in range(count)]


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    right = example.answer == prediction.answer
    return Score(float(right), "Correct." if right else f"Expected '{example.answer}'.")


def fields_of(request):
    """The inputs of the last question in DSPy's chat form."""
    text = message_text(request.messages[-1])
    found = re.split(r"\[\[ ## (\w+) ## \]\]\n", text.split("\n\nRespond with")[0])[1:]
    return {name: value.strip() for name, value in zip(found[::2], found[1::2], strict=True)}


def system_of(request):
    parts = request.system
    return parts if isinstance(parts, str) else "\n".join(getattr(part, "text", "") for part in parts or ())


def reply(**fields):
    parts = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return Completion("\n\n".join([*parts, "[[ ## completed ## ]]"]), prompt_tokens=50, completion_tokens=5)


class Generator(TextEngine):
    """Finds the amount in the context, and writes it by the first rule for it in its instructions."""

    max_concurrency = None

    def __init__(self, cites=False):
        self.cites = cites
        self.requests = []

    def generate(self, request):
        self.requests.append(request)
        subject, amount = fields_of(request)["context"].split()
        for id, text in re.findall(r"^\s*\[(k\d+)\] (.*)$", system_of(request), re.MULTILINE):
            found = RULE.fullmatch(text)
            if found and found[2] == subject:
                said = {"reasoning": f"By [{id}]."} if self.cites else {}
                return reply(**said, answer=f"{found[1]} {amount}")
        return reply(**({"reasoning": "No rule."} if self.cites else {}), answer=amount)


@dataclass
class Oracle(TextEngine):
    """Plays reflector and curator as one would wish them, and remembers what they were asked."""

    reflected: list = field(default_factory=list)
    curated: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __hash__(self):
        return id(self)

    def generate(self, request):
        asked = fields_of(request)
        if "lesson" in asked:
            with self.lock:
                self.curated.append((asked["playbook"], asked["lesson"]))
            return self.curate(asked, request)
        with self.lock:
            self.reflected.append(asked)
        return self.reflect(asked, request)

    def reflect(self, asked, request):
        subject = re.search(r"context: (\w+)", asked["task"])[1]
        if not asked["expected"]:
            return reply(lesson=f"Say how much {subject} there is in tonnes.")
        return reply(lesson=rule(subject, asked["expected"].split()[0]))

    def curate(self, asked, request):
        found = RULE.fullmatch(asked["lesson"])
        subject = found[2] if found else "general"
        for id, text in re.findall(r"\[(k\d+)\] (.*)", asked["playbook"]):
            if (other := RULE.fullmatch(text)) and other[2] == subject:
                return reply(operations=f"UPDATE {id}: {asked['lesson']}")
        return reply(operations=f"ADD {subject}: {asked['lesson']}")


def lm(engine, name="scripted"):
    return engine_lm(f"local/{name}", engine)
