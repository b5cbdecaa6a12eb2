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
RIGHT = (
    "map", "softmax", "split_sum", "transpose", "matmul", "matvec", "cumsum", "convolution", "concatenate", "depthwise",
)  # fmt: skip
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
    ("softmax", "float t2[77]", "float t2[76]", "not be inside"),
    ("matmul", "i_ < rows_", "i_ <= rows_", "not be inside|two threads"),
    ("matmul", "i_ < rows_", "i_ < rows_ - 1", "not be written"),
    ("matvec", "if (a4 < end_)", "if (a4 + 8 < end_)", "not be written"),
    # wrong stride
    ("map", "item * 8192", "item * 8191", "two threads"),
    ("map", "item * 8192", "item * 8193", "not be written|not be inside"),
    ("softmax", "out0 + a1 * 77", "out0 + a1 * 76", "two threads"),
    ("softmax", "out0 + a1 * 77", "out0 + a1 * 78", "not be inside"),
    ("softmax", "arg0 + a1 * 77", "arg0 + a1 * 79", "not be inside"),
    ("transpose", "out0 + a1 * 1000", "out0 + a1 * 999", "two threads"),
    ("matmul", "out0 + a5 * 45", "out0 + a5 * 44", "two threads|not be written"),
    ("matmul", "{{70}, {50}}", "{{70}, {51}}", "outside the size|not be inside"),
    ("convolution", "{672, 42, 1}", "{700, 42, 1}", "outside the size|not be inside"),
    ("cumsum", "out0 + a1 + a2 * 50", "out0 + a1 + a2 * 49", "two threads"),
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
    ("depthwise", "thread_ * 2640", "thread_ * 2600", "two threads"),
    ("depthwise", "thread_ * 2640", "thread_ * 0", "two threads"),
    ("matvec", "unit_ % blocks_ * 64", "unit_ % blocks_ * 63", "two threads"),
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


def test_what_is_written_twice_is_not_called_once() -> None:
    tail = "if (at < a2_end) point(at, int(a2_end - at));"
    again = mutant("map", tail, f"{tail} {tail}")
    assert again.proved
    assert not again.once
    assert again.kernels[0].rewritten == ("out0",)


def test_steps_that_overlap_are_not_called_once() -> None:
    proof = mutant(
        "softmax",
        "at += kw::W) point(at, kw::W);\n        if (at < 77)",
        "at += 8) point(at, kw::W);\n        if (at < 77)",
    )
    assert not proof.once


def test_memory_of_all_threads_is_not_memory_of_one() -> None:
    shared = "    alignas(64) float t2[77];\n"
    proof = mutant("softmax", shared, "", "  kw::parallel_items(", f"{shared}  kw::parallel_items(")
    assert "two threads" in proof.kernels[0].why_not


def test_threads_assign_no_variable_that_they_share() -> None:
    begin = "  kw::parallel_items("
    item = "const int64_t a1 = item;"
    proof = mutant("softmax", begin, f"  int64_t last = 0;\n{begin}", item, f"{item} last = item;")
    assert "which they share" in proof.kernels[0].why_not


def test_a_loop_that_may_end_early_covers_nothing() -> None:
    loop = "at += kw::W) point(at, kw::W);"
    early = "at += kw::W) { if (kw::get(arg0 + a1) > 0.0f) return; point(at, kw::W); }"
    assert "returns from inside a loop" in mutant("map", loop, early.replace("a1", "at")).kernels[0].why_not


def test_temporaries_that_overlap_are_refused() -> None:
    candidate = printed("split_sum")
    assert candidate.plan is not None
    small = replace(candidate, plan=replace(candidate.plan, workspace=32 * 2048 * 4 - 4))
    assert "workspace" in prove(small, PATIENCE).kernels[0].why_not


def test_an_index_from_memory_says_why_not() -> None:
    proof = prove(printed("embedding"), PATIENCE)
    assert not proof.proved
    assert "only known at run time" in proof.kernels[0].why_not


def test_a_clamped_index_from_memory_is_proved() -> None:
    index = "static_cast<int64_t>(v3)"
    proof = mutant("embedding", index, f"kw::min<int64_t>(kw::max<int64_t>({index}, 0), 8)")
    assert proof.proved
    assert not mutant("embedding", index, f"kw::min<int64_t>(kw::max<int64_t>({index}, 0), 9)").proved


def test_what_is_not_understood_is_not_proved() -> None:
    assert "parser" in mutant("map", "int64_t at = a2_begin;", "int64_t at = ;").why_not
    unknown = mutant("map", "kw::store(out0 + a2,", "kw::spill(out0 + a2,")
    assert "kw::spill" in unknown.kernels[0].why_not
    assert not mutant("map", "if (at < a2_end)", "if (at < a2_end) goto end; if (at < a2_end)").proved
    assert not prove(Candidate("eager", "baseline", "", None)).proved


def test_time_that_is_up_proves_nothing() -> None:
    assert not prove(printed("transpose"), 0.0).proved


def test_writes_that_depend_on_data_cover_nothing() -> None:
    store = "kw::store(out0 + a2, v4, lanes);"
    proof = mutant("map", store, f"if (kw::get(arg0 + a2) > 0.0f) {store}")
    assert "not be written" in proof.kernels[0].why_not


def test_the_proof_as_json() -> None:
    found = json.loads(json.dumps(prove(printed("concatenate"), PATIENCE).to_json()))["indices"]
    assert found["proved"] is True
    assert [k["kernel"] for k in found["kernels"]] == ["k0", "k1"]
    assert {"entry", "kernel", "proved", "why_not", "rewritten"} == set(found["kernels"][0])


def test_what_is_printed_today_is_proved() -> None:
    def scores(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, -1)

    assert prove(emit(prepare(scores, (torch.randn(9, 100),))), PATIENCE).proved
