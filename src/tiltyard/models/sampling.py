"""Draws a token from a model's scores with a generator of the request's own.

Imports torch and transformers: import it where a model is in use.
"""

import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tiltyard.models.decoding import Decoding


class Sampler:
    """Draws one request's tokens, one after the other.

    transformers samples from torch's global generator, which concurrent requests and the caller share.

    Args:
        how: The request's temperature, ``top_p``, ``top_k`` and seed.
    """

    def __init__(self, how: Decoding) -> None:
        self._generator = torch.Generator().manual_seed(how.seed)
        self._warpers = LogitsProcessorList([TemperatureLogitsWarper(float(how.temperature))])
        if how.top_k is not None:
            self._warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(how.top_p))

    def draw(self, scores: torch.Tensor) -> int:
        """Draw a token.

        Args:
            scores: The tokens' logits: (1, vocabulary).
        """
        # On the CPU in float32 on every device, so that one seed draws alike everywhere.
        scores = self._warpers(None, scores.float().cpu())
        return int(torch.multinomial(scores.softmax(dim=-1), num_samples=1, generator=self._generator))
