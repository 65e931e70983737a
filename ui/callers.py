"""Who calls: the user of this machine, the owner of this Space or a stranger, and from which address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from gradio.context import LocalContext
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from pipeline.network import is_loopback_host
from pipeline.settings import Settings
from training.jobs.admission import Caller

_BY_A_PROXY = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers of a request that a reverse proxy passes on."""


def caller(settings: Settings, token: str | None = "") -> Caller:
    """Who the running callback works for."""
    request = LocalContext.request.get(None)
    if request is None:
        return Caller(False, token or "")
    session = getattr(request.request, "scope", {}).get("session", {})
    owner = is_local(settings, request.headers) or is_signed_in(settings, request.headers, session)
    return Caller(owner, token or "")


def is_local(settings: Settings, headers: Headers) -> bool:
    """Whether a request was made by the user of this machine, or by one who is trusted like that.

    That the app listens on loopback is not enough. A browser on this machine also sends what pages of other
    sites ask it to (their name is the ``Origin``), even to a host name of theirs that leads to loopback (DNS
    rebinding: it is the ``Host``). And a reverse proxy on this machine passes on what anybody asks. So each
    host that the request names must be this machine or in ``RCL_TRUSTED_HOSTS``; behind a proxy, the latter.
    """
    if not settings.private:
        return False
    host = _name(f"//{headers.get('host', '')}")
    passed_on = [
        _name(f"//{name.strip()}") for name in headers.get("x-forwarded-host", "").split(",") if name
    ]
    origins = [_name(origin) for origin in headers.getlist("origin")]
    if any(name in headers for name in _BY_A_PROXY) and not settings.trusted_hosts.issuperset(
        passed_on or [host]
    ):
        return False
    return all(
        name in settings.trusted_hosts or is_loopback_host(name) for name in (host, *passed_on, *origins)
    )


def is_signed_in(settings: Settings, headers: Headers, session: Mapping[str, Any]) -> bool:
    """Whether a request comes from a page of this Space on which its owner has signed in.

    The browser sends the session along with what pages of other sites ask for, too: their name is the
    ``Origin``, without which nobody is the owner.

    Args:
        settings: of the app.
        headers: of the request.
        session: what Gradio's sign-in stored in a signed cookie.
    """
    login = session.get("oauth_info") or {}
    user = login.get("userinfo", {}).get("preferred_username", "")
    origins = {_name(origin) for origin in headers.getlist("origin")}
    return (
        bool(settings.space_owner)
        and user.lower() == settings.space_owner.lower()
        and login.get("expires_at", 0) > time.time()
        and bool(origins)
        and origins <= settings.space_hosts
    )


def address(settings: Settings, connection: HTTPConnection) -> str:
    """The network address that a request comes from; kept in memory only, while the request is answered.

    The web server itself asks a proxy on loopback for it. A Space stands behind another proxy, which appends
    the visitor's address to what the visitor sent.
    """
    peer = connection.client.host if connection.client else ""
    if not settings.on_space:
        return peer
    hops = [hop.strip() for hop in connection.headers.get("x-forwarded-for", "").split(",")]
    return next((hop for hop in reversed(hops) if _is_public(hop)), peer)


def _name(url: str) -> str:
    """The host of a URL; empty where it cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_public(text: str) -> bool:
    try:
        return ip_address(text).is_global
    except ValueError:
        return False
