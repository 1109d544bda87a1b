"""Where a model is served, and how to get there. It holds the names of keys, never the keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dspy.lm15 import OpenAIChatCompat

from tiltyard.errors import InputError
from tiltyard.models.remote.addresses import api_root, host_of
from tiltyard.models.remote.client import Client
from tiltyard.models.remote.keys import secret

Provider = Literal["groq", "ollama", "openai", "openai_compatible", "vllm"]

_DIALECTS: Mapping[str, OpenAIChatCompat] = {
    **{name: OpenAIChatCompat.preset(name) for name in ("groq", "ollama", "openai", "vllm")},
    "openai_compatible": OpenAIChatCompat.preset("sglang"),
}
"""How each kind of server spells what OpenAI's API spells differently."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9._-]+")

_PRICED = {"api.groq.com": "groq", "api.openai.com": "openai-chat"}
"""The hosts whose prices are known, with their names in the list of prices."""


@dataclass(frozen=True)
class Server:
    """A server's address, and what every request to it carries.

    Raises:
        InputError: The address is none, or a header cannot be sent.
    """

    provider: Provider
    """The kind of server."""
    api_base: str
    """The address as it was given."""
    api_key_env: str | None = None
    """The environment variable that holds the key; None sends none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers."""
    headers_env: tuple[str, ...] = ()
    """Further headers whose values are secret, as ``NAME:VARIABLE``."""
    connect_timeout: float = 10.0
    """Seconds to a connection."""
    timeout: float = 120.0
    """Seconds without a byte from the server, and from the head of a reply to its end."""

    def __post_init__(self) -> None:
        api_root(self.api_base)
        for name, value in [*self.headers.items(), *self._secret_headers()]:
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise InputError(
                    f"'{name}' cannot be sent as a header",
                    "correct model.headers or model.headers_env: plain letters, digits and dashes",
                )

    @property
    def root(self) -> str:
        """The root of its API."""
        return api_root(self.api_base)

    @property
    def host(self) -> str:
        """Its host and port."""
        return host_of(self.root)

    @property
    def priced_as(self) -> str | None:
        """The provider's name in the list of prices; None where nobody knows what it charges."""
        return _PRICED.get(self.host)

    @property
    def dates_models(self) -> bool:
        """Whether ``created`` in its list is a date of the model; most have the request's time there."""
        return self.provider == "ollama" or self.priced_as is not None

    def key(self) -> str | None:
        """The key.

        Raises:
            InputError: It is nowhere.
        """
        return secret(self.api_key_env, "model.api_key_env") if self.api_key_env else None

    def client(
        self,
        *,
        connect_timeout: float | None = None,
        timeout: float | None = None,
        connections: int | None = None,
    ) -> Client:
        """What asks the server.

        Args:
            connect_timeout: Another limit than the server's.
            timeout: Another limit than the server's.
            connections: Connections at once; None for as many as come.

        Raises:
            InputError: A key is nowhere.
        """
        secrets = {name: secret(variable, "model.headers_env") for name, variable in self._secret_headers()}
        return Client(
            provider=self.provider,
            root=self.root,
            key=self.key(),
            headers={**self.headers, **secrets},
            secret_headers=tuple(secrets.values()),
            compat=_DIALECTS[self.provider],
            connect_timeout=connect_timeout or self.connect_timeout,
            timeout=timeout or self.timeout,
            connections=connections,
        )

    def _secret_headers(self) -> list[tuple[str, str]]:
        """The names of the secret headers, with their variables."""
        pairs = []
        for entry in self.headers_env:
            name, _, variable = (part.strip() for part in entry.partition(":"))
            if not variable:
                raise InputError(
                    f"model.headers_env has '{entry}'",
                    "write NAME:VARIABLE, such as X-Api-Key:MY_API_KEY",
                )
            pairs.append((name, variable))
        return pairs
