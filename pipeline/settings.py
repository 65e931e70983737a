"""One frozen settings object, read from the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline.decimals import is_number
from pipeline.network import is_loopback_host
from pipeline.schema import LabError, Price

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the packages and ``assets/``; jobs run in it."""
ASSETS = ROOT / "assets"
PROGRESS_FILE = "RCL_PROGRESS_FILE"
"""The variable that tells a job's process where to report its progress."""


@dataclass(frozen=True)
class Settings:
    """Folders, addresses, keys and permissions.

    Attributes:
        data_dir: the one folder for everything written at run time (``RCL_DATA_DIR``).
        assets: shipped files, read only.
        host: address that the app listens on (``HOST``).
        port: its port (``PORT``).
        shared: whether Gradio makes a public link to the app (``GRADIO_SHARE``).
        on_space: whether this is a Hugging Face Space (``SPACE_ID`` is set).
        space_owner: the user of the Hugging Face Hub who owns this Space (``SPACE_AUTHOR_NAME``), if visitors
            can sign in (``OAUTH_CLIENT_ID``); else empty.
        space_hosts: names under which the Space is served (``SPACE_HOST``, with commas between them).
        trusted_hosts: names under which a reverse proxy of this machine serves the app to people who may do
            all that its owner may (``RCL_TRUSTED_HOSTS``, with commas between them).
        jobs_token: the password for jobs on a public address (``RCL_JOBS_TOKEN``).
        public_jobs: whether jobs and their logs are shown to everybody (``RCL_PUBLIC_JOBS=1``).
        jobs_at_once: how many jobs may run at the same time (``RCL_JOBS_AT_ONCE``); None means one for each
            GPU, or one if there is no GPU.
        ray_address: a Ray cluster for the jobs (``RAY_ADDRESS``).
        share_url: folder or fsspec URL through which a cluster returns results (``RCL_SHARE_URL``).
        corpus_path: a file of the embedded dataset (``RCL_CORPUS``), for machines whose installed packages
            differ from those that the dataset was made from.
        engine_url: an OpenAI-compatible server that runs the large families (``RCL_ENGINE_URL``), so that
            they need no GPU on this machine.
        engine_key: its key (``RCL_ENGINE_KEY``).
        gpus: indices of the GPUs that may be used (``CUDA_VISIBLE_DEVICES``); None for all of them.
        progress_file: the file in which a job's process reports its progress (``RCL_PROGRESS_FILE``).
        judge_url: server of the CodeJudge (``OPENAI_BASE_URL``), None for OpenAI's own.
        judge_key: its key (``OPENAI_API_KEY``).
        budget: US dollars that judge and engine may cost in a calendar month (``RCL_JUDGE_BUDGET``); None for
            no ceiling.
        run_budget: US dollars that they may cost in one run (``RCL_RUN_BUDGET``).
        prices: of models by name, where the list of OpenAI's prices has none (``RCL_PRICES``, such as
            ``gpt-9=2.50/10,own-model=0/0``); ``*`` stands for every other model.
        unsafe_execution: whether code that a model wrote is executed where the system cannot confine it
            (``RCL_UNSAFE_EXECUTION=1``). Such code can do what any program of the user can.
    """

    data_dir: Path
    assets: Path = ASSETS
    host: str = "127.0.0.1"
    port: int = 7860
    shared: bool = False
    on_space: bool = False
    space_owner: str = ""
    space_hosts: frozenset[str] = frozenset()
    trusted_hosts: frozenset[str] = frozenset()
    jobs_token: str | None = None
    public_jobs: bool = False
    jobs_at_once: int | None = None
    ray_address: str | None = None
    share_url: str | None = None
    corpus_path: Path | None = None
    engine_url: str | None = None
    engine_key: str = field(default="", repr=False)
    gpus: tuple[str, ...] | None = None
    progress_file: Path | None = None
    judge_url: str | None = None
    judge_key: str = field(default="", repr=False)
    budget: float | None = None
    run_budget: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    unsafe_execution: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; raise ``LabError`` if one is not valid."""
        port = env.get("PORT", "7860")
        if not _is_number(port, 65_535):
            raise LabError(f"PORT must be a number from 0 to 65535, not {port!r}.")
        at_once = env.get("RCL_JOBS_AT_ONCE")
        if at_once and not (_is_number(at_once, 1_000) and int(at_once)):
            raise LabError(f"RCL_JOBS_AT_ONCE must be a number from 1 to 1,000, not {at_once!r}.")
        on_space = bool(env.get("SPACE_ID"))
        return cls(
            data_dir=find_data_dir(env),
            host=env.get("HOST") or ("0.0.0.0" if on_space else "127.0.0.1"),
            port=int(port),
            shared=env.get("GRADIO_SHARE", "").lower() == "true",
            on_space=on_space,
            space_owner=env.get("SPACE_AUTHOR_NAME", "") if on_space and env.get("OAUTH_CLIENT_ID") else "",
            space_hosts=_names(env.get("SPACE_HOST", "")),
            trusted_hosts=_names(env.get("RCL_TRUSTED_HOSTS", "")),
            jobs_token=env.get("RCL_JOBS_TOKEN") or None,
            public_jobs=env.get("RCL_PUBLIC_JOBS") == "1",
            jobs_at_once=int(at_once) if at_once else None,
            ray_address=env.get("RAY_ADDRESS") or None,
            share_url=env.get("RCL_SHARE_URL") or None,
            corpus_path=_path(env, "RCL_CORPUS"),
            engine_url=env.get("RCL_ENGINE_URL") or None,
            engine_key=env.get("RCL_ENGINE_KEY", ""),
            gpus=_gpus(env.get("CUDA_VISIBLE_DEVICES")),
            progress_file=_path(env, PROGRESS_FILE),
            judge_url=env.get("OPENAI_BASE_URL") or None,
            judge_key=env.get("OPENAI_API_KEY", ""),
            budget=_dollars(env, "RCL_JUDGE_BUDGET"),
            run_budget=_dollars(env, "RCL_RUN_BUDGET"),
            prices=_prices(env.get("RCL_PRICES", "")),
            unsafe_execution=env.get("RCL_UNSAFE_EXECUTION") == "1",
        )

    @property
    def has_budget(self) -> bool:
        """Whether calls to paid servers are counted."""
        return self.budget is not None or self.run_budget is not None

    @property
    def private(self) -> bool:
        """Whether the app listens to this machine only; a proxy here can still let others reach it."""
        return not self.on_space and not self.shared and is_loopback_host(self.host)


def on_zero_gpu(env: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a ZeroGPU Space: a GPU is there only inside calls that ``spaces.GPU`` decorates."""
    return env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true") and bool(find_spec("spaces"))


