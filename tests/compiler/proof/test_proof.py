"""The proof accepts what the compiler printed, and refuses every fault that is written into it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernelwright.compiler._pipeline import emit, prepare
from kernelwright.compiler.proof import Proof, prove
from kernelwright.targets import Candidate
from kernelwright.targets.plan import PLAN_MARK, plan_from_json

SOURCES = Path(__file__).parent / "sources"
RIGHT = ("map", "softmax", "split_sum", "transpose", "matmul", "matvec", "cumsum", "convolution", "concatenate", "depthwise")
PATIENCE = 30.0  # seconds: a verdict of these tests is never a matter of time


def printed(name: str) -> Candidate:
    """A source that the compiler printed once, with its plan."""
    head, _, source = (SOURCES / f"{name}.cpp").read_text().partition("\n")
    return Candidate("cpu", "compiler", source, plan_from_json(head.removeprefix(PLAN_MARK)))


def mutant(name: str, *edits: str) -> Proof:
    """The proof of a printed source with ``old`` replaced by ``new``, for each pair of edits."""
    candidate = printed(name)
    source = candidate.source
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in source, f"{old!r} is not in {name}.cpp"
        source = source.replace(old, new)
    return prove(replace(candidate, source=source), PATIENCE)


@pytest.mark.parametrize("name", RIGHT)
def test_printed_sources_are_proved(name: str) -> None:
    proof = prove(printed(name), PATIENCE)
    assert proof.proved, proof
    assert proof.once


MUTANTS = [
    # off by one
    ("map", "a2_begin + 8192", "a2_begin + 8193", "two threads"),
    ("map", "kw::min<int64_t>(a2_begin + 8192, 25900)", "a2_begin + 8192", "not be inside"),
    ("map", ", 25900)", ", 25899)", "not be written"),
    ("map", ", 25900)", ", 25901)", "not be inside"),
    ("map", "kw::store(out0 + a2,", "kw::store(out0 + a2 + 1,", "not be inside"),
    ("map", "kw::load(arg0 + a2,", "kw::load(arg0 + a2 - 1,", "not be inside"),
    ("map", "parallel_items(4,", "parallel_items(3,", "not be written"),
    ("map", "parallel_items(4,", "parallel_items(5,", "inside|threads"),
    ("softmax", "float t2[77]", "float t2[76]", "not be inside"),
    ("matmul", "i_ < rows_", "i_ <= rows_", "not be inside|two threads"),
    ("matmul", "i_ < rows_", "i_ < rows_ - 1", "not be written"),
    ("matvec", "a4 < end_", "a4 < end_ - 1", "not be written"),
    # wrong stride
    ("map", "item * 8192", "item * 8191", "two threads"),
    ("map", "item * 8192", "item * 8193", "not be written|not be inside"),
    ("softmax", "out0 + a1 * 77", "out0 + a1 * 76", "two threads"),
    ("softmax", "out0 + a1 * 77", "out0 + a1 * 78", "not be inside"),
    ("softmax", "arg0 + a1 * 77", "arg0 + a1 * 79", "not be inside"),
    ("transpose", "out0 + a2 * 1000", "out0 + a2 * 999", "two threads"),
    ("matmul", "out0 + a5 * 45", "out0 + a5 * 44", "two threads|not be written"),
    ("matmul", "{{70}, {50}}", "{{70}, {51}}", "outside the size|not be inside"),
    ("convolution", "{2, 1}", "{3, 1}", ""),
    ("cumsum", "out0 + a0 * 50", "out0 + a0 * 49", ""),
    # missing tail, whole vectors where there are not as many left
    ("map", "if (at < a2_end) point(at, int(a2_end - at));", "", "not be written"),
    ("map", "point(at, int(a2_end - at))", "point(at, kw::W)", "not be inside"),
    ("softmax", "if (at < 77) point(at, int(77 - at));", "", "not be written"),
    ("matmul", "acc_, count_", "acc_, kw::W", "not be inside|two threads"),
    ("concatenate", "if (at < a10_end) point(at, int(a10_end - at));", "", "not be written"),
    # steps that leave something out
    ("map", "at += kw::W", "at += 32", "not be written"),
    ("matmul", "a6 += kw::W", "a6 += 32", "not be written|not be inside"),
    ("split_sum", "at += 64) points", "at += 128) points", "not be written"),
    # parallel chunks that overlap, memory that threads share
    ("split_sum", "partial0 + a1 + a2_part * 2048, result0", "partial0 + a1, result0", "two threads"),
    ("split_sum", "partial0 + a1 + a2_part * 2048, result0", "partial0 + a1 + a2_part * 2047, result0", "two threads"),
    ("split_sum", "item * 1024", "item * 1023", "two threads"),
    ("depthwise", "thread_ * 848", "thread_ * 840", "two threads"),
    ("depthwise", "thread_ * 848", "thread_ * 0", "two threads"),
    ("matvec", "(unit_) % blocks_", "(unit_) / blocks_", ""),
    ("concatenate", "a9 * 71 + 30", "a9 * 71 + 31", "not be inside"),
    ("concatenate", "out0 + a7 * 71", "out0 + a7 * 70", "not be written|two threads"),
    # a smaller buffer than the entry asked for
    ("map", "out0_shape[] = {37, 700}", "out0_shape[] = {37, 699}", "not be inside"),
    ("matvec", "arg1_shape[] = {50}", "arg1_shape[] = {49}", "not be inside"),
]


@pytest.mark.parametrize(("name", "old", "new", "why"), MUTANTS)
def test_mutants_are_refused(name: str, old: str, new: str, why: str) -> None:
    if old not in printed(name).source:
        pytest.fail(f"{old!r} is not in {name}.cpp")
    proof = mutant(name, old, new)
    assert not proof.proved
    told = "; ".join([proof.why_not, *(k.why_not for k in proof.kernels)])
    assert re.search(why, told), told
