"""Where nothing can be timed, candidates are compiled and proven, remembered as such, and none becomes a winner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kernelwright.archive import Archive
from kernelwright.judge import Verdict
from kernelwright.report import build_table, headline, record
from kernelwright.search import EFFORTS, Outcome
from kernelwright.search._unmeasured import _patient, prove
from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, TensorSpec
from kernelwright.task import from_callable
from tests.triton_lab import needs_triton

pytestmark = needs_triton

SOURCE = """
import triton
import triton.language as tl


@triton.jit
def k0_kernel(x, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + offsets, mask=offsets < n)
    tl.store(y + offsets, value * value, mask=offsets < n)


def k0(x, y):
    n = y.numel()
    k0_kernel[(triton.cdiv(n, 128),)](x, y, n, BLOCK=128)
"""


def make(source: str, label: str) -> Candidate:
    x, y = TensorSpec("x", (37, 5), "float32", (5, 1)), TensorSpec("y", (37, 5), "float32", (5, 1))
    plan = Plan((InputSpec(("arg", 0), x),), (y,), (EntryCall("k0", ("x", "y")),), ("y",))
    return Candidate("triton", "test", source, plan, label)


RIGHT = make(SOURCE, "right")
SPILLS = make(SOURCE.replace("BLOCK=128", "BLOCK=4096, maxnreg=16"), "spills")
WRONG = make(SOURCE.replace("value * value", "value + value"), "wrong")
BROKEN = make(SOURCE.replace("tl.load", "tl.lode"), "broken")


class Proposer:
    """Hands out what it was given, one at a time."""

    notes: Sequence[str] = ()

    def __init__(self, *candidates: Candidate) -> None:
        self.left = list(candidates)

    def propose(self, count: int) -> list[Candidate]:
        return [self.left.pop(0) for _ in self.left[:1]]

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        assert cost is None


def search(folder: Path, *candidates: Candidate) -> tuple[Outcome, Archive]:
    archive = Archive(folder / "archive.sqlite")
    torch.manual_seed(0)
    task = from_callable(torch.square, (torch.randn(37, 5),), name="square")
    return prove(task, lambda: Proposer(*candidates), EFFORTS["full"], 120.0, target="triton", archive=archive), archive


def test_the_first_that_is_right_and_does_not_spill_is_kept_without_a_winner(tmp_path: Path):
    outcome, archive = search(tmp_path, BROKEN, WRONG, SPILLS, RIGHT, SPILLS)
    with archive:
        assert outcome.status == "unmeasured"
        assert outcome.winner is None
        assert outcome.measurement is None
        assert outcome.unmeasured is not None
        assert outcome.unmeasured.candidate == RIGHT
        assert outcome.unmeasured.build.spills == 0
        assert outcome.unmeasured.predicted > 0
        assert [t.verdict.category for t in outcome.candidates] == ["build", "value", "", ""]
        assert archive.winners() == ()
        (task,) = archive.tasks()
        assert len(archive.candidates(task.digest)) == 4
    row = record(outcome)
    assert row.correct
    assert row.build is not None
    assert row.build["kernels"][0]["grid"] == [
        2,
    ]
    assert "unmeasured" in headline(outcome)
    assert len(build_table(outcome.unmeasured).rows) == 1


def test_what_is_only_wrong_or_broken_fails_with_a_reason(tmp_path: Path):
    outcome, archive = search(tmp_path, BROKEN)
    with archive:
        assert (outcome.status, outcome.unmeasured) == ("failed", None)
        assert "Triton rejects the source" in outcome.reason


def test_being_slow_in_the_interpreter_is_no_fault():
    late = _patient(Verdict("rejected", "The candidate's process did not finish within 60 s.", "timeout"))
    assert late.status == "unjudged"
    assert "--scale cpu" in late.reason
    wrong = Verdict("rejected", "It is wrong.", "value")
    assert _patient(wrong) == wrong


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
