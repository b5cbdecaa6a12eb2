"""The walls round an untrusted candidate's process: what it may touch, and how we know that they stand.

The worker raises them round itself before it hears of any candidate: namespaces, limits and files while it is still a
single thread (:func:`isolate`), system calls when all its libraries are loaded (:func:`seal`). All of it works for an
ordinary user, and none of it can be taken back by the process. What a kernel lacks is said, never skipped in silence.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import resource
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import _landlock
from ._seccomp import Filter

THREADS = 512  # more than any pool needs; the judge counts them, since the kernel's own limit does not bind root
FILE_BYTES = 256 << 20
_FILES = 512
_MEMORY_FOLDER = "/dev/shm"
_NEW_USER, _NEW_NET, _NEW_IPC, _NEW_MOUNTS = 0x10000000, 0x40000000, 0x08000000, 0x00020000
_PRIVATE = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
_NO_SUID_NO_DEVICES = 2 | 4
_KEPT = (  # what decides how fast or how a library computes, and where things lie; nothing that could be a secret
    "PATH", "LANG", "LC_", "LD_LIBRARY_PATH", "LD_PRELOAD", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ATEN_",
    "DNNL_", "ONEDNN_", "TORCH_SHOW", "MALLOC_", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "KERNELWRIGHT_HOME",
    "KERNELWRIGHT_CXX",
)  # fmt: skip
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/passwd", "/etc/nsswitch.conf", "/etc/localtime",
    "/proc/self", "/proc/stat", "/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/filesystems",
    "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip


@dataclass(frozen=True)
class Wall:
    """``name`` is what it keeps from a candidate; ``detail`` how it is built, or why it does not stand."""

    name: str
    stands: bool
    essential: bool
    detail: str


@dataclass(frozen=True)
class Walls:
    """All walls of a process, standing or not."""

    walls: tuple[Wall, ...]

    @property
    def missing(self) -> tuple[Wall, ...]:
        """Those that do not stand although no untrusted candidate may run without them."""
        return tuple(w for w in self.walls if w.essential and not w.stands)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(w) for w in self.walls]

    @staticmethod
    def from_json(data: Sequence[dict[str, Any]]) -> Walls:
        return Walls(tuple(Wall(**row) for row in data))


@functools.cache
def stand() -> Walls:
    """Which walls stand on this machine, for this user: tried in a process of their own."""
    command = [sys.executable, "-c", "from kernelwright.judge._walls import _try; _try()"]
    try:
        with tempfile.TemporaryDirectory(prefix="kernelwright-", ignore_cleanup_errors=True) as folder:
            Path(folder, "outside").touch()
            Path(folder, "scratch").mkdir()
            root = str(Path(__file__).resolve().parents[2])
            known = environment({"PYTHONPATH": root})
            done = subprocess.run([*command, folder], capture_output=True, timeout=60, env=known, check=True, text=True)
        return Walls.from_json(json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
        return Walls((Wall("all", False, True, f"raising them failed: {error}"),))


def explain(walls: Walls | None) -> str:
    """Why no untrusted candidate may run here, as a sentence."""
    lost = "; ".join(f"{w.name} ({w.detail})" for w in walls.missing) if walls else "none is known to stand"
    return (
        f"Untrusted candidates are not run here, since a wall does not stand: {lost}; --unsafe runs them all the same."
    )


def environment(extra: dict[str, str]) -> dict[str, str]:
    """What a process behind walls may know of the judge's environment."""
    from ..paths import cache_dir

    kept = {k: v for k, v in os.environ.items() if k.startswith(_KEPT)}
    if "KERNELWRIGHT_HOME" not in kept:
        kept["XDG_CACHE_HOME"] = str(cache_dir().parent)
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def readable(extra: Sequence[str] = ()) -> list[str]:
    """What Python, torch, the task and built kernels are read from. Never the whole of the user's folder."""
    from ..paths import cache_dir

    home, built = Path.home().resolve(), cache_dir() / "build"
    with contextlib.suppress(OSError):  # whoever builds says so; a folder that is made later could not be read
        built.mkdir(parents=True, exist_ok=True)
    places = [*sys.path, sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(built), *extra]
    places += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found = {str(Path(p).resolve()) for p in places if p and os.path.exists(p)}
    return [*_SYSTEM, *sorted(p for p in found if not home.is_relative_to(p))]


