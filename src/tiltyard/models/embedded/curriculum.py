"""What the embedded model is trained on: a stream of episodes, each decided by its place and the seed.

>>> training_episode(0, seed=0).ability
'dose/playbook'
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from typing import NamedTuple, TypeAlias

import dspy
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from tiltyard.models.embedded import judging
from tiltyard.models.embedded.adapting import MIPRO, curating, proposing, reflecting
from tiltyard.models.embedded.answering import DEMONSTRATIONS, PLAIN, PLAYBOOK, answering
from tiltyard.models.embedded.applying import applying, asking_by_rules
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Conversation, Episode, PromptEpisode
from tiltyard.models.embedded.recalling import (
    COMPARED,
    LOOKED_UP,
    asking_in_a_row,
    copying,
    looking_up,
    recalling,
)
from tiltyard.programs.panel import AssessChannelPreference, EvaluateCreative, SimulatePurchaseDecision
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer
from tiltyard.programs.qa import AnswerQuestion, ChooseOption
from tiltyard.programs.town import ReflectOnMemories, ScoreImportance

TrainingEpisode: TypeAlias = Episode | PromptEpisode | Conversation

SIGNATURES: tuple[type[dspy.Signature], ...] = (
    AnswerQuestion,
    ChooseOption,
    dspy.ChainOfThought(AnswerQuestion).predict.signature,
    dspy.ChainOfThought(ChooseOption).predict.signature,
    ReflectOnAnswer,
    CuratePlaybook,
    MIPRO,
    ScoreImportance,
    ReflectOnMemories,
    EvaluateCreative,
    AssessChannelPreference,
    SimulatePurchaseDecision,
)
"""What the model knows the layout of."""

MIXTURE: dict[str, tuple[float, Callable[[Draw], TrainingEpisode]]] = {
    "answer": (0.63, answering),
    "reflect": (0.11, reflecting),
    "curate": (0.09, curating),
    "propose": (0.06, proposing),
    "importance": (0.04, judging.importance),
    "town reflection": (0.01, judging.town_reflection),
    "creative": (0.02, judging.creative),
    "channel": (0.015, judging.channel),
    "purchase": (0.025, judging.purchase),
}
"""Each ability's share of the episodes, and where they come from."""


class Practice(NamedTuple):
    """A part of the stream in which many episodes practise one thing, with nothing around it."""

    of: str
    """What is practised, as the model card names it."""
    places: range
    share: float
    """The share of these episodes; the others are as elsewhere."""
    episode: Callable[[Draw], TrainingEpisode]


_EVERY = partial(asking_in_a_row, kinds=LOOKED_UP + COMPARED)
PRACTICE = (
    Practice("saying again", range(8_000), 0.97, copying),
    Practice("saying again", range(8_000, 11_000), 0.3, copying),
    Practice("looking up", range(8_000, 11_000), 0.5, looking_up),
    Practice("saying again", range(11_000, 14_000), 0.1, copying),
    Practice("looking up", range(11_000, 14_000), 0.25, looking_up),
    Practice("lists in another order", range(8_000, 14_000), 0.15, recalling),
    Practice("questions in a row", range(8_000, 22_000), 0.95, asking_in_a_row),
    Practice("questions in a row", range(22_000, 28_000), 0.95, _EVERY),
    Practice("applying rules", range(28_000, 41_000), 0.35, applying),
    Practice("questions below rules", range(28_000, 41_000), 0.55, asking_by_rules),
    Practice("questions below rules", range(41_000, 56_000), 0.2, asking_by_rules),
    Practice("questions below rules", range(56_000, 400_000), 0.06, asking_by_rules),
)
"""Dense practice of saying again, of finding a value by its name and of writing it by a rule. These form in
few steps there, in this order, and hardly at all amid long prompts. Each has its share of what those before
it at the same places have left."""
FIRST = range(56_000)
"""The first places of the stream, where nearly all other episodes answer: finding what is asked for and
copying it is what all abilities stand on."""
FIRST_SHARE = 0.96
"""The share of these other episodes that answer by :data:`FIRST_SETTINGS`."""
FIRST_SETTINGS: dict[str, int] = {PLAIN: 3, PLAYBOOK: 5, DEMONSTRATIONS: 2}
"""What these answers follow, by weight."""
FIRST_BEFORE = (0, 1, 2, 3, 4, 5)
"""So many questions come before the one that is asked: each is one more answer to learn from one prompt."""


def training_episode(index: int, seed: int) -> TrainingEpisode:
    """An episode of the training stream: never with what is kept for evaluation.

    Args:
        index: Its place in the stream, from 0.
        seed: The stream.
    """
    draw = Draw(f"train/{seed}/{index}")
    for practice in PRACTICE:
        if index in practice.places and draw.chance(practice.share):
            return practice.episode(draw)
    if index in FIRST and draw.chance(FIRST_SHARE):
        settings, weights = list(FIRST_SETTINGS), list(FIRST_SETTINGS.values())
        return answering(draw, draw.rng.choices(settings, weights)[0], before=draw.one(FIRST_BEFORE))
    makers = [maker for _, maker in MIXTURE.values()]
    shares = [share for share, _ in MIXTURE.values()]
    return draw.rng.choices(makers, shares)[0](draw)


def answering_share(places: int) -> float:
    """The share of the first so many episodes that ask a question, as far as chance goes.

    Args:
        places: How many; at least 1.
    """
    mixed = MIXTURE["answer"][0] / sum(share for share, _ in MIXTURE.values())
    edges = {
        0,
        FIRST.stop,
        places,
        *(edge for one in PRACTICE for edge in (one.places.start, one.places.stop)),
    }
    answers = 0.0
    for start, stop in pairwise(sorted(edge for edge in edges if edge <= places)):
        left = prod(1 - one.share for one in PRACTICE if start in one.places)
        share = FIRST_SHARE + (1 - FIRST_SHARE) * mixed if start in FIRST else mixed
        answers += (stop - start) * left * share
    return answers / places


def layouts() -> list[str]:
    """The parts of calls that never change: the adapter's layout of each signature, and GEPA's prompt."""
    adapter = dspy.ChatAdapter()
    texts = [InstructionProposalSignature.default_prompt_template]
    for signature in SIGNATURES:
        blank = dict.fromkeys(signature.input_fields, "")
        texts += [str(message["content"]) for message in adapter.format(signature, [], blank)]
    return texts
