"""Kills the judge's processes at random moments, two hundred times, and takes away disk, clock and processors.

``python benchmarks/faults.py``  writes ``benchmarks/results/faults-MACHINE.json`` after every round and goes on from it

What must never happen: a wrong verdict, a record that is gone, a process or a scratch folder that is left for good. In
a round one process is ended with SIGKILL at a random moment of a judgement: the oracle's, the candidate's (trusted, or
behind walls), its rivals', the one that the others are forked from, a compiler, or the judge itself while it searches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
ATTACKS = HERE.parent / "attacks"
TASK = ATTACKS / "tasks" / "softmax_rows.py"
RIGHT = ATTACKS / "honest" / "01_native_softmax_rows.cpp"
WRONG = ATTACKS / "mutants" / "02_sum_starts_late.cpp"
KINDS = ("oracle", "candidate", "candidate behind walls", "rivals", "zygote", "compiler", "judge")
ROUNDS = 200
_OTHERS = 4
_TRACEBACK = "Traceback (most recent call last)"
_GENERATED = """
import torch

class Model(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x * {factor}) + {factor}

def get_inputs():
    return [torch.randn(256, 512)]

def get_init_inputs():
    return []
"""
_JUMPING = """
import random, time
_time, _rng = time.time, random.Random()
time.time = lambda: _time() + _rng.uniform(-1e7, 1e7)
time.time_ns = lambda: int(time.time() * 1e9)
"""


# ── killing workers under a judge that lives ──


class Arena:
    """Sessions with a trusted and a walled candidate's process, and what is judged in them."""

    def __init__(self) -> None:
        from kernelwright.judge import Session, read_submission
        from kernelwright.task import from_source

        task = from_source(str(TASK))
        self.right, self.wrong = (read_submission(path, task) for path in (RIGHT, WRONG))
        self.sessions = {untrusted: Session(task, time_limit=60.0, untrusted=untrusted) for untrusted in (False, True)}

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()

    def round(self, kind: str, moment: float, rng: random.Random) -> str:
        """What went wrong; "" if nothing did."""
        session = self.sessions[kind in ("candidate behind walls", "rivals")]
        session.start()
        if kind == "compiler":
            return self._compile(moment, rng)
        victims: dict[str, Callable[[], int | None]] = {
            "oracle": lambda: _number(session._oracle),
            "candidate": lambda: _number(session.worker),
            "candidate behind walls": lambda: _number(session.worker),
            "rivals": lambda: _number(session.rivals_worker),
            "zygote": _zygote,
        }
        killer = threading.Timer(moment, _kill, [victims[kind]])
        killer.start()
        try:
            return self._time(session) if kind == "rivals" else self._judge(session)
        finally:
            killer.join()

    def _judge(self, session: Any) -> str:
        right, wrong = session.verify(self.right), session.verify(self.wrong)
        if not right.accepted:
            return f"an honest candidate was {right.status}: {right.reason}"
        if wrong.status != "rejected" or wrong.category not in ("value", "nan", "unstable"):
            return f"a wrong candidate was {wrong.status} ({wrong.category}): {wrong.reason}"
        return ""

    def _time(self, session: Any) -> str:
        from kernelwright.judge import Rejected
        from kernelwright.targets import Candidate

        eager = Candidate("eager", "baseline", "", None, label="eager")
        try:
            session.measure(self.right, [eager], seconds=0.3)
        except Rejected as rejected:
            return f"an honest candidate was rejected while it was timed: {rejected.verdict.reason}"
        return ""

    def _compile(self, moment: float, rng: random.Random) -> str:
        from kernelwright.targets.cpu import build

        def compiler() -> int | None:
            mine = psutil.Process().children(recursive=True)
            found = [p.pid for p in mine if p.name() in ("cc1plus", "as", "ld", "collect2", "g++")]
            return rng.choice(found) if found else None

        killer = threading.Timer(moment * 0.3, _kill, [compiler])
        killer.start()
        try:
            build(f"{self.right.source}\n// {rng.random()}\n")
        except Exception as error:
            return f"an honest source does not build: {error}"
        finally:
            killer.join()
        return ""


def _number(worker: Any) -> int | None:
    process = worker._process
    return process.pid if process is not None and process.poll() is None else None


def _zygote() -> int | None:
    from kernelwright.judge import _zygote

    return _zygote._zygote._process.pid if _zygote._zygote is not None else None


def _kill(victim: Callable[[], int | None]) -> None:
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        number = victim()
        if number is not None:
            os.kill(number, signal.SIGKILL)


# ── killing the judge itself ──


