"""Engines that turn prompts into completions: one protocol, a local and a remote implementation."""

from pipeline.generation.engine import Engine, Request

__all__ = ["Engine", "Request"]
