import pytest
from fault_server import serving


@pytest.fixture
def fake():
    """A server that answers chat requests, or fails as the test wants."""
    with serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _own_folder_and_prices(tmp_path, monkeypatch):
    """No ``.env`` of the developer's, and the prices that DSPy's package holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")
    for variable in ("GROQ_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, "")


@pytest.fixture
def remote(fake):
    """Builds a model on the server, with short waits."""
    from tiltyard.models.remote import remote_model

    engines = []

    def build(**changes):
        options = {
            "provider": "openai_compatible",
            "id": "tiny",
            "api_base": fake.url,
            "timeout": 1.0,
            "retries": 8,
            "retry_seconds": 30.0,
            **changes,
        }
        lm = remote_model(**options)
        engines.append(lm.engine)
        return lm

    yield build
    for engine in engines:
        engine.close()
