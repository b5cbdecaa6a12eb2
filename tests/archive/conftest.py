"""Records to put into an archive, and a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelwright.archive import Archive
from kernelwright.targets.plan import AtenCall, Candidate, EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec
from kernelwright.task import DynamicSize, Task

MACHINE = "aa" * 32
OTHER_MACHINE = "bb" * 32
ACCEPTED = {"status": "accepted", "checks": [{"structure": "random", "seed": 0, "error": 0.25}]}
REJECTED = {"status": "rejected", "reason": "y[3] is 1.0, should be 2.0.", "category": "value"}


@dataclass
class Clock:
    """Time as a value."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def archive(tmp_path: Path, clock: Clock) -> Archive:
    return Archive(tmp_path / "archive.sqlite", clock=clock)


@pytest.fixture
def task() -> Task:
    return make_task(0)


def make_task(number: int) -> Task:
    return Task(
        name=f"softmax {number}",
        kind="function",
        text=f"def f(x):\n    return (x * {number}).softmax(-1)\n",
        attribute="f",
        payload=b"\x00\x01inputs",
        shrunk=((0, 0, 4096, 64),),
        dynamic=(DynamicSize(0, 0, 1, 512),),
    )


def make_candidate(number: int, size: int = 0) -> Candidate:
    spec = TensorSpec("x", ("s0", 64), "float32", (64, 1))
    plan = Plan(
        inputs=(InputSpec(("arg", 0), spec),),
        buffers=(TensorSpec("y", ("s0", 64), "float32", (64, 1)),),
        steps=(
            EntryCall("kw_softmax", ("x", "y")),
            AtenCall("aten.sort.default", ({"tensor": "y"},), (("dim", -1),), ("z",)),
        ),
        results=("y",),
        symbols=(SymbolSpec("s0", 0, 0, 1, 512),),
        workspace="s0*64",
    )
    source = f"// candidate {number}\n" + "".join(f"int f{number}_{i}();\n" for i in range(size))
    return Candidate(
        "cpu", "compiler", source, plan, f"tile={number}", '{"tile": 8}', ("aten.sort stays an ATen call",)
    )


@pytest.fixture
def candidate() -> Candidate:
    return make_candidate(0)


@pytest.fixture
def fill() -> Callable[[Archive, int], list[str]]:
    """Record one task with so many judged candidates; their digests."""

    def record(archive: Archive, count: int) -> list[str]:
        task = archive.record_task(make_task(0))
        digests = []
        for number in range(count):
            digests.append(archive.record_candidate(task, make_candidate(number, size=20)))
            archive.record_verdict(task, digests[-1], MACHINE, ACCEPTED)
        return digests

    return record