def find_data_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The folder for everything written at run time; raises ``LabError`` if its name makes no sense."""
    if given := _path(env, "RCL_DATA_DIR"):
        return given.resolve()
    # A Space's attached volume is mounted at /data; without one its disk is lost at each restart.
    volume = Path("/data")
    home = volume if env.get("SPACE_ID") and os.access(volume, os.W_OK) else Path.home() / ".cache"
    return home / "research-code-lab"


def _is_number(text: str, most: int) -> bool:
    # isdigit alone also takes digits such as ², which int does not read.
    return text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most


def _dollars(env: Mapping[str, str], name: str) -> float | None:
    """An amount of US dollars, None if it is not set."""
    text = env.get(name)
    if not text:
        return None
    amount = _amount(text)
    if amount is None:
        raise LabError(f"{name} must be an amount in US dollars, such as 20 or 2.50, not {text!r}.")
    return amount


def _prices(text: str) -> dict[str, Price]:
    """The prices in ``gpt-9=2.50/10,own-model=0/0``; raises ``LabError`` if one cannot be read."""
    prices = {}
    for part in filter(None, map(str.strip, text.split(","))):
        model, _, price = part.rpartition("=")
        read, _, written = price.partition("/")
        for_input, for_output = _amount(read), _amount(written)
        if not model or for_input is None or for_output is None:
            raise LabError(
                "RCL_PRICES must have models with what a million tokens cost in US dollars, read/written, "
                f"such as gpt-9=2.50/10,own-model=0/0; {part!r} cannot be read."
            )
        prices[model.strip()] = Price(for_input, for_output)
    return prices


def _amount(text: str) -> float | None:
    """A number from 0 up, None if the text is none."""
    amount = float(text) if is_number(text) else -1.0
    return amount if 0 <= amount < math.inf else None


def _gpus(text: str | None) -> tuple[str, ...] | None:
    """The GPUs of a list with commas; ``-1`` and no name mean that there are none."""
    if text is None:
        return None
    return tuple(name for part in text.split(",") if (name := part.strip()) not in ("", "-1"))


def _names(text: str) -> frozenset[str]:
    """The host names of a list with commas."""
    return frozenset(name for part in text.lower().split(",") if (name := part.strip()))


def _path(env: Mapping[str, str], name: str) -> Path | None:
    """The path that a variable holds, None if it is not set."""
    text = env.get(name)
    if not text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise LabError(f"{name} names the home of a user that this machine does not have: {text}") from None
