"""The walls, one attempt at a time, each in a small process of its own; then their bytecode for other machines."""

from __future__ import annotations

import os
import platform
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from kernelwright.judge import _landlock
from kernelwright.judge._seccomp import NUMBERS, Filter
from kernelwright.judge._walls import Walls, environment, explain, readable, stand

linux = pytest.mark.skipif(sys.platform != "linux", reason="walls are made of Linux")
standing = pytest.mark.skipif(
    sys.platform != "linux" or bool(stand().missing),
    reason=f"this kernel cannot raise them: {stand().missing}",
)

_SCRIPT = """
import ctypes, os, sys, threading
from kernelwright.judge._walls import isolate, readable, seal
where = os.getcwd()
rows = isolate(readable(), sys.argv[1])
lifeline, held = os.pipe()
rows += seal(lifeline)
libc = ctypes.CDLL(None, use_errno=True)
try:
    ATTEMPT
    print("done")
except (OSError, ValueError) as error:  # ValueError: what Python makes of a limit that may not be lifted
    print("refused", error)
"""


def attempt(code: str, tmp_path: Path, *, user: int | None = None) -> tuple[int, str]:
    """Exit status and output of an attempt behind walls."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    if user is not None:
        os.chown(scratch, user, user)
    script = _SCRIPT.replace("ATTEMPT", code.replace("\n", "\n    "))
    root = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script, str(scratch)],
        env=environment({"PYTHONPATH": root}), capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    return done.returncode, done.stdout.strip() or done.stderr


REFUSED = {
    "write into the user's folder": "open(os.path.expanduser('~root') + '/kernelwright-was-here', 'w')",
    "write where it was started": "open(where + '/kernelwright-was-here', 'w')",
    "write into /tmp": "open('/tmp/kernelwright-was-here', 'w')",
    "read the passwords": "open('/etc/shadow')",
    "read the memory of the judge": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "read the command line of the judge": "open(f'/proc/{os.getppid()}/cmdline')",
    "list the processes": "os.listdir('/proc')",
    "local socket": "import socket; socket.socket(socket.AF_UNIX)",
    "fork": "os.fork()",
    "start a program": "import subprocess; subprocess.run(['/bin/true'])",
    "start a program by posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "become a program": "os.execv('/bin/true', ['true'])",
    "change the affinity": "os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})",
    "lift a limit": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
    "memory that is not counted": "os.memfd_create('x')",
    "cut the lifeline": "os.close(lifeline)",
    "cover the lifeline": "os.dup2(1, lifeline)",
    "leave the group": "os.setsid()",
    "a huge file": "f = open('x', 'w'); os.ftruncate(f.fileno(), 1 << 40)",
    "many files": "kept = [open('/dev/null') for _ in range(5000)]",
}  # fmt: skip

DEADLY = {
    "internet socket": "import socket; socket.socket(socket.AF_INET)",
    "kill the judge": "os.kill(os.getppid(), 9)",
    "stop everybody": "os.kill(-1, 19)",
    "another's memory": "libc.syscall(310 if os.uname().machine == 'x86_64' else 270, os.getppid(), 0, 0, 0, 0, 0)",
    "trace": "libc.ptrace(16, os.getppid(), 0, 0)",
    "another namespace": "libc.unshare(0x10000000)",
    "mount": "libc.mount(b'none', b'/', None, 0, None)",
}

ALLOWED = {
    "threads": "t = threading.Thread(target=lambda: None); t.start(); t.join()",
    "scratch": "open('x', 'w').write('x'); os.mkdir('d'); os.rename('x', 'd/x'); assert open('d/x').read() == 'x'",
    "temporary files": "import tempfile; tempfile.TemporaryFile().write(b'x')",
    "its own number and signals": "import signal; signal.signal(10, lambda *a: None); os.kill(os.getpid(), 10)",
    "reading limits": "import resource; resource.getrlimit(resource.RLIMIT_NOFILE)",
    "reading libraries": "import json, numpy; numpy.ones(3)",
    "where programs are looked for": "import ctypes.util; ctypes.util.find_library('m')",
    "who am I": "import getpass; getpass.getuser()",
    "random numbers": "os.urandom(8)",
    "names of threads": "libc.prctl(15, b'x', 0, 0, 0)",
}


@standing
@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, tmp_path: Path) -> None:
    status, said = attempt(REFUSED[what], tmp_path)
    assert (status, said.split()[0]) == (0, "refused"), said
    assert not list(Path("/").glob("kernelwright-was-here")) + list(Path("/tmp").glob("kernelwright-was-here"))


@standing
@pytest.mark.parametrize("what", DEADLY)
def test_deadly(what: str, tmp_path: Path) -> None:
    status, said = attempt(DEADLY[what], tmp_path)
    assert status == -signal.SIGSYS, said


@standing
@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(what: str, tmp_path: Path) -> None:
    assert attempt(ALLOWED[what], tmp_path) == (0, "done")


@standing
def test_no_descriptor_is_inherited(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        status, said = attempt("print(sorted(int(f) for f in os.listdir('/proc/self/fd')))", tmp_path)
    assert status == 0
    assert len(said.splitlines()[0].split(",")) <= 7, said  # three streams, the lifeline's two ends, the listing


@standing
def test_nothing_stays_in_shared_memory(tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert attempt("open('left', 'w').write('x'); open('/dev/shm/left', 'w').close()", tmp_path)[0] == 0
    assert (set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()) == before


@linux
def test_secrets_of_the_environment_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    known = environment({})
    assert "AWS_SECRET_ACCESS_KEY" not in known
    assert known["OMP_NUM_THREADS"] == "2"


@linux
def test_the_users_folder_is_never_readable_as_a_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path.parent)])
    assert str(tmp_path) not in readable()
    assert str(tmp_path.parent) not in readable()
    assert "/" not in readable()


@linux
@pytest.mark.skipif(sys.platform == "linux" and os.geteuid() != 0, reason="only root can become somebody else")
def test_they_stand_for_an_ordinary_user_too(tmp_path: Path) -> None:
    """Only where that user can read this interpreter, which lies in root's own folder on some machines."""
    script = "import os; os.setgid(65534); os.setuid(65534); from kernelwright.judge._walls import stand; w = stand();"
    script += "print([x for x in w.missing])"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"), "HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, cwd="/")
    if "PermissionError" in done.stderr + done.stdout or "No module" in done.stderr + done.stdout:
        pytest.skip("this interpreter is not readable for others")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_what_is_missing_is_said() -> None:
    rows = [{"name": "network", "stands": False, "essential": True, "detail": "no seccomp"}]
    walls = Walls.from_json(rows)
    assert walls.missing == walls.walls
    assert walls.to_json() == rows
    assert "network (no seccomp)" in explain(walls)
    assert "--unsafe" in explain(walls)
    assert Walls.from_json([{**rows[0], "stands": True}]).missing == ()


