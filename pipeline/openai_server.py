"""What clients of an OpenAI-compatible server share: a connection, and the server's words without the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.schema import LabError

if TYPE_CHECKING:
    from openai import OpenAI


def check_address(url: str) -> None:
    """Raise ``LabError`` where this is no web address, or one that holds a secret and would be stored."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LabError("The server's address is no web address; one looks like http://127.0.0.1:8000/v1.")
    if parts.username or parts.password or parts.query:
        raise LabError("Put no key into the server's address; give it apart from it.")


def connect(base_url: str, api_key: str, timeout: float, max_retries: int) -> OpenAI:
    """A client of that server.

    The key is never taken from the environment here, so that an address which a visitor chose is never sent
    the owner's. An empty one is for servers that need none.

    Raises:
        LabError: the address or the key cannot be one.
    """
    import openai

    check_address(base_url)
    if not (api_key.isascii() and api_key.isprintable()):
        raise LabError("The key holds characters that no key has; copy it again.")
    return openai.OpenAI(
        api_key=api_key or "none", base_url=base_url, timeout=timeout, max_retries=max_retries
    )


def words_of(error: Any, api_key: str) -> str:
    """The server's message in an ``openai.APIError``, short and without the key."""
    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message") or body.get("detail") or error.message)
    status = getattr(error, "status_code", None)
    return without_key(f"{status}: {message}" if status else message, api_key)[:300]


def without_key(text: str, api_key: str) -> str:
    """The text with the key blacked out; servers do repeat it."""
    # A short "key" is a placeholder for a server that needs none, such as EMPTY.
    return text.replace(api_key, "[key]") if len(api_key) >= 12 else text
