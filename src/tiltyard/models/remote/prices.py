"""What a completion cost, where the provider's price is known.

>>> Prices("groq", "openai/gpt-oss-20b").cost(request, response)
2.4e-05

The prices are those of DSPy's model metadata: a public list that it loads once per process, with a copy in
its package.
"""

from dspy.clients.costs import estimate_cost
from dspy.clients.model_metadata import model_info
from dspy.lm15 import Request, Response


class Prices:
    """What the metadata says of one model.

    Args:
        provider: The provider's name in the metadata; None is not in it.
        model: The model's name there.
    """

    def __init__(self, provider: str | None, model: str) -> None:
        self._provider = provider
        self._model = model
        # Here, so that no request's latency holds the seconds that the list may take to load.
        info = model_info(provider, model) if provider else {}
        self.supports_response_schema: bool = info.get("supports_response_schema") is True

    def cost(self, request: Request, response: Response) -> float | None:
        """US dollars; None where the price of any part is not known."""
        if self._provider is None:
            return None
        cost, _ = estimate_cost(
            response, provider=self._provider, requested_model=self._model, request=request
        )
        return None if cost is None else float(cost)
