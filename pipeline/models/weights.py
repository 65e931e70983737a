"""Where a family's base model comes from: a folder of safetensors, made once, or a hub id."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.models.families import Family, Gguf, base_folder
from pipeline.network import HUB_URL, with_settings
