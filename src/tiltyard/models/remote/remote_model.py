"""A model on a server with OpenAI's chat API, as a DSPy language model.

>>> lm = remote_model(provider="vllm", id="Qwen/Qwen2.5-0.5B-Instruct", api_base="http://localhost:8000/v1")
>>> dspy.Predict("question -> answer")(question="What is 1 + 1?", lm=lm)
"""

from collections.abc import Mapping
from typing import Annotated, Any

import dspy
from dspy.utils.exceptions import LMConfigurationError
from pydantic import Field

from tiltyard.config import Operational, Settled
from tiltyard.errors import InputError
from tiltyard.models.engine import engine_lm
from tiltyard.models.remote.engine import RemoteEngine
from tiltyard.models.remote.limits import Limits
from tiltyard.models.remote.retrying import RetryPolicy
from tiltyard.models.remote.server import Provider, Server
from tiltyard.models.remote.server_check import check_server

Count = Annotated[int, Field(ge=1)]

Seconds = Annotated[float, Field(gt=0), Operational()]
AtMost = Annotated[Count | None, Operational()]

_OWN_FIELDS = {
    "model": "model.id",
    "max_tokens": "model.max_tokens",
    "max_completion_tokens": "model.max_tokens",
    "temperature": "model.temperature",
    "top_p": "model.top_p",
    "seed": "model.seed",
    "api_key": "model.api_key_env",
    "headers": "model.headers",
    "extra_headers": "model.headers",
    "timeout": "model.timeout",
    "messages": "the task",
    "stream": "nothing: answers come whole",
    "n": "nothing: DSPy asks for each answer",
}
"""Fields of a request that have an option of their own, with its name."""


def remote_model(
    *,
    provider: Provider,
    id: str,
    api_base: str,
    api_key_env: str | None = None,
    headers: Mapping[str, str] | None = None,
    headers_env: tuple[str, ...] = (),
    max_tokens: Count | None = 1024,
    temperature: Annotated[float | None, Field(ge=0, le=2)] = 0.0,
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None,
    seed: Annotated[int | None, Field(ge=0), Settled()] = 0,
    extra_body: Mapping[str, Any] | None = None,
    max_concurrency: AtMost = 8,
    requests_per_minute: AtMost = None,
    tokens_per_minute: AtMost = None,
    retries: Annotated[Annotated[int, Field(ge=0)] | None, Operational()] = None,
    retry_seconds: Seconds = 300.0,
    connect_timeout: Seconds = 10.0,
    timeout: Seconds = 120.0,
    check: Annotated[bool, Operational()] = True,
    priced: Annotated[bool, Operational()] = True,
) -> dspy.LM:
    """A model on a server with OpenAI's chat API. See docs/remote-models.md.

    Args:
        provider: The kind of server; it decides how a request is spelled.
        id: The model's name on the server.
        api_base: The root of the server's API.
        api_key_env: The environment variable that holds the key, which may also stand in ``.env``; null
            sends none.
        headers: Further headers of every request.
        headers_env: Further headers whose values are secret, as ``NAME:VARIABLE``.
        max_tokens: The most tokens of an answer; null leaves it to the server.
        temperature: 0 (greedy) to 2; null leaves it to the server.
        top_p: Sample among the likeliest tokens that together have this probability; null leaves it to the
            server.
        seed: Decides sampled answers where the server keeps to seeds; null sends none.
        extra_body: Further fields of the request's body, as the server documents them.
        max_concurrency: The most requests at once; null for as many as come. Fewer while the server refuses.
        requests_per_minute: The most requests in a minute; null for no limit.
        tokens_per_minute: The most tokens in a minute, prompts and answers; null for no limit.
        retries: The most times that a request which failed for a passing reason is tried again; null for as
            many as ``retry_seconds`` has time for.
        retry_seconds: How long after its first try a request may be tried again.
        connect_timeout: Seconds to a connection.
        timeout: Seconds without a byte from the server, or for a reply that has begun, after which a try has
            failed.
        check: Ask the server for its models before the run, and note what it says of the weights.
        priced: Whether the provider's list prices are what you pay; false reports no cost.

    Raises:
        InputError: The address is none, a key is missing, no server answers, it refuses the key, or it has
            no model of this name.
    """
    for name in extra_body or {}:
        if name in _OWN_FIELDS:
            raise InputError(f"model.extra_body.{name} is not a further field", f"use {_OWN_FIELDS[name]}")
    server = Server(
        provider=provider,
        api_base=api_base,
        api_key_env=api_key_env,
        headers=dict(headers or {}),
        headers_env=tuple(headers_env),
        connect_timeout=connect_timeout,
        timeout=timeout,
    )
    identity = check_server(server, id) if check else {}
    engine = RemoteEngine(
        server,
        id,
        limits=Limits(max_concurrency, requests_per_minute, tokens_per_minute),
        retries=RetryPolicy(retries, retry_seconds),
        seed=seed,
        extra_body=extra_body,
        priced=priced,
        identity=identity,
    )
    settings = {"temperature": temperature, "max_tokens": max_tokens}
    if top_p is not None:
        settings["top_p"] = top_p
    try:
        return engine_lm(f"{provider}/{id}", engine, **settings)
    except LMConfigurationError as error:
        raise InputError(f"{id} is a reasoning model, with rules of its own", error.message) from error
