"""Harvest the corpus, store it as one parquet file, and read it; or read one sample from its package."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.packages.harvest import (
    Found,
    definitions,
    in_place,
    is_generated,
    is_own_source,
    plain_text,
)
from pipeline.files import write_atomically
from pipeline.json_files import check_format
from pipeline.schema import LabError, Progress, Sample
from pipeline.settings import Settings

# Only direct requirements that are installed on all platforms.
PACKAGES = (
    "accelerate",
    "code-bert-score",
    "datasets",
    "gguf",
    "huggingface_hub",
    "peft",
    "sacrebleu",
    "torch",
    "transformers",
    "trl",
)
_FORMAT = 2  # increase it with each change of what is harvested or how it is stored
_ROW = pa.struct(
    {
        "name": pa.string(),
        "instruction": pa.string(),
        "function": pa.string(),
        "start": pa.int32(),
        "end": pa.int32(),
        "indent": pa.int32(),
        "needs_class": pa.bool_(),
    }
)
_SCHEMA = pa.schema({"repo": pa.string(), "file": pa.string(), "code": pa.string(), "rows": pa.list_(_ROW)})
_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)+")  # in a wheel; the ids of a stored run may hold anything
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)
_log = logging.getLogger(__name__)


class Corpus:
    """The samples, made on access: a file's code is in memory once and not once for each of its samples.

    Attributes:
        fingerprint: first 12 hex digits of the SHA-256 over the rows' content.
        ids: of all samples, in order.
        rows: what was harvested of each sample, in the same order.
    """

    def __init__(self, table: pa.Table) -> None:
        rows = table["rows"].combine_chunks()
        columns = [rows.flatten().field(field.name).to_pylist() for field in _ROW]
        self.rows = [Found(*row) for row in zip(*columns, strict=True)]
        self._parents = rows.value_parent_indices().to_pylist()
        self._repos, self._files = table["repo"].to_pylist(), table["file"].to_pylist()
        self._codes = table["code"]
        self.fingerprint: str = table.schema.metadata[b"fingerprint"].decode()
        paths = [f"{repo}/{file}" for repo, file in zip(self._repos, self._files, strict=True)]
        self.ids = [f"{paths[at]}::{row.name}" for at, row in zip(self._parents, self.rows, strict=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Sample:
        """Return the sample at an index."""
        parent = self._parents[index]
        path = f"{self._repos[parent]}/{self._files[parent]}"
        return _as_sample(path, self._codes[parent].as_py(), self.rows[index])

    def instruction(self, index: int) -> str:
        """Return a sample's instruction without making the sample."""
        return self.rows[index].instruction


def read_sample(packages: Sequence[str], sample_id: str) -> Sample | None:
    """Read one sample from its file in an installed package, as a harvest of these packages has it.

    The slowest file takes a tenth of a second, where a harvest takes half a minute.

    Args:
        packages: the packages that may have it.
        sample_id: the path of its file, ``::``, and its name in the file. A harvest leaves out copies of
            other samples; they are read as well.

    Returns:
        The sample; None if no installed package has it.
    """
    path, _, name = sample_id.partition("::")
    source = _installed_file(packages, path)
    if source is None or not source.is_file():
        return None
    with _no_search_for_cycles():
        code = plain_text(source.read_bytes())
        found = [] if is_generated(code) else definitions(code, only=name)
    return _as_sample(path, code, found[0]) if found else None


def load_corpus(settings: Settings, progress: Progress | None = None) -> Corpus:
    """Read the embedded dataset; harvest it first if there is no file for these package versions.

    Raises:
        LabError: a package is missing, the disk is full, or the file of ``RCL_CORPUS`` cannot be read.
    """
    if settings.corpus_path:
        return _open_given(settings.corpus_path)
    path = cache_path(settings)
    if path.exists():
        try:
            return _open(path)
        except _UNREADABLE as error:
            _log.warning("%s is damaged and is built again: %s", path, error)
    table = harvest(PACKAGES, progress)
    _write(table, path)
    return Corpus(table)


def cache_path(settings: Settings) -> Path:
    """Return the file of the dataset for the installed versions."""
    key = json.dumps([_FORMAT, {name: _version(name) for name in PACKAGES}])
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return settings.data_dir / "datasets" / f"packages-{digest}.parquet"


