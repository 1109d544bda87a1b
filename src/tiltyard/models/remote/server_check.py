"""Finds out in seconds, before a run, that a server answers, takes the key and has the model.

>>> check_server(server, "openai/gpt-oss-20b")
Traceback (most recent call last):
...
tiltyard.errors.InputError: no server answers at http://localhost:8000/v1 (…); start it (docs/…
"""

import difflib
import logging
import re
from collections.abc import Collection, Mapping

from dspy.lm15 import AuthError, ConfigurationError, LM15Error, ServerError, TimeoutError, TransportError

from tiltyard.errors import InputError
from tiltyard.models.remote.identity import identity_of
from tiltyard.models.remote.server import Server

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""How long the list of models may take; a server that is slower is asked no further."""

_UNAUTHORIZED = 401
_CONNECTING = re.compile(r"^failed to connect to \S+: (?:\[Errno -?\d+\] )?")
_SHOWN = 8


def check_server(server: Server, model: str) -> Mapping[str, str]:
    """Ask a server for its models, once.

    A server that has no such list, or is too busy to give it, is left to the run.

    Returns:
        What the server says of the model's weights; empty where it says nothing.

    Raises:
        InputError: Nobody answers at its address, it refuses the key, or it has no model of this name.
    """
    client = server.client(
        connect_timeout=min(server.connect_timeout, CONNECT_SECONDS),
        timeout=min(server.timeout, ANSWER_SECONDS),
    )
    try:
        models = client.models()
    except TransportError as error:
        raise _nobody_there(error, server) from error
    except AuthError as error:
        if error.status != _UNAUTHORIZED:  # keys can be allowed to ask models, and not to list them
            logger.debug("the list of models: %s", error.message)
            return {}
        if server.api_key_env is None:
            raise InputError(
                f"{server.root} asks for a key", "name the variable that holds it: model.api_key_env=NAME"
            ) from error
        raise InputError(f"{server.root} refuses the key in {server.api_key_env}", "check the key") from error
    except TimeoutError as error:
        if "did not accept" not in error.message:
            logger.warning("%s: is it busy? The run goes on", error.message)
            return {}
        raise _nobody_there(error, server) from error
    except ConfigurationError as error:
        raise InputError(error.message, "correct the proxy of the environment, or model.api_base") from error
    except LM15Error as error:
        failing = isinstance(error, ServerError)
        logger.log(
            logging.WARNING if failing else logging.DEBUG,
            "%s has no list of models: %s",
            server.root,
            error.message,
        )
        return {}
    finally:
        client.close()
    entry = models.get(model) or models.get(f"{model}:latest")  # Ollama's name of a model without a tag
    if models and entry is None:
        raise InputError(
            f"{server.root} has no model '{model}'; it has {_some(models, model)}",
            "choose one with model.id, or set model.check=false if the server takes more than it lists",
        )
    return identity_of(entry or {}, dated=server.dates_models)


def _some(names: Collection[str], model: str) -> str:
    """The names most like the one that was asked for."""
    close = difflib.get_close_matches(model, names, n=_SHOWN, cutoff=0.5)
    shown = (close + sorted(set(names) - set(close)))[:_SHOWN]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _nobody_there(error: LM15Error, server: Server) -> InputError:
    reason = error.message.removeprefix(server.host).lstrip(": ")
    return InputError(
        f"no server answers at {server.root} ({_CONNECTING.sub('', reason)})",
        "start it (docs/remote-models.md), or correct model.api_base",
    )
