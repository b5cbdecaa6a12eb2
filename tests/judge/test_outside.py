"""Cheats against a whole judge of untrusted candidates: each costs its author the verdict and nobody else anything."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kernelwright.errors import WallsMissing
from kernelwright.judge import Rejected, Session, Verdict
from kernelwright.judge._trial import cpu_seconds
from kernelwright.judge._walls import Wall, Walls, stand
from kernelwright.targets import Candidate

from .kernels import EAGER, HONEST, make, make_task

pytestmark = pytest.mark.skipif(bool(stand().missing), reason=f"walls do not stand here: {stand().missing}")

_DECLARED = """
extern "C" int fork(); extern "C" int kill(int, int); extern "C" int getpid(); extern "C" int getppid();
extern "C" int pthread_create(unsigned long*, const void*, void* (*)(void*), void*);
extern "C" int socket(int, int, int); extern "C" int open(const char*, int, ...);
extern "C" void* memset(void*, int, unsigned long);
"""


def native(before: str = "", after: str = "", declared: str = "") -> Candidate:
    found = make(before=before, after=after)
    source = found.source.replace("static int calls", f"{_DECLARED}{declared}\nstatic int calls")
    return Candidate("cpu", "submission", source, found.plan, label="native")


def python(body: str, top: str = "") -> Candidate:
    lines = "\n".join("        " + line for line in body.splitlines())
    text = "import os, sys, time, threading\nimport torch\nfrom torch import nn\n" + top
    text += f"\nclass ModelNew(nn.Module):\n    def forward(self, x, bias):\n{lines}\n"
    return Candidate("python", "submission", text, None, label="python")


@pytest.fixture(scope="module")
def walled(home: None) -> Iterator[Session]:
    with Session(make_task(), time_limit=10.0, memory_limit=512 << 20, untrusted=True) as session:
        yield session


def test_honest_candidates_pass_and_are_measured(walled: Session) -> None:
    for honest in (HONEST, python("return torch.relu(x + bias)")):
        verdict = walled.verify(honest)
        assert verdict.accepted, verdict.reason
    found = walled.measure(honest, [EAGER], seconds=0.3)
    assert found.seconds > 0
    assert found.rounds >= 7
    assert found.speedup["eager"].lo < 4  # it is the same work, and the interval does not exclude that
    assert found.speedup["eager"].hi > 0.25
    lazy_pool = """
global POOL
if POOL is None:
    from concurrent.futures import ThreadPoolExecutor
    POOL = ThreadPoolExecutor(2)
return POOL.submit(lambda: torch.relu(x + bias)).result()
"""
    assert walled.verify(python(lazy_pool.strip(), top="POOL = None\n")).accepted


_IMPOLITE = {
    "exit": (native(before="_exit(0);"), {"crash"}),
    "exit in Python": (python("os._exit(0)"), {"crash"}),
    "fork": (python("os.fork()\nreturn torch.relu(x + bias)"), {"walls", "crash"}),
    "fork for ever": (native(before="while (calls < 1000000) fork();"), {"timeout", "walls"}),
    "kill the judge": (native(before="kill(getppid(), 9);"), {"walls"}),
    "stop itself": (native(before="kill(getpid(), 19);"), {"timeout"}),
    "socket": (native(before="socket(2, 1, 0);"), {"walls"}),
    "memory": (native(before="for (;;) memset(malloc(1 << 24), 1, 1 << 24);"), {"memory"}),
    "threads": (
        native(
            declared="static void* idle(void*) { for (;;) usleep(100000); }",
            before="for (unsigned long t = 0;;) pthread_create(&t, nullptr, idle, nullptr);",
        ),
        {"walls", "memory", "timeout"},
    ),
    "garbage on every descriptor": (
        native(before='for (int d = 1; d < 64; ++d) write(d, "accepted\\n\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0", 20);'),
        {"crash"},
    ),
    "reading the judge": (
        python("return torch.full_like(x, len(open(f'/proc/{os.getppid()}/mem', 'rb').read(1)))"),
        {"walls", "crash"},
    ),
    "writing files": (
        python("open('/tmp/kernelwright-was-here', 'w')\nreturn torch.relu(x + bias)"),
        {"walls", "crash"},
    ),
    "subnormal numbers": (
        python("torch.set_flush_denormal(True)\nreturn torch.relu(x + bias)"),
        {"clock", "value"},
    ),
    "more threads": (
        python("torch.set_num_threads(1 + torch.get_num_threads())\nreturn torch.relu(x + bias)"),
        {"clock"},
    ),
}  # fmt: skip


_INLINE = "load_inline('extension', 'int one() { return 1; }'.strip(), functions=['one'])\n"


@pytest.mark.parametrize("name", _IMPOLITE)
def test_the_impolite_lose_their_verdict(walled: Session, name: str) -> None:
    candidate, categories = _IMPOLITE[name]
    verdict = walled.verify(candidate)
    assert verdict.status == "rejected", name
    assert verdict.category in categories, verdict.reason
    assert not Path("/tmp/kernelwright-was-here").exists()


_LATE = """
static const float *lx, *lb; static float* ly; static volatile int due = 0, started = 0;
static void* later(void*) {
  for (;;) {
    usleep(200);
    if (!due) continue;
    usleep(3000);
    for (int i = 0; i < 37 * 32; ++i) { float v = lx[i] + lb[i % 32]; ly[i] = v < 0 ? 0 : v; }
    due = 0;
  }
}
"""


def test_work_that_is_finished_after_the_answer_is_found(walled: Session) -> None:
    """The first calls are honest. What it writes late may lie in memory that is another's by then: that may kill it."""
    late = native(
        declared=_LATE,
        before="""
unsigned long t; if (!started) { started = 1; pthread_create(&t, nullptr, later, nullptr); }
if (calls > 4) { lx = x; lb = b; ly = y; due = 1; return kw::answer(result, 0); }
""",
    )
    verdict = walled.verify(late)
    assert not verdict.accepted
    assert verdict.category in ("clock", "value", "unstable", "nan", "crash"), verdict.reason
    with pytest.raises(Rejected) as caught:
        walled.measure(late, [EAGER], seconds=0.3)
    assert caught.value.verdict.category in ("clock", "value", "nan", "crash"), caught.value.verdict.reason