def isolate(readable: Sequence[str], scratch: str, *, shares: int = 0) -> list[Wall]:
    """Raise what must be raised before there are threads. The process lies in its scratch folder afterwards.

    The scratch folder is memory that ends with the process where the kernel allows that; else ``scratch``. ``shares``:
    bytes of memory that it may hand to others as a file; no more than other files where these could fill a disk.
    """
    kinds, refused = _leave_namespaces()
    folder = scratch
    if "mounts" in kinds and _private_memory():
        folder = _MEMORY_FOLDER
        with contextlib.suppress(OSError):
            os.rmdir(scratch)
    _drop_capabilities()
    os.environ |= {"HOME": folder, "TMPDIR": folder}
    tempfile.tempdir = folder  # whoever was imported before may have asked where it is, which is remembered
    os.chdir(folder)
    limits = _limit(max(shares, FILE_BYTES) if folder != scratch else FILE_BYTES, own_count="user" in kinds)
    files = _landlock.restrict(readable, [folder, "/dev/null"])
    kept = f"landlock {_landlock.version()}: reads libraries, writes {folder}"
    apart = f"own {', '.join(kinds)}" + (f"; not {refused}" if refused else "")
    return [
        Wall("files outside its scratch folder", not files, True, files or kept),
        Wall("limits on files and memory", not limits, True, limits or "rlimits, and watched by the judge"),
        Wall("its own namespaces", not refused, False, apart if kinds else f"not allowed: {refused}"),
        Wall("a scratch folder in memory", folder != scratch, False, "a private tmpfs" if folder != scratch else ""),
    ]


def seal(lifeline: int, *, shares: bool = False) -> list[Wall]:
    """Raise the filter of system calls round all threads. Nothing of it can be lifted again."""
    missing = Filter(os.getpid(), lifeline, shares).install()
    return [
        Wall("network", not missing, True, missing or "seccomp: no sockets"),
        Wall("programs and processes", not missing, True, missing or "seccomp: no fork, no exec; threads only"),
        Wall("memory and signals of others", not missing, True, missing or "seccomp: no ptrace, no signals"),
        Wall("outliving the judge", not missing and lifeline >= 0, False, missing or "a lifeline that it cannot close"),
    ]


def _leave_namespaces() -> tuple[list[str], str]:
    """Which it has of its own now, and why not the others."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER):
        return [], f"user namespace: {os.strerror(ctypes.get_errno())}"
    kinds, refused = ["user"], []
    try:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(line)
    except OSError as error:
        refused.append(f"identities: {error.strerror}")
    for name, flag in (("network", _NEW_NET), ("ipc", _NEW_IPC), ("mounts", _NEW_MOUNTS)):
        if libc.unshare(flag):
            refused.append(f"{name}: {os.strerror(ctypes.get_errno())}")
        else:
            kinds.append(name)
    return kinds, ", ".join(refused)


def _private_memory() -> bool:
    """An empty file system of its own over shared memory's folder; it ends with the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={FILE_BYTES},nr_inodes=4096,mode=0700".encode()
    if not os.path.isdir(_MEMORY_FOLDER) or libc.mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE), None):
        return False
    return not libc.mount(b"none", _MEMORY_FOLDER.encode(), b"tmpfs", ctypes.c_ulong(_NO_SUID_NO_DEVICES), options)


def _drop_capabilities() -> None:
    """Those that a namespace of its own brought, and root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: the judge reads what it computed out of its memory


def _limit(file_bytes: int, *, own_count: bool) -> str:
    """Limits that the kernel keeps; memory's own comes with every worker."""
    wanted = {"CORE": 0, "FSIZE": file_bytes, "NOFILE": _FILES, "MSGQUEUE": 0, "MEMLOCK": 64 << 20}
    if own_count:  # outside, the kernel would count everything that the user runs
        wanted["NPROC"] = THREADS
    for name, value in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError) as error:
            return f"{name}: {error}"
    return ""


def _try() -> None:
    """Raise the walls here, run against them, and print which stand."""
    import socket

    folder, parent = sys.argv[1], os.getppid()
    rows = isolate(readable(), os.path.join(folder, "scratch"))
    lifeline, held_open = os.pipe()
    rows += seal(lifeline)
    attempts: dict[str, Callable[[], Any]] = {
        "network": lambda: socket.socket(socket.AF_UNIX),
        "files outside its scratch folder": lambda: os.open(os.path.join(folder, "outside"), os.O_WRONLY),
        "programs and processes": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "memory and signals of others": lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY),
        "limits on files and memory": lambda: os.truncate(_small_file(), FILE_BYTES + 1),
        "outliving the judge": lambda: os.close(lifeline),
    }
    tried = []
    for wall in rows:
        held = wall.name not in attempts or _fails(attempts[wall.name])
        tried.append(wall if held else replace(wall, stands=False, detail=f"{wall.detail}: it did not hold"))
    os.close(held_open)
    print(json.dumps([asdict(w) for w in tried]))


def _small_file() -> str:
    Path("small").write_text("")
    return "small"


def _fails(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False
