"""Makes one attempt at an OpenAI-compatible server, with DSPy's own HTTP client.

What comes back is an answer, or an lm15 error whose class says what kind of failure it was and whose message
is one line without secrets.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from dspy._vendor.lm15.providers.base import HttpResponse
from dspy._vendor.lm15.transports import (
    ConnectTimeout,
    ReadTimeout,
    WriteTimeout,
)
from dspy.lm15 import (
    AccessPolicy,
    ConfigurationError,
    ContextLengthError,
    EndpointSupport,
    InvalidRequestError,
    LM15Error,
    OpenAIChatCompat,
    OpenAIChatLM,
    ProviderError,
    Request,
    Response,
    TimeoutError,
)

from tiltyard.models.remote.addresses import host_of, is_loopback
from tiltyard.models.remote.transport import DeadlineTransport, UnfinishedReply
from tiltyard.redaction import MASK, redact

GUIDANCE = "\n\n"
"""What lm15 puts between what a server said and paragraphs of advice."""

_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|longer than the model|maximum (?:input|sequence|context)"
    r"|max_new_tokens.{0,20}must be|prompt is too long",
    re.IGNORECASE,
)
"""How servers say that a prompt is too long where they have no code for it: vLLM, SGLang, llama.cpp, TGI."""

NO_KEY = "none"
"""What is sent as the key where none is needed: some servers want a key, whichever."""

_UNSAID = {404: "there is no chat API at this address, check model.api_base"}
"""What a status means where the server says nothing."""
_LONGEST_REASON = 300
_MANY_CONNECTIONS = 1024


class _Wire(OpenAIChatLM):  # type: ignore[misc]
    """lm15's adapter, which also takes a reply of an impossible shape for a failure of the server."""

    def parse_response(self, request: Request, response: HttpResponse) -> Response:
        try:
            answer = super().parse_response(request, response)
            if not response.json().get("choices"):
                raise self._unreadable("it has no choices", response)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise self._unreadable(str(error), response) from error
        return answer

    def normalize_error(self, status: int, body: str) -> ProviderError:
        error = super().normalize_error(status, body)
        said = error.message.split(GUIDANCE)[0].strip()
        if not said:  # servers built on FastAPI, and older ones of vLLM, use other fields than OpenAI
            error.message = _other_message(body) or _UNSAID.get(status, "it does not say why")
        return error

    def _unreadable(self, reason: str, response: HttpResponse) -> ProviderError:
        kind = response.header("content-type") or "no content type"
        return ProviderError(
            f"the reply is no chat completion ({kind}): {reason}",
            provider=self.provider,
            status=response.status,
        )


class Client:
    """Asks one server, one request per call. Threads may share it.

    Args:
        provider: The name that errors carry.
        root: The API's root.
        key: The key, or None.
        headers: Further headers of every request.
        secret_headers: The values among them that no message may show.
        compat: How the server spells what OpenAI's API spells differently.
        connect_timeout: Seconds to a connection.
        timeout: Seconds without a byte from the server, and from the head of a reply to its end.
        connections: Connections at once; None for as many as come.
    """

    def __init__(
        self,
        *,
        provider: str,
        root: str,
        key: str | None,
        headers: Mapping[str, str],
        secret_headers: tuple[str, ...] = (),
        compat: OpenAIChatCompat,
        connect_timeout: float,
        timeout: float,
        connections: int | None = None,
    ) -> None:
        self._secrets = sorted({*secret_headers, *([key] if key else [])}, key=len, reverse=True)
        self._host = host_of(root)
        self._wire = _Wire(
            api_key=key or NO_KEY,
            base_url=root,
            transport=DeadlineTransport(
                connect_timeout=connect_timeout,
                read_timeout=timeout,
                write_timeout=timeout,
                max_connections=connections or _MANY_CONNECTIONS,
                user_agent="tiltyard",
                trust_env=not is_loopback(root),  # a proxy has another loopback
            ),
            compat=compat,
            access=AccessPolicy(
                provider=provider.replace("_", "-"),
                supports=EndpointSupport(complete=True, models=True),
                headers=tuple(headers.items()),
            ),
            adaptations="refuse",
        )
        self._timeouts = {ConnectTimeout: connect_timeout, ReadTimeout: timeout, WriteTimeout: timeout}
        self._closed = False

    def complete(self, request: Request) -> Response:
        """Ask for one completion, once.

        Raises:
            dspy.lm15.LM15Error: There is none; or the server's API has no field for something that the
                request asks for; or the client is closed.
        """
        self._check_open()
        try:
            return self._wire.complete(request)
        except LM15Error as error:
            raise self._explained(error) from error.__cause__
        except ValueError as error:
            raise self._not_configured(error) from error

    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The models that the server offers, by name, with what it says of each.

        Raises:
            dspy.lm15.LM15Error: It does not say.
        """
        self._check_open()
        try:
            return {str(model.id): model.origin.provider_data or {} for model in self._wire.list_models()}
        except LM15Error as error:
            raise self._explained(error) from error.__cause__
        except ValueError as error:
            raise self._not_configured(error) from error

    def close(self) -> None:
        """Close the connections, and ask no further."""
        self._closed = True
        self._wire.transport.close()

    def _check_open(self) -> None:
        # Not lm15's failure of the transport, which would be tried again.
        if self._closed:
            raise one_line_error(ConfigurationError(), f"{self._host} is not asked: the engine was closed")

    def _explained(self, error: LM15Error) -> LM15Error:
        """The error in its right class, in one line, with the server's name and without secrets."""
        cause = error.__cause__
        limit = next((seconds for kind, seconds in self._timeouts.items() if isinstance(cause, kind)), None)
        if limit is not None:
            late = TimeoutError(provider=error.provider)
            return one_line_error(late, f"{self._host} {_lateness(cause)} {limit:g} s")
        reason = self._one_line(error.message)
        status = f" answered HTTP {error.status}" if error.status is not None else ""
        if isinstance(error, InvalidRequestError) and _CONTEXT.search(reason):
            error = ContextLengthError(
                provider=error.provider, status=error.status, request_id=error.request_id
            )
        return one_line_error(error, f"{self._host}{status}: {reason}")

    def _not_configured(self, error: ValueError) -> LM15Error:
        """A proxy of the environment that cannot be used, or a request that no server takes."""
        return one_line_error(
            ConfigurationError(), f"{self._host} cannot be asked: {self._one_line(str(error))}"
        )

    def _one_line(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        line = " ".join(redact(text.split(GUIDANCE)[0]).split())
        return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def one_line_error(error: LM15Error, message: str) -> LM15Error:
    """The error with a message of its own: lm15's classes add paragraphs to theirs."""
    error.message = message
    error.args = (message,)
    return error


def _lateness(cause: BaseException | None) -> str:
    if isinstance(cause, ConnectTimeout):
        return "did not accept a connection for"
    return "had not finished its reply after" if isinstance(cause, UnfinishedReply) else "sent nothing for"


def _other_message(body: str) -> str:
    try:
        data: Any = json.loads(body)
    except ValueError:
        return body.strip()
    if not isinstance(data, dict):
        return body.strip()
    said = data.get("message") or data.get("detail") or data.get("error") or ""
    return said if isinstance(said, str) else json.dumps(said)
