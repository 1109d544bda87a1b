"""The signatures of the panel: how a persona answers to advertising.

>>> program = dspy.Predict(AssessChannelPreference)
>>> program(persona_profile="Prefers email.", recent_exposures="none", proposed_channel="email").receptivity
0.8
"""

from typing import Literal

import dspy


class EvaluateCreative(dspy.Signature):  # type: ignore[misc]
    """Say how the persona reacts to the advertisement and how likely it is to respond, from 1 to 5."""

    persona_profile: str = dspy.InputField(desc="who the persona is")
    creative_content: str = dspy.InputField(desc="the advertisement")
    context: str = dspy.InputField(desc="when, where and how often it was seen")
    reaction: str = dspy.OutputField(desc="the reasons in a few words")
    intent: int = dspy.OutputField(desc="1 never, 5 surely")


class AssessChannelPreference(dspy.Signature):  # type: ignore[misc]
    """Say how open the persona is to a message on the channel, and how tired of messages."""

    persona_profile: str = dspy.InputField(desc="who the persona is")
    recent_exposures: str = dspy.InputField(desc="recent messages, one per line")
    proposed_channel: str = dspy.InputField(desc="the channel")
    receptivity: float = dspy.OutputField(desc="0 to 1, one decimal")
    fatigue_level: Literal["low", "medium", "high"] = dspy.OutputField(desc="by the number of messages")


class SimulatePurchaseDecision(dspy.Signature):  # type: ignore[misc]
    """Decide whether the persona buys the product. State the factors, then decide."""

    persona_profile: str = dspy.InputField(desc="who the persona is")
    intervention_history: str = dspy.InputField(desc="messages that it got")
    product_details: str = dspy.InputField(desc="the product and its price")
    competitive_options: str = dspy.InputField(desc="other offers")
    decision_factors: str = dspy.OutputField(desc="the reasons in a few words")
    purchase_decision: Literal["yes", "no", "delayed"] = dspy.OutputField(desc="the decision")
