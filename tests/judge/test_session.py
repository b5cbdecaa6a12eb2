"""Sessions: references that cannot be used are sentences, and nothing is left behind however a session ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from kernelwright.errors import (
    ReferenceFailed,
    ReferenceNondeterministic,
    ReferenceTooLarge,
    ReferenceTooSlow,
    TaskError,
)
from kernelwright.judge import Session
from kernelwright.judge._oracle import Oracle
from kernelwright.task import from_callable

from .kernels import make_task


def hang(x: torch.Tensor) -> torch.Tensor:
    while True:
        time.sleep(0.01)


def die(x: torch.Tensor) -> torch.Tensor:
    os._exit(3)


def greedy(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(1 << 32).sum() + x


def fail(x: torch.Tensor) -> torch.Tensor:
    return x @ x


def not_a_number(x: torch.Tensor) -> torch.Tensor:
    return torch.log(-x.abs() - 1)


def dice(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.dropout(x, 0.5)


def own_dice(x: torch.Tensor) -> torch.Tensor:
    return x * (time.perf_counter_ns() % 1009)


def no_tensor(x: torch.Tensor) -> str:
    return "nothing"


BAD = {
    "raises": (fail, ReferenceFailed, "RuntimeError"),
    "nan": (not_a_number, ReferenceFailed, "NaN"),
    "dropout": (dice, ReferenceNondeterministic, "another seed"),
    "clock": (own_dice, ReferenceNondeterministic, "same inputs"),
    "nothing": (no_tensor, ReferenceFailed, "no tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_references_are_sentences(name: str) -> None:
    call, kind, words = BAD[name]
    task = from_callable(call, (torch.randn(3, 5),), name=name)
    with pytest.raises(kind, match=words) as caught:
        Oracle(1 << 30).open(task, 1)
    text = str(caught.value)
    assert name in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("call", "kind"), [(hang, ReferenceTooSlow), (die, ReferenceFailed), (greedy, ReferenceTooLarge)]
)
def test_references_that_take_their_process_with_them(call: object, kind: type[TaskError]) -> None:
    task = from_callable(call, (torch.randn(3, 5),), name="bad")  # type: ignore[arg-type]
    with Session(task, time_limit=4.0, memory_limit=2 << 30) as session, pytest.raises(kind, match="bad"):
        session.start()


def test_inputs_too_large_for_the_machine_are_refused_before_they_are_computed_with() -> None:
    task = from_callable(torch.neg, (torch.zeros(1 << 20),), name="large")
    with pytest.raises(ReferenceTooLarge, match="MiB"):
        Oracle(4 << 20).open(task, 1)


def test_the_oracle_follows_a_reference_without_float64() -> None:
    def single(x: torch.Tensor) -> torch.Tensor:
        return x @ torch.eye(5, dtype=torch.float32)

    oracle = Oracle(1 << 30)
    facts, _ = oracle.open(from_callable(single, (torch.randn(3, 5),), name="single"), 1)
    assert "RuntimeError" in facts["double_fault"]


def processes_of(session: Session) -> list[psutil.Process]:
    pids = [worker._process.pid for worker in (session._oracle, session._candidate) if worker._process]
    return [psutil.Process(pid) for pid in pids]


def test_close_leaves_no_process() -> None:
    with Session(make_task()) as session:
        session.start()
        workers = processes_of(session)
        assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)


_PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.judge.kernels import make, make_task
from kernelwright.judge import Session
session = Session(make_task(), time_limit=600.0)
session.start()
session._open_candidate()
print(session._oracle._process.pid, session._candidate._process.pid, flush=True)
session.verify(make(before="for (;;) usleep(1000);"))
"""


def test_kill_9_of_the_parent_leaves_no_process_and_no_memory() -> None:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, root], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    parent.stdout.close()
    time.sleep(2.0)  # the candidate spins by now, without ever looking at its socket
    assert all(worker.is_running() for worker in workers)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=10.0)
    assert not alive
    after = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert not {name for name in after - before if "kernelwright" in name}
