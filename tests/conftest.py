"""What the tests share: the converted base model and the corpus, made once and kept in ``build/``."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "gradio"))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Threads of several processes that wait for each other on the same cores are slower than one each.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import pytest
from filelock import FileLock

from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.settings import Settings

gc.set_threshold(10_000)  # importing torch and transformers makes much, and none of it is garbage
pytest.register_assert_rewrite("tests.results_page")  # a plugin that is imported before it is one
SHARED = Path(__file__).resolve().parent.parent / "build" / "test-data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what each test needs (``make quick``), and choose an order in which few wait.

    First a file that makes what is shared; while it does, those that need none of it; then those that start
    verbs, which take longest; then the others.
    """

    def files(fixture: str) -> list[Path]:
        return [item.path for item in items if fixture in getattr(item, "fixturenames", ())]

    for item in items:
        if "settings" in getattr(item, "fixturenames", ()):
            item.add_marker("model")
        for room in ("browser", "cluster"):
            if item.path.parent.name == room:
                item.add_marker(room)
    sharing, starting = files("settings"), files("fresh_short")

    def turn(item: pytest.Item) -> int:
        if item.path not in sharing:
            return 1
        return 0 if item.path == sharing[0] else 2 if item.path in starting else 3

    items.sort(key=turn)


def pytest_sessionfinish() -> None:
    gc.freeze()  # pytest looks for cycles five times as it ends, in all that is loaded


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Settings whose data folder keeps what is dear to make: models and datasets, and nothing else."""
    from pipeline.data.packages.corpus import load_corpus
    from pipeline.models.weights import base_model_dir

    SHARED.mkdir(parents=True, exist_ok=True)
    shared = Settings(data_dir=SHARED)
    with FileLock(SHARED / "lock"):  # one worker makes them and the others wait: each for itself takes longer
        load_corpus(shared)
        base_model_dir(shared, get_family(shared, DEFAULT_FAMILY))
    return shared


@pytest.fixture
def fresh(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a data folder of the test's own, in which the shared models and datasets are linked."""
    return isolated(settings, tmp_path / "data")


@pytest.fixture(scope="session")
def short(settings: Settings, family: Family) -> Settings:
    """Settings whose base model is the embedded one cut behind its fourth layer.

    As real, and several times as fast, for tests that do not depend on what it writes.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipeline.models.weights import base_model_dir

    whole = Path(base_model_dir(settings, family))
    own = Settings(data_dir=settings.data_dir / "short")
    target = own.data_dir / "models" / whole.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (own.data_dir / "datasets").symlink_to("../datasets")
        part = target.with_name(f"{whole.name}.{os.getpid()}")
        AutoModelForCausalLM.from_pretrained(whole, dtype="auto", num_hidden_layers=4).save_pretrained(part)
        AutoTokenizer.from_pretrained(whole).save_pretrained(part)
        with suppress(OSError):  # another worker was first
            part.rename(target)
        shutil.rmtree(part, ignore_errors=True)
    return own


@pytest.fixture
def fresh_short(short: Settings, tmp_path: Path) -> Settings:
    """``fresh`` with the short base model."""
    return isolated(short, tmp_path / "data")


@pytest.fixture
def linked(short: Settings, family: Family, tmp_path: Path) -> Settings:
    """``short`` in a data folder of the test's own: so is what is made beside the base model."""
    from pipeline.models.weights import base_model_dir

    base, data_dir = Path(base_model_dir(short, family)), tmp_path / "data"
    (data_dir / "models").mkdir(parents=True)
    (data_dir / "models" / base.name).symlink_to(base)
    (data_dir / "datasets").symlink_to(short.data_dir / "datasets")
    return Settings(data_dir=data_dir)


def isolated(settings: Settings, data_dir: Path) -> Settings:
    """Settings for a new data folder, in which the shared models and datasets are linked."""
    for name in ("models", "datasets"):
        (settings.data_dir / name).mkdir(exist_ok=True)
    (data_dir / "datasets").mkdir(parents=True)  # its own, so that a test can add a dataset
    (data_dir / "models").symlink_to(settings.data_dir / "models")
    for dataset in (settings.data_dir / "datasets").iterdir():
        (data_dir / "datasets" / dataset.name).symlink_to(dataset)
    return Settings(data_dir=data_dir)


WRITTEN: dict[str, Any] = {"samples": 2, "max_new_tokens": 6, "temperature": 0.0}
"""Arguments of the evaluation that wrote the run of ``unjudged``."""


@pytest.fixture(scope="session")
def unjudged(short: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a run as ``evaluate`` makes it without a judge; tests copy it."""
    from training.evaluate import evaluate

    own = isolated(short, tmp_path_factory.mktemp("unjudged") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RCL_DATA_DIR", str(own.data_dir))
        evaluate("baseline", **WRITTEN)
    return own.data_dir


@pytest.fixture(scope="session")
def family(settings: Settings) -> Family:
    """The embedded family."""
    return get_family(settings, DEFAULT_FAMILY)


@contextmanager
def serve(settings: Settings) -> Iterator[str]:
    """The whole app on a free port, loading as it does for a user; gives its URL."""
    import app
    from training.jobs import open_runner
    from training.sweep import VERBS
    from ui import theme
    from ui.lab import Lab

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab, runner = Lab(settings), open_runner(settings, VERBS)
    page = app.build(lab, runner)
    _, url, _ = page.launch(server_port=port, prevent_thread_lock=True, quiet=True, **theme.launch(settings))
    lab.start()
    runner.start()
    try:
        yield url
    finally:
        runner.close()
        page.close()


@pytest.fixture(scope="session")
def app_settings(settings: Settings, family: Family, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A data folder with one damaged checkpoint beside those that are shipped."""
    from pipeline.models.checkpoints import checkpoints_dir

    own = isolated(settings, tmp_path_factory.mktemp("app") / "data")
    damaged = checkpoints_dir(own, family) / "100-regular"
    shutil.copytree(own.assets / "checkpoints" / family.name / "200-regular", damaged)
    (damaged / "checkpoint.json").unlink()  # it says 200 samples
    (damaged / "adapter_model.safetensors").write_bytes(b"not a tensor in sight")
    return own


@pytest.fixture(scope="session")
def app_url(app_settings: Settings) -> Iterator[str]:
    """Where the app runs, loaded once for all tests that only read or generate."""
    with serve(app_settings) as url:
        yield url
