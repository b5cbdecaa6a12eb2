"""A hand-written Triton candidate is interpreted, compiled ahead of time, and refused with a sentence where wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernelwright.errors import BuildFailed, GpuMissing, OutsideDomain, TritonMissing
from kernelwright.machine import H200
from kernelwright.targets import (
    AtenCall,
    Candidate,
    EntryCall,
    InputSpec,
    Literal,
    Plan,
    SymbolSpec,
    TensorSpec,
    load,
)
from kernelwright.targets.triton import predict, report, reports
from kernelwright.targets.triton._ahead import compile_ahead
from kernelwright.task import Cost
from tests.triton_lab import interpret, needs_triton

pytestmark = [needs_triton, pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")]

SOURCE = """
import triton
import triton.language as tl


@triton.jit
def k0_kernel(x, out, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = tl.load(x + offsets, mask=inside)
    tl.store(out + offsets, value * 2 + tl.sum(tl.where(inside, 1.0, 0.0)) * 0, mask=inside)


def k0(x, out):
    n = x.numel()
    k0_kernel[(triton.cdiv(n, 128),)](x, out, n, BLOCK=128, num_warps=4)
"""


def spec(name: str, *shape: int | str) -> TensorSpec:
    strides = []
    for k in range(len(shape)):
        strides.append("*".join(str(s) for s in shape[k + 1 :]) or 1)
    return TensorSpec(name, shape, "float32", tuple(int(s) if str(s).isdigit() else s for s in strides))


def doubling(*shape: int | str, source: str = SOURCE) -> Candidate:
    symbols = tuple(SymbolSpec(s, 0, k, 1, 4096) for k, s in enumerate(shape) if isinstance(s, str))
    inputs = (InputSpec(("arg", 0), spec("x", *shape)),)
    plan = Plan(inputs, (spec("out", *shape),), (EntryCall("k0", ("x", "out")),), ("out",), symbols=symbols)
    return Candidate("triton", "hand", source, plan)


@pytest.mark.parametrize("shape", [(300,), (1,), (0,), (7, 11)])
def test_it_is_interpreted_on_any_size(shape: tuple[int, ...]):
    x = torch.randn(shape)
    torch.testing.assert_close(interpret(doubling(*shape), x), 2 * x)


def test_other_layouts_are_copied_and_other_shapes_refused():
    x = torch.randn(11, 7)
    torch.testing.assert_close(interpret(doubling(7, 11), x.T), 2 * x.T)
    with pytest.raises(OutsideDomain, match="but the kernel takes"):
        interpret(doubling(7, 11), x)


def test_sizes_known_at_the_call_an_aten_step_state_and_a_literal():
    half = Literal("half", (1,), "float32", "AAAAPw==")
    inputs = (
        InputSpec(("arg", 0), spec("x", "s0")),
        InputSpec(("state", "weight"), spec("w", 1)),
        InputSpec(("literal", "half"), spec("half", 1)),
    )
    steps = (
        EntryCall("k0", ("x", "a")),
        AtenCall("aten.mul.Tensor", ({"tensor": "a"}, {"tensor": "w"}), (), ("b",)),
        AtenCall("aten.mul.Tensor", ({"tensor": "b"}, {"tensor": "half"}), (), ("c",)),
    )
    plan = Plan(inputs, (spec("a", "s0"),), steps, ("c",), symbols=(SymbolSpec("s0", 0, 0, 1, 500),), literals=(half,))
    candidate = Candidate("triton", "hand", SOURCE, plan)
    x, weight = torch.randn(257), torch.tensor([3.0])
    torch.testing.assert_close(interpret(candidate, x, state={"weight": weight}), 3 * x)
    made = compile_ahead(SOURCE, plan)
    assert [kernel.grid for kernel in made.kernels] == [(4,)]  # of the largest size


def test_it_compiles_ahead_of_time_and_tells_what_it_uses():
    made = compile_ahead(SOURCE, doubling(1000).plan)
    (kernel,) = made.kernels
    assert (made.architecture, kernel.kernel, kernel.grid, kernel.warps) == ("sm_90", "k0_kernel", (8,), 4)
    assert kernel.spills == 0
    assert 0 < kernel.registers <= H200.registers_thread
    assert kernel.shared > 0  # the sum over warps
    assert 0 < kernel.occupancy <= 1


def test_registers_that_do_not_fit_are_reported_as_spills():
    many = SOURCE.replace("128", "8192").replace("num_warps=4", "num_warps=4, maxnreg=24")
    many = many.replace("value * 2", "tl.sort(value) * 2")
    made = compile_ahead(many, doubling(100000).plan)
    assert made.spills > 0


def test_a_fault_is_a_sentence_and_costs_no_other_candidate_its_report():
    wrong = doubling(8, source=SOURCE.replace("tl.load(x + offsets, mask=inside)", "tl.undefined(x)"))
    deadly = doubling(8, source=SOURCE.replace("n = x.numel()", "import os; os._exit(3)"))
    rest = [doubling(8), doubling(8, source="x = ("), doubling(8, source="x = 1")]
    first, second, third, fourth, fifth = reports([wrong, deadly, *rest])
    assert "Triton rejects the source" in first.fault
    assert "exit code 3" in second.fault
    assert len(third.kernels) == 1
    assert "SyntaxError" in fourth.fault
    assert "defines no function k0" in fifth.fault


def test_one_report_or_one_fault():
    with pytest.raises(BuildFailed, match="cannot be imported"):
        report(doubling(8, source="x = ("))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_on_a_gpu_it_runs_where_its_arguments_lie():
    x = torch.randn(1000, device="cuda")
    call = load(doubling(1000), lambda: None, {})
    torch.testing.assert_close(call(x), 2 * x)
    assert call(x).device.type == "cuda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_does_not_run_in_this_process():
    with pytest.raises(GpuMissing, match="runs on a GPU"):
        load(doubling(8), lambda: None, {})


def test_without_triton_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TritonMissing, match="pip install"):
        report(doubling(8))


def test_the_prediction_is_the_slower_of_arithmetic_and_traffic():
    assert predict(Cost(0.0, H200.bandwidth), "float32") == pytest.approx(1.0)
    assert predict(Cost(H200.peaks["bfloat16"], 1.0), "bfloat16") == pytest.approx(1.0)
    assert predict(Cost(H200.peaks["float32"], 1.0), "int64") == pytest.approx(1.0)
    slower = replace(H200, bandwidth=H200.bandwidth / 2)
    assert predict(Cost(1.0, 1e9), "float32", slower) == 2 * predict(Cost(1.0, 1e9), "float32")
