"""Proxies and certificates, as the environment sets them for every HTTP client of this process."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import ssl
from collections.abc import MutableMapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_LOG = logging.getLogger(__name__)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
NAMES = (*_PROXIES, *map(str.lower, _PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables that HTTP clients read."""
HUB_URL = "https://huggingface.co"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(url: str) -> bool:
    """Whether this address is on this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def is_loopback_host(host: str) -> bool:
    """Whether this name or IP address always means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def prepare_environment() -> None:
    """Make the environment one with which a process starts that asks no remote server.

    It must be called before HTTP clients are imported.
    """
    bypass_proxies_on_loopback()
    try:
        if keys := os.environ.get("SSLKEYLOGFILE"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = keys
    except OSError as error:  # aiohttp would fail as it is imported; and only debugging needs this file
        _LOG.warning("SSLKEYLOGFILE is ignored: %s", error)
        del os.environ["SSLKEYLOGFILE"]


def bypass_proxies_on_loopback(env: MutableMapping[str, str] = os.environ) -> None:
    """Let clients reach this machine directly despite a proxy: add it to ``NO_PROXY``."""
    hosts = [*env.get("NO_PROXY", "").split(","), *env.get("no_proxy", "").split(","), *_LOOPBACK]
    env["NO_PROXY"] = env["no_proxy"] = ",".join(
        dict.fromkeys(host.strip() for host in hosts if host.strip())
    )


def with_settings(problem: str, url: str) -> str:
    """Why a connection to ``url`` failed, and which settings of the environment were used for it.

    Passwords of proxies are left out.
    """
    parts = urlsplit(url)
    used = {name: os.environ[name] for name in NAMES if name.startswith("SSL") and os.environ.get(name)}
    if not is_loopback(url) and not proxy_bypass(parts.hostname or ""):
        proxies = getproxies()
        for scheme in (parts.scheme, "all"):
            if proxy := proxies.get(scheme):
                used[f"{scheme.upper()}_PROXY"] = _without_password(proxy)
                break
    settings = ", ".join(f"{name}={value}" for name, value in used.items())
    return f"{problem.rstrip('.')}. The environment sets {settings}" if settings else problem


def _without_password(proxy: str) -> str:
    return proxy.rpartition("@")[2] if "@" in proxy else proxy
