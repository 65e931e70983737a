"""Keep settings of proxies and certificates that cannot be used from stopping the app as it starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import httpx

from pipeline.network import NAMES, bypass_proxies_on_loopback

_LOG = logging.getLogger(__name__)


@contextmanager
def without_broken_settings() -> Iterator[None]:
    """Hide the variables with which no HTTP client can be made.

    Gradio makes clients as it is imported, and asks itself over HTTP as it starts. Afterwards the variables
    are back: a request to a remote server then fails with the problem of its settings.
    """
    hidden = {name: os.environ.pop(name) for name in _broken_settings()}
    bypass_proxies_on_loopback()
    try:
        yield
    finally:
        os.environ.update(hidden)


@cache
def _broken_settings() -> tuple[str, ...]:
    """The variables that cannot be used; each is logged once."""
    present = {name: os.environ[name] for name in NAMES if name in os.environ}
    broken = {name: problem for name in present if (problem := _problem(name, present))}
    for name, problem in broken.items():
        _LOG.warning("%s=%s cannot be used: %s", name, present[name], problem)
    return tuple(broken)


def _problem(name: str, present: Mapping[str, str]) -> str:
    """Why no client can be made with this variable alone; empty if one can."""
    for other in present:
        del os.environ[other]
    os.environ[name] = present[name]
    try:
        httpx.Client().close()
    except Exception as error:  # of the files, of TLS, of addresses, of missing packages
        return str(error) or type(error).__name__
    finally:
        os.environ.update(present)
    return ""
