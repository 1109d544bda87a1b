"""The signatures of the town: what an agent reads and writes when it judges and reflects.

>>> program = dspy.Predict(ScoreImportance)
>>> program(observation="A fire at the mill.", agent_goal="run the mill", agent_personality="calm").score
10
"""

import dspy


class ScoreImportance(dspy.Signature):  # type: ignore[misc]
    """Rate how important the observation is to the agent, from 1 to 10.

    1-2 trivial, 3-4 mildly interesting, 5-6 worth remembering, 7-8 touches plans, 9-10 urgent or critical.
    """

    observation: str = dspy.InputField(desc="what the agent observed")
    agent_goal: str = dspy.InputField(desc="what the agent wants")
    agent_personality: str = dspy.InputField(desc="the agent's traits")
    reasoning: str = dspy.OutputField(desc="the evidence in a few words")
    score: int = dspy.OutputField(desc="importance, 1 to 10")


class ReflectOnMemories(dspy.Signature):  # type: ignore[misc]
    """Find what recurs in the memories and say what it means for the agent."""

    recent_memories: str = dspy.InputField(desc="memories, one per line")
    agent_personality: str = dspy.InputField(desc="the agent's traits")
    agent_goal: str = dspy.InputField(desc="what the agent wants")
    reasoning: str = dspy.OutputField(desc="the evidence in a few words")
    insight: str = dspy.OutputField(desc="one sentence")
