"""Processes that somebody kills, folders that cannot be written, clocks that jump: no wrong verdict, nothing left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kernelwright.judge import Session, _zygote
from kernelwright.judge._process import Worker

from .kernels import make, make_task

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def session(home: None) -> Iterator[Session]:
    with Session(make_task(), time_limit=30.0, memory_limit=1 << 30) as session:
        yield session


def kill(worker: Worker) -> None:
    if worker.alive and worker._process is not None:
        os.kill(worker.process, signal.SIGKILL)


@pytest.mark.parametrize("name", ["_oracle", "_candidate"])
def test_a_worker_killed_while_it_waits_costs_nothing(session: Session, name: str) -> None:
    session.start()
    kill(getattr(session, name))
    assert session.verify(make()).accepted


@pytest.mark.parametrize("name", ["_oracle", "_candidate"])
def test_a_worker_killed_at_any_moment_changes_no_verdict(session: Session, name: str) -> None:
    right, wrong = make(), make(bias="b[i % n] + 0.5f")
    rng = random.Random(0)
    for _ in range(3):
        for candidate, accepted in ((right, True), (wrong, False)):
            killer = threading.Timer(rng.uniform(0.0, 0.3), kill, [getattr(session, name)])
            killer.start()
            verdict = session.verify(candidate)
            killer.join()
            assert verdict.accepted is accepted, verdict.reason
            assert accepted or verdict.category == "value", verdict.reason


def test_a_zygote_that_is_killed_is_replaced(session: Session) -> None:
    session.start()
    zygote = _zygote._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    kill(session._candidate)
    assert session.verify(make()).accepted


def test_a_candidate_that_always_kills_itself_is_to_blame(session: Session) -> None:
    suicide = make(before="kill(getpid(), 9);")
    declared = 'extern "C" int kill(int, int);\nextern "C" int getpid();\n'
    verdict = session.verify(replace(suicide, source=declared + suicide.source))
    assert (verdict.status, verdict.category) == ("rejected", "crash")
    assert "SIGKILL" in verdict.reason


_ALONE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
{shim}
from tests.judge.kernels import make, make_task
from kernelwright.judge import Session
with Session(make_task(), time_limit=20.0) as session:
    told = []
    for candidate in (make(), make(bias="b[i % n] + 0.5f")):
        verdict = session.verify(candidate)
        told.append([verdict.status, verdict.category])
    print(json.dumps(told))
"""
_JUMPS = """
import random
_time, _rng = time.time, random.Random(0)
time.time = lambda: _time() + _rng.uniform(-1e6, 1e6)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def alone(shim: str, **known: str) -> list[list[str]]:
    """Verdicts on a right and a wrong candidate in a process of its own."""
    command = [sys.executable, "-c", _ALONE.format(shim=shim), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **known}, check=True)
    return list(json.loads(done.stdout))


def test_a_clock_that_jumps_changes_no_verdict() -> None:
    assert alone(_JUMPS) == [["accepted", ""], ["rejected", "value"]]


def test_killing_the_judge_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    code = _ALONE.format(shim="").replace("told = []", "session.start(); print('begun', flush=True); told = []")
    code = code.replace("make_task(), ", "make_task(), untrusted=True, ")
    known = {**os.environ, "TMPDIR": str(tmp_path), "KERNELWRIGHT_HOME": str(tmp_path / "home")}
    judge = subprocess.Popen([sys.executable, "-c", code, str(ROOT)], stdout=subprocess.PIPE, env=known, text=True)
    assert judge.stdout is not None
    assert judge.stdout.readline() == "begun\n"
    time.sleep(0.2)
    family = psutil.Process(judge.pid).children(recursive=True)
    assert len(family) >= 2
    judge.kill()
    judge.communicate()
    assert not psutil.wait_procs(family, timeout=10.0)[1]
    scratch = tmp_path / "home" / "cache" / "build" / "scratch"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("kernelwright-")]
    assert not scratch.exists() or not list(scratch.iterdir())
