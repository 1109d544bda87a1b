"""Models to batch, and the same models apart, untouched, for the answers to compare with."""

import pytest
import torch
from small_models import MODELS, Letters

from tiltyard.models.batching.support import examine
from tiltyard.models.threads import use_threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    use_threads(1)
    yield
    use_threads(None)


@pytest.fixture(scope="session")
def tokenizer():
    return Letters()


@pytest.fixture(scope="session")
def built():
    """A function that gives (model for the batch, its layout, the same model untouched)."""
    made = {}

    def build(name):
        if name not in made:
            models = []
            for _ in range(2):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(3)
                    models.append(MODELS[name]().eval())
            made[name] = (models[0], examine(models[0]), models[1])
        return made[name]

    return build