def test_a_thread_that_works_on_after_the_answer_is_found(walled: Session) -> None:
    busy = native(
        declared="static volatile long turns = 0, started = 0; static void* spin(void*) { for (;;) ++turns; }",
        before="unsigned long t; if (!started) { started = 1; pthread_create(&t, nullptr, spin, nullptr); }",
    )
    verdict = walled.verify(busy)
    assert (verdict.status, verdict.category) == ("rejected", "clock"), verdict.reason
    assert "after its answer" in verdict.reason


def test_a_patched_clock_gains_nothing(walled: Session) -> None:
    patched = python(
        "torch.relu(x.repeat(2000, 1) + bias)\nreturn torch.relu(x + bias)",
        top="time.perf_counter = time.monotonic = time.time = lambda: 0.0\ntime.perf_counter_ns = lambda: 0\n",
    )
    assert walled.verify(patched).accepted
    found = walled.measure(patched, [EAGER], seconds=0.3)
    assert found.speedup["eager"].hi < 1.0  # it does a thousand times the work


def test_answers_of_earlier_calls_are_found(walled: Session) -> None:
    """Values under an address are new in every timed call."""
    replay = python(
        "key = x.data_ptr()\nself.n = getattr(self, 'n', 0) + 1\nif self.n < 30 or key not in SEEN:\n"
        "    SEEN[key] = torch.relu(x + bias)\nreturn SEEN[key].clone()",
        top="SEEN = {}\n",
    )
    with pytest.raises(Rejected) as caught:
        walled.measure(replay, [EAGER], seconds=0.3)
    assert caught.value.verdict.category == "value", caught.value.verdict.reason


def test_another_affinity_is_refused_by_the_kernel(walled: Session) -> None:
    before = os.sched_getaffinity(0)
    pinned = python(
        "try:\n    os.sched_setaffinity(0, {0})\n    x = x + 1\nexcept OSError:\n    pass\nreturn torch.relu(x + bias)"
    )
    assert walled.verify(pinned).accepted  # it had no effect, else the result would be wrong
    assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(walled.worker.process) == before


def test_the_next_candidate_finds_nothing_of_the_one_before(walled: Session) -> None:
    keeps = python("sys.modules['planted'] = torch\nreturn torch.relu(x + bias)")
    finds = python("return torch.relu(x + bias) + ('planted' in sys.modules)")
    assert walled.verify(keeps).accepted
    verdict = walled.verify(finds)
    assert verdict.accepted, verdict.reason


def test_nothing_is_left_behind(home: None) -> None:
    folders = (tempfile.gettempdir(), "/dev/shm", str(Path.home()), os.getcwd())
    before = {f: set(os.listdir(f)) for f in folders if os.path.isdir(f)}
    own = {p.pid for p in psutil.Process().children(recursive=True)}
    descriptors = len(os.listdir("/proc/self/fd"))
    with Session(make_task(), time_limit=10.0, memory_limit=512 << 20, untrusted=True) as session:
        litter = python("open('left', 'w').write('x')\nreturn torch.relu(x + bias)")
        assert session.verify(litter).accepted  # its scratch folder is its own
        session.measure(litter, [EAGER], seconds=0.1)
        worker = session.worker.process
    assert not psutil.pid_exists(worker)
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= own
    for folder, names in before.items():
        new = {n for n in set(os.listdir(folder)) - names if "kernelwright" in n or n == "left"}
        assert not new, folder
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_without_essential_walls_it_refuses_unless_told_otherwise(home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Walls((Wall("network", False, True, "no seccomp"),))
    monkeypatch.setattr(Walls, "from_json", staticmethod(lambda data: broken))
    with Session(make_task(), time_limit=30.0, untrusted=True) as session, pytest.raises(WallsMissing, match="network"):
        session.verify(HONEST)
    with Session(make_task(), time_limit=30.0, untrusted=True, unsafe=True) as session:
        assert isinstance(session.verify(HONEST), Verdict)


def test_an_extension_that_needs_a_compiler_is_not_judged(walled: Session) -> None:
    inline = python("return torch.relu(x + bias)", top="from torch.utils.cpp_extension import load_inline\n" + _INLINE)
    verdict = walled.verify(inline)
    assert (verdict.status, verdict.category) == ("unjudged", "walls")
    assert "--unsafe" in verdict.reason


def test_cpu_time_of_another_process_is_seen() -> None:
    used = cpu_seconds(os.getpid())
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    assert 0.015 < cpu_seconds(os.getpid()) - used < 5.0
