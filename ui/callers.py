"""Who calls: the user of this machine or a stranger, and from which address."""

from __future__ import annotations

from ipaddress import ip_address
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
    return Caller(request is not None and is_local(settings, request.headers), token or "")


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
