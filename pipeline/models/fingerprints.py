"""The fingerprint of a checkpoint: it follows the content of its files, not their place or name."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from pipeline.models.model_files import read_json_object

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PUBLISHED = "published.json"
"""What a checkpoint from the hub has beside its files: its ``hub_id`` and ``commit``."""

FileStates: TypeAlias = tuple[tuple[Path, int, int, int, int], ...]
_SETTLED_SECONDS = 2.0
_RECORDED = {
    "a5aedc910e03": "516a6a9c808c",  # 200-regular
    "450fe7493084": "7579313f470e",  # 200-augmented
    "3a7d59b2ee55": "9dc1138bd9d0",  # 500-regular
    "c2c00039ef3f": "c315233b7d03",  # 500-augmented
    "217296853412": "18ada2c915c4",  # 1000-regular
    "d1d1678fb52c": "561d0344472c",  # 1000-augmented
    "420aec9b04e0": "b7349eb6bf91",  # 5000-regular
    "3e457215fdfc": "39f65304f243",  # 5000-augmented
    "0e824923270e": "06550c271f6e",  # 10000-regular
    "891ec973af0e": "9e7696815bdd",  # 10000-augmented
}
"""The fingerprints under which stored runs know the shipped adapters.

Their ``adapter_config.json`` once named a folder of the machine that trained them as the base model. Naming
the hub's id instead changed the file, but nothing that the adapter computes.
"""


def adapter_fingerprint(files: Mapping[str, bytes]) -> str:
    """First 12 hex digits of the SHA-256 over an adapter's files.

    Args:
        files: content by file name; what is missing is left out.
    """
    digest = hashlib.sha256()
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if name in files:
            digest.update(name.encode() + b"\0" + files[name])
    short = digest.hexdigest()[:12]
    return _RECORDED.get(short, short)


def fingerprint(folder: Path) -> str:
    """The fingerprint of an adapter's folder, or the first 12 digits of a merged model's commit on the hub.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: the file that should hold the commit is damaged.
    """
    files = [folder / name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if (folder / name).exists()]
    if not files:
        commit = read_json_object(folder / PUBLISHED).get("commit")
        if not isinstance(commit, str) or not commit:  # an empty fingerprint is the baseline's
            raise ValueError(f"{PUBLISHED} names no commit")
        return commit[:12]
    states = file_states(files)
    # The clock of a file system ticks every few milliseconds: a file that has just changed can change again
    # and keep its times, so its fingerprint is not cached yet.
    if time.time() - max(state[-1] for state in states) / 1e9 < _SETTLED_SECONDS:
        return _read.__wrapped__(states)
    return _read(states)


def file_states(files: Iterable[Path]) -> FileStates:
    """What changes when files change: path, size, modification time, inode and change time of each.

    Size and modification time alone can be those of another file, as copied and unpacked files keep them.
    """
    stats = [(file, file.stat()) for file in files]
    return tuple((file, s.st_size, s.st_mtime_ns, s.st_ino, s.st_ctime_ns) for file, s in stats)


@lru_cache(maxsize=1_000)  # each click in the list of checkpoints asks for all of them
def _read(states: FileStates) -> str:
    return adapter_fingerprint({file.name: file.read_bytes() for file, *_ in states})
