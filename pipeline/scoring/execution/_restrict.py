"""What takes a process's rights away on Linux: Landlock, seccomp, capabilities, limits; through ctypes.

A process without the capability to administer the machine may do all of this to itself, in containers too.
See ``landlock(7)``, ``seccomp(2)``, ``capabilities(7)``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.scoring.execution._syscalls import CLONE3, FCNTL, IOCTL, PRCTL, PRLIMIT64, REFUSED

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table, AUDIT_ARCH
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # on both
_SECCOMP = (317, 277)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_SIGKILL = 9

# Landlock's rights on files, by bit; each ABI added some.
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one candidate may use.

    Attributes:
        cpu_seconds: processor time for all its calls; the reference takes at most one second.
        wall_seconds: time on the clock, for one that sleeps or waits.
        memory: bytes of address space on top of what the imported modules take.
        file_size: bytes in one file.
        scratch_size: bytes in all files of its scratch folder.
        scratch_files: number of files and folders in it.
        open_files: number of open files.
    """

    cpu_seconds: int = 3
    wall_seconds: float = 10.0
    memory: int = 2 << 30
    file_size: int = 16 << 20
    scratch_size: int = 64 << 20
    scratch_files: int = 1000
    open_files: int = 64


def missing() -> str:
    """Return why this system cannot confine a process, in words; empty if it can."""
    if sys.platform != "linux":
        return "only Linux has what confines it (Landlock and seccomp)"
    if platform.machine() not in _ARCHITECTURES:
        return f"it knows x86-64 and ARM64 processors only, and this is {platform.machine()}"
    if _landlock_abi() < 1:
        return "this kernel or container does not offer Landlock (Linux 5.13 or later, with it switched on)"
    action = ctypes.c_uint32(0x00050000)  # SECCOMP_RET_ERRNO; operation 2 asks whether it is available
    if _libc().syscall(_SECCOMP[_column()], 2, 0, ctypes.byref(action)) != 0:
        return "this kernel or container does not offer seccomp filters"
    return ""


def _column() -> int:
    return _ARCHITECTURES[platform.machine()][0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _landlock_abi() -> int:
    return int(_libc().syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def read_ruleset(readable: Iterable[Path], listable: Iterable[Path]) -> int:
    """A Landlock ruleset that allows reading below some paths and listing folders below others, no more.

    It takes milliseconds to make, so the zygote makes it once for all candidates.

    Returns:
        Its file descriptor.
    """
    return _ruleset(_READ, [*((path, _READ) for path in readable), *((path, _READ_DIR) for path in listable)])


def _write_ruleset(scratch: Path) -> int:
    """A ruleset that allows every change below the scratch folder and nowhere else."""
    changes = ((1 << _RIGHTS_BY_ABI[min(_landlock_abi(), 5)]) - 1) & ~_READ
    return _ruleset(changes, [(scratch, changes), (Path("/dev/null"), changes)], scoped=True)


def _ruleset(handled: int, allowed: Iterable[tuple[Path, int]], *, scoped: bool = False) -> int:
    libc, abi = _libc(), _landlock_abi()
    network = 0b11 if scoped and abi >= 4 else 0  # TCP bind and connect
    scopes = 0b11 if scoped and abi >= 6 else 0  # abstract sockets and signals
    attributes = struct.pack("QQQ", handled, network, scopes)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _checked(libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0), "Landlock")
    for path, rights in allowed:
        try:
            where = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        # A file takes the rights of files only: execute, write, read, truncate, ioctl.
        rights = rights if path.is_dir() else rights & (0b111 | 1 << 14 | 1 << 15)
        rule = struct.pack("=Qi", rights, where)
        _checked(libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock, {path}")
        os.close(where)
    return ruleset


def die_with_parent() -> None:
    """Have the kernel end this process when the one that forked it ends."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that it can be found and ended."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def limit(limits: Limits) -> None:
    """Set the limits on this process's resources."""
    import resource  # not on Windows, where nothing is executed

    def cap(kind: int, value: int, more: int = 0) -> None:
        _, hard = resource.getrlimit(kind)
        most = value + more if hard == resource.RLIM_INFINITY else min(value + more, hard)
        resource.setrlimit(kind, (min(value, most), most))

    cap(resource.RLIMIT_CPU, limits.cpu_seconds, 1)  # first a signal that tells why, then the end
    cap(resource.RLIMIT_FSIZE, limits.file_size)
    cap(resource.RLIMIT_NOFILE, limits.open_files)
    cap(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        cap(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory)
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go where memory runs out


def confine(scratch: Path, readable: int) -> None:
    """Take every right away from this process but reading some files and changing its scratch folder.

    Args:
        scratch: the one folder that it may change.
        readable: what ``read_ruleset`` returned.

    Raises:
        OSError: the system refuses.
    """
    libc = _libc()
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, 4, 0, 0, 0)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for ruleset in (readable, _write_ruleset(scratch)):
        _checked(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
        os.close(ruleset)
    header = struct.pack("II", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _checked(libc.capset(header, bytes(24)), "capset")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    program = _filter(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    bpf = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _checked(libc.prctl(_PR_SET_SECCOMP, 2, bpf, 0, 0), "seccomp")


# Classic BPF over struct seccomp_data: number at 0, architecture at 4, arguments from 16, 8 bytes each.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def _filter(machine: str) -> bytes:
    """The seccomp program: what is listed is refused with an error, everything else is allowed."""
    column, architecture = _ARCHITECTURES[machine]
    steps = [
        _step(_LOAD, 4),
        _step(_EQUAL, architecture, then=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_AT_LEAST, 0x40000000, otherwise=1),  # the x32 numbers of the same calls
        _step(_RETURN, _ERROR | errno.EPERM),
    ]
    refusals = {numbers[column]: errno.EPERM for numbers in REFUSED.values()}
    refusals |= {CLONE3[column]: errno.ENOSYS, IOCTL[column]: errno.ENOTTY}
    for number, error in refusals.items():
        if number is not None:
            steps += [_step(_EQUAL, number, otherwise=1), _step(_RETURN, _ERROR | error)]
    # F_SETOWN, F_SETSIG, F_SETOWN_EX: a signal to any process by way of a file.
    steps += _refuse_argument(FCNTL[column], 1, (8, 10, 15))
    steps += _refuse_argument(PRCTL[column], 0, (_PR_SET_PDEATHSIG,))
    # prlimit64 also reads a limit: then its third argument, the new limit, is a null pointer.
    steps += [
        _step(_EQUAL, PRLIMIT64[column], otherwise=5),
        _step(_LOAD, 16 + 8 * 2),
        _step(_EQUAL, 0, otherwise=2),
        _step(_LOAD, 16 + 8 * 2 + 4),
        _step(_EQUAL, 0, then=1),
        _step(_RETURN, _ERROR | errno.EPERM),
    ]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)


def _refuse_argument(number: int, argument: int, values: Sequence[int]) -> list[bytes]:
    """Refuse a call with one of some values in the lower half of an argument."""
    body = [_step(_LOAD, 16 + 8 * argument)]
    for value in values:
        body += [_step(_EQUAL, value, otherwise=1), _step(_RETURN, _ERROR | errno.EPERM)]
    body.append(_step(_RETURN, _ALLOW))
    return [_step(_EQUAL, number, otherwise=len(body)), *body]