def harvest(packages: Sequence[str], progress: Progress | None = None) -> pa.Table:
    """Read the packages' sources into a table with one row for each file, which contains its samples.

    No text occurs twice: of exact copies, of copies that differ in the model's name only (``# Copied from``
    in transformers), and of samples with the same instruction, only the first one is kept.
    """
    sources = sorted((path, file) for name in packages for path, file in _sources(name))
    digest = hashlib.sha256()
    seen: set[str] = set()
    files: list[dict[str, Any]] = []
    with _no_search_for_cycles():
        for number, (path, source) in enumerate(sources):
            repo, _, file = path.partition("/")
            if progress and number % 50 == 0:
                progress(number / len(sources), f"reading {repo}")
            code = plain_text(source.read_bytes())
            found = [] if is_generated(code) else definitions(code)
            rows = [_as_dict(row) for row in found if _is_new(path, row, seen)]
            if rows:
                files.append({"repo": repo, "file": file, "code": code, "rows": rows})
                content = [path, hashlib.sha256(code.encode()).hexdigest(), *rows]
                digest.update(json.dumps(content, sort_keys=True).encode())
    return pa.Table.from_pylist(
        files, _SCHEMA.with_metadata({"fingerprint": digest.hexdigest()[:12], "format": str(_FORMAT)})
    )


def _as_sample(path: str, code: str, row: Found) -> Sample:
    """Make a sample of a definition; in its file's code its own docstrings are removed."""
    repo, _, file = path.partition("/")
    full_code = code[: row.start] + in_place(row.function, row.indent) + code[row.end :]
    return Sample(
        id=f"{path}::{row.name}",
        prompt=row.instruction,
        function=row.function,
        function_name=row.name,
        full_code=full_code,
        file_length=len(full_code),
        repo=repo,
        file=file,
        needs_class=row.needs_class,
    )


def _installed_file(packages: Sequence[str], path: str) -> Path | None:
    """Return the file that a package lists under this path; None if no package that is installed does."""
    if not (_PATH.fullmatch(path) and is_own_source(path)):
        return None
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            if f"\n{path}," in _file_list(package):
                return Path(str(distribution(package).locate_file(path)))
    return None


@cache
def _file_list(package: str) -> str:
    """Return the list of an installed package's files as text; to parse torch's takes 250 ms."""
    return "\n" + (distribution(package).read_text("RECORD") or "")


@contextlib.contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Disable the search for cycles: syntax trees have none, and beside torch it takes 40% of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """Yield the package's own modules: the path in its wheel and the file on this machine."""
    _version(package)
    files = distribution(package).files
    if files is None:
        raise LabError(f"The installed {package} does not list its files, so no dataset can be made from it.")
    for file in files:
        path = file.as_posix()
        if "/" in path and is_own_source(path):
            yield path, Path(str(file.locate()))


def _version(package: str) -> str:
    try:
        version = distribution(package).version
    except PackageNotFoundError as error:
        raise LabError(
            f"The embedded dataset is made from installed packages, and {package} is not installed. "
            "Install requirements.txt, or set RCL_CORPUS to a dataset file from another machine."
        ) from error
    return version.partition("+")[0]  # 2.13.0+cpu and 2.13.0+cu130 hold the same sources


def _is_new(path: str, row: Found, seen: set[str]) -> bool:
    keys = {re.sub(r"\s+", " ", row.function), _without_model_name(path, row.function), row.instruction}
    fresh = keys.isdisjoint(seen)
    if fresh:
        seen |= keys
    return fresh


def _without_model_name(path: str, function: str) -> str:
    """Return the function in lower case, without comments and the name of its model."""
    folder = re.search(r"/models/([^/]+)/", path)
    words = " ".join(re.findall(r"\w+|[^\w\s]", re.sub(r"#.*", "", function))).lower().replace("_", "")
    return "\0" + (words.replace(folder[1].replace("_", ""), "") if folder else words)


def _as_dict(row: Found) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in _ROW}


def _write(table: pa.Table, path: Path) -> None:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    try:
        write_atomically(path, buffer.getvalue().to_pybytes())
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error
        raise LabError(f"The dataset could not be written to {path.parent}: {why}.") from error


def _open(path: Path) -> Corpus:
    """Read a dataset file.

    Raises:
        LabError: a newer version wrote it.
        Exception: one of ``_UNREADABLE``: it is damaged, or no dataset file.
    """
    table = pq.read_table(path, page_checksum_verification=True)
    check_format(str(path), int((table.schema.metadata or {}).get(b"format", b"1")), _FORMAT)
    if not table.schema.equals(_SCHEMA):
        raise ValueError("its columns are not those of a harvested dataset")
    rows = table["rows"].combine_chunks()
    fields = [*(table[name] for name in ("repo", "file", "code")), rows, *rows.flatten().flatten()]
    if any(field.null_count for field in fields):
        raise ValueError("some of its fields are empty")
    return Corpus(table)


def _open_given(path: Path) -> Corpus:
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if len(found) != 1:
        raise LabError(f"RCL_CORPUS names {path}, a folder with {len(found)} parquet files instead of one.")
    try:
        return _open(found[0])
    except _UNREADABLE as error:
        raise LabError(f"RCL_CORPUS names {found[0]}, which is no readable dataset file: {error}") from error
