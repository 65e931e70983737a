"""What clients of an OpenAI-compatible server share: the connection, its errors, and optional parameters."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pipeline.network import is_loopback, with_settings
from pipeline.schema import LabError

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
"""What the ``openai`` package, which checks no reply, raises for one that is not what it should be."""
_REFUSALS = (None, 400, 422, 500, 501)  # None: an error that the server sent inside a stream


def check_address(url: str) -> None:
    """Raise ``LabError`` if this is no web address, or one that holds a secret and would be stored."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LabError("The server's address is no web address; one looks like http://127.0.0.1:8000/v1.")
    if parts.username or parts.password or parts.query:
        raise LabError("Put no key into the server's address; give the key separately.")


def connect(base_url: str, api_key: str, timeout: float, max_retries: int) -> OpenAI:
    """Make a client of that server.

    The key is never taken from the environment here, so that an address which a visitor chose is never sent
    the owner's. An empty one is for servers that need none.

    A server on this machine is reached directly, any other through the proxy that the environment sets.

    Raises:
        LabError: the address or the key cannot be one, or the environment's proxies or certificates cannot
            be used.
    """
    import openai

    check_address(base_url)
    if not (api_key.isascii() and api_key.isprintable()):
        raise LabError("The key holds characters that no key has; copy it again.")
    try:
        return openai.OpenAI(
            api_key=api_key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            http_client=_direct_client(base_url) if is_loopback(base_url) else None,
        )
    except Exception as error:  # of the files, of TLS, of addresses, of missing packages
        problem = with_settings(str(error), base_url)
        raise LabError(f"The connection to {base_url} cannot be set up: {problem}") from error


def _direct_client(base_url: str) -> Any:
    """An HTTP client that uses no proxy; certificates are those of the environment and the system."""
    import openai

    verify = ssl.create_default_context() if base_url.startswith("https") else True
    return openai.DefaultHttpxClient(trust_env=False, verify=verify)


def error_message(error: Any, api_key: str) -> str:
    """The server's message in an ``openai.APIError``, short and without the key."""
    import openai

    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message") or body.get("detail") or error.message)
    if isinstance(error, openai.APIConnectionError):
        message = with_settings(f"{message} {error.__cause__ or ''}".strip(), str(error.request.url))
    status = getattr(error, "status_code", None)
    return without_key(f"{status}: {message}" if status else message, api_key)[:300]


def without_key(text: str, api_key: str) -> str:
    """The text with the key blacked out; servers do repeat it."""
    # A short "key" is a placeholder for a server that needs none, such as EMPTY.
    return text.replace(api_key, "[key]") if len(api_key) >= 12 else text


def refused_parameter(error: Any, names: Iterable[str]) -> str | None:
    """Which of these parameters the server refuses in an ``openai.APIError``; None if none."""
    import openai

    if isinstance(error, openai.APIConnectionError) or getattr(error, "status_code", None) not in _REFUSALS:
        return None
    if error.param in names:
        return str(error.param)
    message = f"{error.message} {error.body}"
    places = {name: found.start() for name in names if (found := re.search(rf"\b{name}\b", message))}
    return min(places, key=lambda name: places[name], default=None)


class OptionalParameters:
    """Request parameters that a server may refuse; a refused one is left out from then on.

    Safe to use from many threads.

    Args:
        server: its address, for the log.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._left_out: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parameters that the server has refused so far."""
        return self._left_out

    def send(self, request: Callable[[dict[str, Any]], T], parameters: Mapping[str, Any]) -> T:
        """Call ``request`` with the parameters that the server takes.

        It is called again without a parameter that the server's error names. Only if the server then
        accepts the request is the parameter left out of later ones: an error may mention one by chance.
        """
        import openai

        sent = {name: value for name, value in parameters.items() if name not in self._left_out}
        refused: list[str] = []
        while True:
            try:
                result = request(sent)
                break
            except openai.APIError as error:
                name = refused_parameter(error, sent)
                if name is None:
                    raise
                refused.append(name)
                del sent[name]
        with self._lock:
            for name in refused:
                if name not in self._left_out:
                    self._left_out += (name,)
                    _LOG.warning("The server at %s refuses %s; it is left out.", self._server, name)
        return result
