"""Triton candidates are judged in the interpreter, by the same cases and guards as any other; nobody times them."""

from __future__ import annotations

import pytest

from kernelwright.judge import Session
from kernelwright.targets import Candidate
from tests.triton_lab import needs_triton

from .kernels import make_plan

pytestmark = needs_triton

SOURCE = """
import triton
import triton.language as tl


@triton.jit
def run0_kernel(x, bias, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = tl.load(x + offsets, mask=inside) + tl.load(bias + offsets % 32)
    tl.store(y + offsets, tl.where(value < 0, 0.0, value), mask=inside)


def run0(x, bias, y):
    n = y.numel()
    run0_kernel[(triton.cdiv(n, 256),)](x, bias, y, n, BLOCK=256)
"""

WRONG = {
    "value": SOURCE.replace("offsets % 32", "offsets % 31"),
    "nan": SOURCE.replace("triton.cdiv(n, 256)", "n // 256"),  # what no block writes is poison
    "guard": SOURCE.replace("mask=inside)\n\n", "mask=offsets <= n)\n\n"),
    "input-mutated": SOURCE.replace("tl.store(y", "tl.store(x + offsets, value, mask=inside); tl.store(y"),
    "build": SOURCE + "\nthis is not Python\n",
    "crash": SOURCE.replace("tl.load(x", "tl.lode(x"),
}  # fmt: skip


def candidate(source: str) -> Candidate:
    return Candidate("triton", "test", source, make_plan())


def test_an_honest_candidate_is_accepted(session: Session):
    verdict = session.verify(candidate(SOURCE))
    assert verdict.accepted, verdict.reason
    assert len(verdict.checks) >= 4


@pytest.mark.parametrize("category", WRONG)
def test_a_wrong_one_is_rejected_for_its_reason(session: Session, category: str):
    verdict = session.verify(candidate(WRONG[category]))
    assert verdict.category == category, verdict.reason
    assert verdict.reason.endswith(".")
