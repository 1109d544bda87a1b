"""Models: from a config node to a ``dspy.LM``."""
