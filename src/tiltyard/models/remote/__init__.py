"""Models on servers: Groq, Ollama, OpenAI, vLLM, and whatever speaks OpenAI's chat API.

>>> lm = remote_model(provider="vllm", id="Qwen/Qwen2.5-0.5B-Instruct", api_base="http://localhost:8000/v1")
"""

from tiltyard.models.remote.engine import RemoteEngine
from tiltyard.models.remote.remote_model import remote_model

__all__ = ["RemoteEngine", "remote_model"]
