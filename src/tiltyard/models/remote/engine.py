"""The engine of a model on a server: limits, retries and prices around DSPy's own HTTP client.

>>> server = Server("groq", "https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY")
>>> engine = RemoteEngine(server, "openai/gpt-oss-20b")
>>> engine.complete(request).provider_data["tiltyard"]
{'tries': 1, 'waited_ms': 0.0, 'cost_usd': 2.4e-05}
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self

from dspy._vendor.lm15.serde import request_to_dict
from dspy.lm15 import Request, Response, TextPart

from tiltyard.models.engine import Engine
from tiltyard.models.remote.budget import Member, budget_of
from tiltyard.models.remote.client import Client
from tiltyard.models.remote.limits import Limits
from tiltyard.models.remote.prices import Prices
from tiltyard.models.remote.retrying import RetryPolicy, ask
from tiltyard.models.remote.server import Server

BYTES_PER_TOKEN = 4
"""For estimates, which the server's own count replaces."""
LONG_ANSWER = 1024
"""What an answer without a limit is estimated at, in tokens."""

_SEEDS = 2**31
"""Seeds are below this: every server takes them."""

_ALWAYS_TAKEN = frozenset({"temperature", "max_tokens", "top_p", "stop", "seed"})


class RemoteEngine(Engine):
    """Asks one model on one server. Threads may share it.

    All engines of a process that ask the same API with the same key share one budget.

    Args:
        server: Where the model is.
        model: The model's name there.
        limits: What the server may be asked for.
        retries: How often and how long a failed request is tried again.
        seed: Decides sampled answers where the server keeps to seeds; None sends none.
        extra_body: Further fields of each request, as the server documents them.
        priced: Whether list prices are what is paid.
        identity: What the server says of the model's weights, by name.
    """

    def __init__(
        self,
        server: Server,
        model: str,
        *,
        limits: Limits | None = None,
        retries: RetryPolicy | None = None,
        seed: int | None = 0,
        extra_body: Mapping[str, Any] | None = None,
        priced: bool = True,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self._server = server
        self._model = model
        self._limits = limits or Limits()
        self._retries = retries or RetryPolicy()
        self._seed = seed
        self._extra_body = dict(extra_body or {})
        self._priced = priced
        self._identity = dict(identity or {})
        self._client, self._member = self._connect()
        self._closed = False
        self._prices = Prices(server.priced_as if priced else None, model)
        self._repeated: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    @property
    def provenance(self) -> Mapping[str, str]:
        """The API that answers, and what it says of the model's weights."""
        return {"endpoint": self._server.root, **self._identity}

    @property
    def max_concurrency(self) -> int | None:
        """The most requests at once; None for as many as come."""
        return self._limits.max_concurrency

    @property
    def supports_response_schema(self) -> bool:
        """Whether DSPy may send the model a JSON schema that its answer has to keep to."""
        return self._server.provider == "vllm" or self._prices.supports_response_schema

    @property
    def supported_params(self) -> frozenset[str]:
        """The settings that DSPy may send."""
        schema = {"response_format"} if self.supports_response_schema else set()
        return _ALWAYS_TAKEN | schema

    def settle(self, request: Request) -> Request:
        """The request with the seed and the further fields that go to the server.

        Optimizers and ``n=5`` repeat a request to get other answers. So the first sampled request of its
        kind has the engine's seed, and each repetition one derived from it.
        """
        config = request.config
        if self._extra_body:
            config = replace(config, extensions={**(config.extensions or {}), **self._extra_body})
        if config.seed is None and self._seed is not None:
            config = replace(config, seed=self._seed_of(request))
        return request if config is request.config else replace(request, config=config)

    def complete(self, request: Request) -> Response:
        """Ask the server, as often as it takes.

        The response's ``provider_data["tiltyard"]`` says how many ``tries`` it took, the milliseconds that
        the request ``waited`` for its turn and between tries, and ``cost_usd`` where the price is known.

        Raises:
            dspy.lm15.LM15Error: There is no answer. The message names the server and the number of tries.
            InputError: The engine was closed, and a key that it needs is no longer there.
        """
        request = replace(self.settle(request), model=self._model)
        client, member = self._connected()
        answer = ask(
            client.complete,
            request,
            member=member,
            policy=self._retries,
            tokens=estimated_tokens(request) if self._limits.tokens_per_minute else 0,
        )
        took: dict[str, Any] = {"tries": answer.tries, "waited_ms": round(1000 * answer.waited, 3)}
        cost = self._prices.cost(request, answer.response)
        if cost is not None:
            took["cost_usd"] = cost
        data = {**(answer.response.provider_data or {}), "tiltyard": took}
        return replace(answer.response, provider_data=data)

    def close(self) -> None:
        """Close the connections, and leave the endpoint's budget. Closing twice is closing once.

        A request that is being asked is not tried again. One that is asked later connects and joins again.
        """
        with self._lock:
            self._closed = True
            self._member.leave()
            self._client.close()

    def dump_state(self) -> dict[str, Any]:
        """The engine's settings, for DSPy to save with a program. They name keys, and hold none."""
        return {
            "server": asdict(self._server),
            "model": self._model,
            "limits": asdict(self._limits),
            "retries": asdict(self._retries),
            "seed": self._seed,
            "extra_body": self._extra_body,
            "priced": self._priced,
        }

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """An engine with the settings that :meth:`dump_state` returned.

        Raises:
            InputError: A key that it needs is nowhere.
        """
        server = {**state["server"], "headers_env": tuple(state["server"]["headers_env"])}
        return cls(
            **{
                **state,
                "server": Server(**server),
                "limits": Limits(**state["limits"]),
                "retries": RetryPolicy(**state["retries"]),
            }
        )

    def _connect(self) -> tuple[Client, Member]:
        client = self._server.client(connections=self._limits.max_concurrency)
        return client, budget_of(self._server.root, self._server.key()).join(self._limits)

    def _connected(self) -> tuple[Client, Member]:
        with self._lock:
            if self._closed:
                self._client, self._member = self._connect()
                self._closed = False
            return self._client, self._member

    def _seed_of(self, request: Request) -> int | None:
        if self._seed is None or request.config.temperature == 0:
            return self._seed
        text = json.dumps(request_to_dict(request), sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            repetition = self._repeated[digest]
            self._repeated[digest] += 1
        if repetition == 0:
            return self._seed % _SEEDS
        mixed = hashlib.sha256(b"%d/%d/%s" % (self._seed, repetition, digest)).digest()
        return int.from_bytes(mixed[:4], "big") % _SEEDS


def estimated_tokens(request: Request) -> int:
    """The tokens that a request may use: what it says, by its length, and the longest answer it allows."""
    parts = [part for message in request.messages for part in message.parts]
    parts += request.system if isinstance(request.system, tuple) else []
    said = sum(len(part.text.encode()) for part in parts if isinstance(part, TextPart))
    said += len(request.system.encode()) if isinstance(request.system, str) else 0
    return said // BYTES_PER_TOKEN + (request.config.max_tokens or LONG_ANSWER)
