"""What the embedded model is trained on: a stream of episodes, each decided by its place and the seed.

>>> training_episode(0, seed=0).ability
'dose/playbook'
"""

from collections.abc import Callable
from typing import NamedTuple

import dspy
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from tiltyard.models.embedded import judging
from tiltyard.models.embedded.adapting import MIPRO, curating, proposing, reflecting
from tiltyard.models.embedded.answering import DEMONSTRATIONS, PLAIN, PLAYBOOK, answering
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, PromptEpisode
from tiltyard.models.embedded.recalling import bare_question, recalling
from tiltyard.programs.panel import AssessChannelPreference, EvaluateCreative, SimulatePurchaseDecision
from tiltyard.programs.playbook import CuratePlaybook, ReflectOnAnswer
from tiltyard.programs.qa import AnswerQuestion, ChooseOption
from tiltyard.programs.town import ReflectOnMemories, ScoreImportance

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

MIXTURE: dict[str, tuple[float, Callable[[Draw], Episode | PromptEpisode]]] = {
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

    places: range
    share: float
    """The share of these episodes; the others are as elsewhere."""
    episode: Callable[[Draw], Episode | PromptEpisode]


PRACTICE = (
    Practice(range(20_000), 0.8, recalling),
    Practice(range(74_000, 105_472), 0.6, recalling),
    Practice(range(105_472, 150_000), 0.6, bare_question),
    Practice(range(150_000, 400_000), 0.4, bare_question),
)
"""Dense practice of finding a value by its name, which forms in few steps there and hardly at all amid long
prompts: first lists to say again, then questions without a layout."""
FIRST = range(60_000)
"""The first places of the stream, where nearly all other episodes answer: finding what is asked for and
copying it is what all abilities stand on."""
FIRST_SHARE = 0.96
"""The share of these other episodes that answer by :data:`FIRST_SETTINGS`."""
FIRST_SETTINGS: dict[str, int] = {PLAIN: 5, PLAYBOOK: 4, DEMONSTRATIONS: 1}
"""What these answers follow, by weight."""


def training_episode(index: int, seed: int) -> Episode | PromptEpisode:
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
        return answering(draw, draw.rng.choices(settings, weights)[0])
    makers = [maker for _, maker in MIXTURE.values()]
    shares = [share for share, _ in MIXTURE.values()]
    return draw.rng.choices(makers, shares)[0](draw)


def answering_share(places: int) -> float:
    """The share of the first so many episodes that ask a question, as far as chance goes.

    Args:
        places: How many; at least 1.
    """
    mixed = MIXTURE["answer"][0] / sum(share for share, _ in MIXTURE.values())
    answers = 0.0
    for part, share in ((FIRST, FIRST_SHARE + (1 - FIRST_SHARE) * mixed), (range(FIRST.stop, places), mixed)):
        here = range(part.start, min(part.stop, places))
        practised = sum(
            one.share * len(range(max(here.start, one.places.start), min(here.stop, one.places.stop)))
            for one in PRACTICE
        )
        answers += (len(here) - practised) * share
    return answers / places


def layouts() -> list[str]:
    """The parts of calls that never change: the adapter's layout of each signature, and GEPA's prompt."""
    adapter = dspy.ChatAdapter()
    texts = [InstructionProposalSignature.default_prompt_template]
    for signature in SIGNATURES:
        blank = dict.fromkeys(signature.input_fields, "")
        texts += [str(message["content"]) for message in adapter.format(signature, [], blank)]
    return texts
