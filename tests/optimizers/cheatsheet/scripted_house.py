"""A house that writes things in its own way, and an engine that reads its prompts and answers or curates."""

import re
import threading

import dspy

from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.tasks.task import Score

WAYS = {"sum": "USD {}", "weight": "{} kg", "date": "{}.11.", "share": "{} %"}
"""How the house writes what it is asked for."""
FIELD = re.compile(r"^\[\[ ## (\w+) ## \]\]\n(.*?)(?=^\[\[ ## |^Respond with|\Z)", re.DOTALL | re.MULTILINE)
RULE = re.compile(r"\W*write a (\w+) as: (.+)")


def rule(kind):
    return f"- write a {kind} as: {WAYS[kind].format('N')}"


def examples(*kinds, first=10):
    return [
        dspy.Example(
            id=f"{kind}-{number}", question=f"Write the {kind} {number}.", answer=WAYS[kind].format(number)
        ).with_inputs("question")
        for number, kind in enumerate(kinds, start=first)
    ]


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    right = prediction.answer == example.answer
    return Score(float(right), "Correct." if right else f"Expected '{example.answer}'.")


def fields_of(request):
    return {name: value.strip() for name, value in FIELD.findall(message_text(request.messages[-1]))}


def system_of(request):
    return "\n".join([str(request.system or ""), *(message_text(one) for one in request.messages[:-1])])


def reply(field, text):
    return f"[[ ## {field} ## ]]\n{text}\n\n[[ ## completed ## ]]"


class House(TextEngine):
    """Answers by the rules of the sheet that it is shown; curates from feedback, answers or its own wits."""

    def __init__(self):
        self.requests = []
        self.lock = threading.Lock()

    @property
    def answering(self):
        return [one for one in self.requests if "cheatsheet" not in outputs_of(one)]

    @property
    def curating(self):
        return [one for one in self.requests if "cheatsheet" in outputs_of(one)]

    def generate(self, request):
        with self.lock:
            self.requests.append(request)
        fields = fields_of(request)
        if "cheatsheet" in outputs_of(request):
            return Completion(self.curate(request, fields), 20, 10)
        return Completion(self.answer(request, fields), 10, 5)

    def answer(self, request, fields):
        kind, number = re.search(r"the (\w+) (\d+)", fields["question"]).groups()
        _, _, sheet = system_of(request).partition("Cheatsheet:\n")
        ways = dict(RULE.findall(sheet))
        return reply("answer", ways.get(kind, "N").strip().replace("N", number))

    def curate(self, request, fields):
        return reply("cheatsheet", "\n".join(dict.fromkeys(self.notes(fields))))

    def notes(self, fields):
        yield from filter(None, fields["previous"].splitlines())
        if "examples" in fields:
            kinds = re.findall(r"the (\w+) \d+", fields["examples"])
        elif "feedback" in fields:
            expected = re.search(r"Expected '(.*)'", fields["feedback"])
            kinds = [self.kind_of(expected[1])] if expected else []
        else:
            kinds = re.findall(r"the (\w+) \d+", fields["task"])
        yield from map(rule, kinds)

    @staticmethod
    def kind_of(written):
        form = re.sub(r"\d+", "{}", written, count=1)
        return next(kind for kind, way in WAYS.items() if way == form)


def outputs_of(request):
    asked = message_text(request.messages[-1]).rpartition("Respond with")[2]
    return re.findall(r"\[\[ ## (\w+) ## \]\]", asked)


def lm_of(engine, name="house"):
    return engine_lm(f"local/{name}", engine)


def student():
    return dspy.Predict("question -> answer")
