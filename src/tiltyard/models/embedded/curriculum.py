"""What the embedded model is trained on: a stream of episodes, each decided by its place and the seed.

>>> training_episode(0, seed=0).ability
'dose/playbook'
"""

from collections.abc import Callable

import dspy
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from tiltyard.models.embedded import judging
from tiltyard.models.embedded.adapting import MIPRO, curating, proposing, reflecting
from tiltyard.models.embedded.answering import DEMONSTRATIONS, PLAIN, PLAYBOOK, answering
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import Episode, PromptEpisode
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


FIRST = range(60_000)
"""The first places of the stream, where nearly all episodes answer: finding what is asked for and copying it
is what all abilities stand on."""
FIRST_SHARE = 0.96
"""The share of episodes at these places that answer by :data:`FIRST_SETTINGS`."""
FIRST_SETTINGS: dict[str, int] = {PLAIN: 3, PLAYBOOK: 5, DEMONSTRATIONS: 2}
"""What these answers follow, by weight."""


def training_episode(index: int, seed: int) -> Episode | PromptEpisode:
    """An episode of the training stream: never with what is kept for evaluation.

    Args:
        index: Its place in the stream, from 0.
        seed: The stream.
    """
    draw = Draw(f"train/{seed}/{index}")
    if index in FIRST and draw.chance(FIRST_SHARE):
        settings, weights = list(FIRST_SETTINGS), list(FIRST_SETTINGS.values())
        return answering(draw, draw.rng.choices(settings, weights)[0])
    makers = [maker for _, maker in MIXTURE.values()]
    shares = [share for share, _ in MIXTURE.values()]
    return draw.rng.choices(makers, shares)[0](draw)


def layouts() -> list[str]:
    """The parts of calls that never change: the adapter's layout of each signature, and GEPA's prompt."""
    adapter = dspy.ChatAdapter()
    texts = [InstructionProposalSignature.default_prompt_template]
    for signature in SIGNATURES:
        blank = dict.fromkeys(signature.input_fields, "")
        texts += [str(message["content"]) for message in adapter.format(signature, [], blank)]
    return texts