def kill_search(home: Path, number: int, moment: float) -> str:
    """Kill a search in the middle; what is wrong with what it left behind."""
    (home / "tmp").mkdir(exist_ok=True)
    source = home / "tmp" / "scaled.py"
    source.write_text(_GENERATED.format(factor=number + 2))
    before = _recorded(home)
    known = {**os.environ, "KERNELWRIGHT_HOME": str(home), "TMPDIR": str(home / "tmp")}
    command = [sys.executable, "-m", "kernelwright", "generate", str(source), "--effort", "quick", "--budget", "15"]
    search = subprocess.Popen(command, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family: dict[int, psutil.Process] = {}
    end = time.monotonic() + moment
    while time.monotonic() < end and search.poll() is None:
        with contextlib.suppress(psutil.Error):
            family |= {p.pid: p for p in psutil.Process(search.pid).children(recursive=True)}
        time.sleep(0.01)
    search.kill()
    search.wait()
    alive = psutil.wait_procs(list(family.values()), timeout=15.0)[1]
    for process in alive:
        process.kill()
    # Whoever builds next removes the folders of those who are gone; what stays after that stays for ever.
    subprocess.run([sys.executable, "-c", "from kernelwright.scratch import sweep; sweep()"], env=known, check=True)
    scratch = home / "cache" / "build" / "scratch"
    left = [*(home / "tmp").glob("kernelwright-*"), *(scratch.iterdir() if scratch.exists() else ())]
    lost = [table for table, count in before.items() if _recorded(home).get(table, 0) < count]
    faults = [f"{len(alive)} processes were left"] if alive else []
    faults += [f"{len(left)} scratch folders were left ({left[0].name})"] if left else []
    faults += [f"records were lost of {', '.join(lost)}"] if lost else []
    return "; ".join(faults)


def _recorded(home: Path) -> dict[str, int]:
    """How many rows each table of the archive holds."""
    path = home / "archive.sqlite"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as base:
        names = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: base.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names}


# ── a disk, a folder, a clock, processors ──


def other_faults() -> Iterator[tuple[str, str]]:
    """Each by name, and what went wrong; verdicts by the command line in processes of their own."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shim = folder / "shim"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(_JUMPING)
        home = folder / "home"
        normal = {"KERNELWRIGHT_HOME": str(home)}
        yield "a clock that jumps", _verdicts({**normal, "PYTHONPATH": str(shim)})
        with _busy(4):
            yield "four busy processes", _verdicts(normal)
        yield "a folder that cannot be written", _verdicts({"KERNELWRIGHT_HOME": "/proc/nowhere"})
        small = folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], check=False).returncode == 0:
            try:
                yield "a full disk", _verdicts({"KERNELWRIGHT_HOME": str(small)})
            finally:
                subprocess.run(["umount", "-l", str(small)], check=True)
        else:
            yield "files that may not grow", _verdicts(normal, limit="ulimit -f 16; ")


def _verdicts(known: dict[str, str], limit: str = "") -> str:
    """Both candidates are judged; only a sentence may come instead of the right verdict."""
    faults = []
    for path, right, wrong in ((RIGHT, 0, 1), (WRONG, 1, 0)):
        command = f'{limit}exec "{sys.executable}" -m kernelwright judge "{TASK}" "{path}"'
        done = subprocess.run(
            ["sh", "-c", command], env={**os.environ, **known}, capture_output=True, text=True, check=False
        )
        said = f"{done.stdout}\n{done.stderr}"
        if done.returncode == wrong or _TRACEBACK in said:
            faults.append(f"{path.name} ended with {done.returncode}: {said.strip().splitlines()[-1]}")
        elif done.returncode not in (right, 2):
            faults.append(f"{path.name} ended with {done.returncode}")
    return "; ".join(faults)


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


# ── the whole ──


def rounds(known: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Those that are not known yet."""
    with tempfile.TemporaryDirectory() as text, contextlib.closing(Arena()) as arena:
        for number in range(len(known), count):
            kind = KINDS[number % len(KINDS)]
            rng = random.Random(number)
            moment = rng.uniform(0.0, 8.0 if kind == "judge" else 1.0)
            start = time.monotonic()
            said = kill_search(Path(text), number, moment) if kind == "judge" else arena.round(kind, moment, rng)
            yield {"killed": kind, "after": moment, "fault": said, "seconds": time.monotonic() - start}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results/)")
    options = parser.parse_args()
    from stamp import stamp

    from suite import machine_slug

    out = options.json or HERE / "results" / f"faults-{machine_slug()}.json"
    content: dict[str, Any] = {"rounds": [], "others": {}}
    if out.exists():
        content |= json.loads(out.read_text())
    content |= stamp()
    for row in rounds(content["rounds"], options.rounds):
        content["rounds"].append(row)
        out.write_text(json.dumps(content, indent=1) + "\n")
        if row["fault"]:
            print(f"round {len(content['rounds'])}, {row['killed']} killed: {row['fault']}", flush=True)
    if len(content["others"]) < _OTHERS:
        for name, fault in other_faults():
            content["others"][name] = fault
            out.write_text(json.dumps(content, indent=1) + "\n")
    out.write_text(json.dumps(content, indent=1) + "\n")
    made = Counter(row["killed"] for row in content["rounds"])
    bad = Counter(row["killed"] for row in content["rounds"] if row["fault"])
    for kind in KINDS:
        print(f"{kind:32s} {made[kind]:4d} rounds  {bad[kind]:3d} faults")
    for name, fault in content["others"].items():
        print(f"{name:32s} {fault or 'no fault'}")
    return int(bool(sum(bad.values()) or any(content["others"].values())))


if __name__ == "__main__":
    sys.exit(main())