# ── the filter's bytecode, run by an interpreter of it ──


def run_filter(code: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the filter answers to a system call."""
    data = struct.pack("=IIQ", number & 0xFFFFFFFF, machine, 0) + b"".join(
        struct.pack("=Q", a & (2**64 - 1)) for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    )
    program = list(struct.iter_unpack("=HBBI", code))
    position, value = 0, 0
    while True:
        operation, yes, no, operand = program[position]
        position += 1
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        else:
            holds = {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}[operation]
            position += yes if holds else no


X86, ARM = 0xC000003E, 0xC00000B7
KILL, EPERM, ENOSYS, ALLOW = 0x80000000, 0x00050001, 0x00050026, 0x7FFF0000


@pytest.mark.parametrize(("name", "arch"), [("x86_64", X86), ("aarch64", ARM)])
def test_the_filter_on_every_machine(name: str, arch: int) -> None:
    column = ["x86_64", "aarch64"].index(name)
    code = Filter(1234, lifeline=7).bytecode(name)

    def says(call: str, *arguments: int) -> int:
        return run_filter(code, arch, NUMBERS[call][column], *arguments)

    assert len(code) // 8 < 4096  # the kernel takes no more
    assert says("clone", 0x3D0F00) == ALLOW  # a thread
    assert says("clone", 17) == EPERM  # a fork
    assert says("clone", 0x4000 | 0x100 | 17) == EPERM  # posix_spawn
    assert says("clone3") == ENOSYS
    assert says("execve") == EPERM
    assert says("kill", 1234, 10) == ALLOW
    assert says("kill", 1, 9) == says("kill", -1, 9) == says("tgkill", 1, 1, 9) == KILL
    assert says("socket", 1) == EPERM
    assert says("socket", 2) == KILL
    assert says("prctl", 15) == ALLOW
    assert says("prctl", 1) == EPERM
    assert says("prlimit64", 0, 7, 0, 1) == says("prlimit64", 1234, 7, 0, 1) == ALLOW
    assert says("prlimit64", 1, 7, 0, 1) == says("prlimit64", 0, 7, 1, 0) == says("prlimit64", 0, 7, 1 << 32) == EPERM
    assert says("close", 7) == says("fcntl", 7) == says("dup3", 1, 7) == EPERM
    assert says("close", 8) == says("dup3", 7, 8) == ALLOW
    assert run_filter(code, arch, 0 if name == "x86_64" else 63) == ALLOW  # read
    assert run_filter(code, arch, 9999) == ENOSYS
    assert run_filter(code, 0x40000003, 1) == KILL  # the 32-bit way in
    if name == "x86_64":
        assert run_filter(code, arch, 0x40000000 | 41) == KILL


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers in the header are this machine's")
def test_numbers_agree_with_the_kernels_own_header() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = {m[1]: int(m[2]) for m in re.finditer(r"__NR_(\w+)\s+(\d+)", header.read_text())}
    assert {n: x for n, (x, _) in NUMBERS.items() if n in known} == {n: known[n] for n in NUMBERS if n in known}


@linux
def test_landlock_says_whether_it_is_there() -> None:
    assert _landlock.version() >= 0
