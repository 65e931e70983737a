"""Jobs on a real Ray cluster: one head on this machine's loopback, with token authentication."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.schema import LabError
from tests.jobs_kit import ROOT, VERBS, ended, local_runner, settings_in, until
from tests.test_sweep import made
from training.jobs import Records, Runner, open_runner, processes
from training.jobs.ray_backend import RayBackend

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is optional: pip install 'ray[default]'", allow_module_level=True)
os.environ["RAY_AUTH_MODE"] = "token"  # Ray looks at it once, when it is first imported
SENT = ("pipeline", "training", "assets", "tests")
KEY = "sk-test-of-the-cluster-0123456789"


@dataclass(frozen=True)
class Cluster:
    folder: Path
    address: str


def client(cluster: Cluster) -> Any:
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(cluster.address)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head with eight CPUs and no GPU, that no other test sees."""
    folder = tmp_path_factory.mktemp("cluster")
    token = folder / "token"
    token.write_text("f" * 64)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    ports = [_free_port() for _ in range(3)]
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
    ]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=8", "--num-gpus=0"]
    command += [
        f"--port={ports[0]}",
        f"--dashboard-port={ports[1]}",
        f"--dashboard-agent-listen-port={ports[2]}",
    ]
    temporary = Path(f"/tmp/ray-{os.getpid()}")  # sockets allow no long paths
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RCL_DATA_DIR": str(folder / "node"),
        "OPENAI_API_KEY": KEY,
        processes.MARK: "the-ray-head-of-the-tests",
    }
    head = subprocess.Popen(
        [*command, f"--temp-dir={temporary}"],
        env=environment,
        stdout=(folder / "head.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    yield Cluster(folder, f"http://127.0.0.1:{ports[1]}")
    head.terminate()  # it ends its own children
    with suppress(subprocess.TimeoutExpired):
        head.wait(20)
    processes.end(lambda: processes.members("the-ray-head-of-the-tests"), 5)
    head.wait()
    shutil.rmtree(temporary, ignore_errors=True)
    del os.environ["RAY_AUTH_TOKEN_PATH"]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def runner(cluster: Cluster, tmp_path: Path) -> Iterator[Runner]:
    records = Records(tmp_path / "jobs")
    settings = settings_in(tmp_path, ray_address=cluster.address, share_url=str(cluster.folder / "share"))
    runner = Runner(settings, records, RayBackend(records, settings, SENT), VERBS)
    runner.start()
    yield runner
    runner.close()


def test_a_job_runs_on_the_cluster_and_its_log_progress_and_result_come_back(runner: Runner) -> None:
    job = ended(runner, runner.submit("count", {"to": 20, "seconds": 0.05}), 60)
    assert (job.state, job.exit_code, job.backend) == ("succeeded", 0, "ray")
    assert job.result
    assert (job.result["counted"], job.result["key"]) == (20, True)  # the cluster's own key
    assert [report["step"] for report in runner.progress(job.id)] == list(range(1, 21))
    assert "counted 20" in runner.logs(job.id)
    assert '{"time"' not in runner.logs(job.id)


def test_a_failure_and_a_cancel_on_the_cluster_are_said_in_words(runner: Runner) -> None:
    failing = runner.submit("count", {"to": 5, "name": "failing", "fault": "error"})
    long = runner.submit("count", {"to": 5000, "name": "long"})
    until(lambda: runner.progress(long.id), 60)
    until(lambda: runner.status(long.id).state == "running", 30)  # it is asked for now and then
    runner.cancel(long.id)
    assert ended(runner, long, 30).state == "cancelled"
    failing = ended(runner, failing, 30)
    assert (failing.state, failing.exit_code, failing.reason) == ("failed", 1, "Three is too many.")


def test_a_job_that_asks_for_a_gpu_that_is_not_there_waits_and_says_for_what(
    runner: Runner, cluster: Cluster
) -> None:
    asked = {"subset_size": 100, "prompt": "regular", "family": "llama-3.1-8b"}
    job = runner.submit("finetune", asked)
    until(lambda: "1 GPU" in runner.status(job.id).message, 60)
    job = runner.status(job.id)
    assert job.state == "queued"
    assert job.slot
    assert str(client(cluster).get_job_info(job.slot).status) == "PENDING"
    runner.cancel(job.id)
    assert ended(runner, job, 30).state == "cancelled"


def test_the_same_sweep_gives_the_same_runs_on_the_cluster_as_here(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"sizes": "baseline,100", "prompts": "regular", "seeds": "43", "samples": 2}
    sweep = runner.submit("sweep", asked)
    here = tmp_path / "here"
    local = local_runner(here)
    local.start()
    assert ended(local, local.submit("sweep", asked), 90).state == "succeeded"
    local.close()
    assert ended(runner, sweep, 120).state == "succeeded"
    assert made(runner) == made(local)
    assert made(runner) == {"100-regular-seed43", "100-seed43/regular", "baseline/regular"}


def test_no_key_is_in_what_the_cluster_tells_of_its_jobs_or_in_our_records(
    runner: Runner, cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match="cluster's own environment"):
        runner.submit("count", {"to": 2, "name": "secret"}, secrets={"OPENAI_API_KEY": KEY})
    job = ended(runner, runner.submit("count", {"to": 2, "name": "secret"}), 60)
    assert job.result
    assert job.result["key"] is True
    listed = client(cluster).list_jobs()
    assert listed
    assert KEY not in repr(listed)
    for folder in (tmp_path, cluster.folder / "share"):
        assert not [
            file for file in folder.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()
        ]


def test_a_wrong_token_fails_the_job_with_that_reason(cluster: Cluster, tmp_path: Path) -> None:
    """In a process of its own: Ray reads its token once."""
    code = (
        "import time; from pathlib import Path; from tests.jobs_kit import VERBS, settings_in\n"
        "from training.jobs import open_runner\n"
        f"runner = open_runner(settings_in(Path({str(tmp_path)!r}), ray_address={cluster.address!r}, "
        f"share_url={str(tmp_path / 'share')!r}), VERBS)\n"
        "job = runner.submit('count', {'to': 2})\n"
        "while job.active: runner.tick(); time.sleep(0.2); job = runner.status(job.id)\n"
        "print(job.state, job.reason)"
    )
    environment = {**os.environ, "RAY_AUTH_TOKEN": "e" * 64}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith("failed")
    assert "Invalid authentication token" in done.stdout


def test_a_cluster_without_a_share_is_refused_in_words(tmp_path: Path) -> None:
    runner = open_runner(settings_in(tmp_path, ray_address="http://127.0.0.1:1"), VERBS)
    with pytest.raises(LabError, match="RCL_SHARE_URL"):
        runner.submit("count", {"to": 2})
    assert runner.list() == []


def test_a_job_waits_while_the_cluster_cannot_be_reached(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ray_address="http://127.0.0.1:1", share_url=str(tmp_path / "share"))
    runner = open_runner(settings, VERBS)
    job = runner.submit("count", {"to": 2})
    runner.tick()
    job = runner.status(job.id)
    assert job.state == "queued"
    assert "cannot be reached" in job.message


def test_a_share_whose_address_holds_a_password_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ray_address="http://127.0.0.1:1", share_url="ftp://me:secret@host/share")
    runner = open_runner(settings, VERBS)
    with pytest.raises(LabError, match="holds a password") as refused:
        runner.submit("count", {"to": 2})
    assert "secret" not in str(refused.value)
    assert runner.list() == []
