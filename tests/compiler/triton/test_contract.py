"""Contractions of every layout are right at ragged sizes in the interpreter, and compile to sm_90 without spills."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kernelwright.compiler import prepare
from kernelwright.compiler.program import Acc, Axis, Const, Expr, Index, Load, Op
from kernelwright.compiler.triton import emit_triton
from kernelwright.compiler.triton._helpers import helper_texts
from kernelwright.compiler.triton.contract import ProductSchedule, emit_contraction, product_schedules, suits_products
from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, TensorSpec
from kernelwright.targets.plan import WORKSPACE
from kernelwright.targets.triton._ahead import compile_ahead
from kernelwright.task import DynamicSize
from tests.compiler.contraction_lab import Case, convolution, einsum, weight_gradient
from tests.triton_lab import interpret, needs_triton

pytestmark = [needs_triton, pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")]

UNIT = {torch.float32: 2.0**-23, torch.float64: 2.0**-52, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}


def candidate(case: Case, schedule: ProductSchedule | None = None) -> Candidate:
    """A module with the kernel of one case; the inputs are the arguments."""
    assert suits_products(case.program, case.reduce)
    code = emit_contraction(case.program, case.reduce, "k0", schedule)
    head = "import torch\nimport triton\nimport triton.language as tl\n"
    head += "from triton.tools.tensor_descriptor import TensorDescriptor\n"
    source = "\n\n\n".join([head, *helper_texts(code.helpers), code.source]) + "\n"

    def spec(name: str, value: torch.Tensor) -> TensorSpec:
        return TensorSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch."), tuple(value.stride()))

    inputs = tuple(InputSpec(("arg", k), spec(n, t)) for k, (n, t) in enumerate(case.inputs.items()))
    args = (*code.tensors, *((WORKSPACE,) if code.scratch != 0 else ()))
    plan = Plan(inputs, (spec("out", case.output),), (EntryCall("k0", args),), ("out",), workspace=code.scratch)
    return Candidate("triton", "test", source, plan)


def check(case: Case, schedule: ProductSchedule | None = None) -> None:
    got = interpret(candidate(case, schedule), *case.inputs.values())
    expected = case.expected({n: t.double() for n, t in case.inputs.items()}).reshape(got.shape)
    steps = 1
    for axis in case.reduce.raxes:
        steps *= axis.size
    inner = 2.0**-52 if got.dtype == torch.float64 else 2.0**-23
    bound = UNIT[got.dtype] * expected.abs() + inner * (3 * steps + 16)
    assert ((got.double() - expected).abs() <= bound).all(), case.label


def bias_relu(acc: Acc, axes: dict[str, Axis]) -> Expr:
    shifted = Op("add", (acc, Load("bias", (Index.axis("xn"),), acc.dtype)), acc.dtype)
    return Op("maximum", (shifted, Const(0.0, acc.dtype)), acc.dtype)


def matrix(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, columns).to(dtype)


@pytest.mark.parametrize("dtype", UNIT)
def test_every_layout(dtype: torch.dtype):
    torch.manual_seed(0)
    out = str(dtype).removeprefix("torch.")
    m, n, k = 21, 35, 18
    for a in (matrix(m, k, dtype), matrix(k, m, dtype).T):
        for b in (matrix(k, n, dtype), matrix(n, k, dtype).T):
            check(einsum("mk,kn->mn", a, b, out=out))
    check(einsum("mk,kn->nm", matrix(m, k, dtype), matrix(k, n, dtype), out=out))


@pytest.mark.parametrize("spec", ["bmk,bkn->bmn", "bmk,kn->bmn", "bmhk,bnhk->bhmn", "mab,abn->mn"])
def test_batches_and_fused_axes(spec: str):
    torch.manual_seed(1)
    sizes = {"b": 3, "m": 17, "n": 19, "k": 23, "h": 2, "a": 5}
    left, right = spec.split("->")[0].split(",")
    a, b = (torch.randn([sizes[c] for c in term]) for term in (left, right))
    check(einsum(spec, a, b))


@pytest.mark.parametrize("split", [1, 4])
def test_an_epilogue_and_a_sum_that_is_shared_out(split: int):
    torch.manual_seed(2)
    case = einsum(
        "mk,kn->mn", matrix(20, 100), matrix(100, 33), epilogue=bias_relu, extra={"bias": torch.randn(33)},
        expected=lambda t: (t["a"] @ t["b"] + t["bias"]).relu(),
    )  # fmt: skip
    check(case, ProductSchedule(16, 16, 16, group=2, split=split))
    check(
        einsum("bmk,bkn->bmn", torch.randn(2, 17, 70), torch.randn(2, 70, 5)), ProductSchedule(16, 16, 16, split=split)
    )


@pytest.mark.parametrize("variant", [{"persistent": 3}, {"engine": True}, {"engine": True, "persistent": 3}], ids=str)
def test_programs_that_stay_and_tiles_that_the_copy_engine_fetches(variant: dict[str, Any]):
    torch.manual_seed(5)
    schedule = ProductSchedule(16, 32, 16, group=2, **variant)
    half = torch.bfloat16
    for a in (matrix(40, 72, half), matrix(72, 40, half).T):
        for b in (matrix(72, 56, half), matrix(56, 72, half).T):
            case = einsum("mk,kn->mn", a, b, out="bfloat16")
            made = candidate(case, schedule)
            assert ("a_tiles.load" in made.source) == schedule.engine
            check(case, schedule)
    wide = einsum(
        "mk,kn->mn", matrix(40, 72, half), matrix(72, 56, half), out="float32", epilogue=bias_relu,
        extra={"bias": torch.randn(56)}, expected=lambda t: (t["a"] @ t["b"] + t["bias"]).relu(),
    )  # fmt: skip
    check(wide, schedule)
    check(einsum("bmk,bkn->bmn", torch.randn(2, 17, 40), torch.randn(2, 40, 21)), schedule)  # which it cannot fetch


def test_tf32_loses_what_the_matrix_units_lose() -> None:
    a, b = torch.randn(32, 64), torch.randn(64, 32)
    a[3, 4], b[5, 6] = float("inf"), float("nan")
    case = einsum("mk,kn->mn", a, b)
    wanted = a.double() @ b.double()
    errors = {}
    for precision in ("ieee", "tf32x3", "tf32"):
        got = interpret(candidate(case, ProductSchedule(16, 16, 32, precision=precision)), a, b)
        assert torch.equal(got.isnan(), wanted.isnan())
        errors[precision] = float((got - wanted).nan_to_num(0, 0, 0).abs().max())
    assert errors["ieee"] <= errors["tf32x3"] * 4
    assert errors["tf32x3"] < 1e-4 < 1e-3 < errors["tf32"] < 0.2


def test_operands_that_are_not_aligned_are_loaded():
    schedule = ProductSchedule(16, 16, 16, engine=True)
    a, b = (torch.randn(33 * 64 + 1).to(torch.bfloat16)[1:2049].view(32, 64) for _ in range(2))
    case = einsum("mk,nk->mn", a, b, out="bfloat16")
    torch.testing.assert_close(interpret(candidate(case, schedule), a, b), a @ b.T, atol=0.2, rtol=2e-2)


@pytest.mark.parametrize(
    "case",
    [
        convolution(torch.randn(2, 3, 9, 11), torch.randn(5, 3, 3, 3), padding=1, bias=torch.randn(5), relu=True),
        convolution(torch.randn(1, 4, 9, 8), torch.randn(6, 2, 3, 3), stride=2, dilation=2, padding=2, groups=2),
        convolution(torch.randn(2, 3, 20), torch.randn(4, 3, 5), stride=3),
        convolution(torch.randn(1, 2, 5, 6, 7), torch.randn(3, 2, 3, 3, 3), padding=1),
        convolution(torch.randn(1, 3, 9, 9).bfloat16(), torch.randn(4, 3, 3, 3).bfloat16(), padding=1, out="bfloat16"),
        weight_gradient(torch.randn(2, 3, 6, 7), torch.randn(2, 4, 6, 7)),
    ],
    ids=lambda case: case.label,
)
def test_convolutions(case: Case):
    check(case)


def test_a_product_with_a_vector_is_left_to_ordinary_reductions():
    for case in (einsum("mk,k->m", matrix(9, 5), torch.randn(5)), einsum("k,kn->n", torch.randn(5), matrix(5, 9))):
        assert not suits_products(case.program, case.reduce)


def test_infinities_and_nan_stay_where_they_belong():
    a, b = matrix(20, 20), matrix(20, 20)
    a[3, 4], b[7, 9] = float("inf"), float("nan")
    got = interpret(candidate(einsum("mk,kn->mn", a, b)), a, b)
    torch.testing.assert_close(got, a @ b, equal_nan=True, atol=1e-4, rtol=1e-4)


def test_sizes_that_vary():
    a, b = torch.randn(30, 40), torch.randn(40, 12)
    prepared = prepare(torch.matmul, (a, b), (DynamicSize(0, 0, 1, 64),))
    made = emit_triton(prepared)
    for rows in (1, 17, 64):
        a = torch.randn(rows, 40)
        torch.testing.assert_close(interpret(made, a, b), a @ b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "m", "n", "k"),
    [
        (torch.bfloat16, 8192, 8192, 8192),
        (torch.float16, 4096, 1000, 512),
        (torch.float32, 1024, 1024, 1024),
        (torch.float32, 64, 64, 8192),
        (torch.float64, 256, 256, 256),
    ],
)
def test_the_best_guess_compiles_without_spills(dtype: torch.dtype, m: int, n: int, k: int):
    case = einsum("mk,kn->mn", torch.empty(m, k, dtype=dtype), torch.empty(k, n, dtype=dtype), out=str(dtype)[6:])
    made = candidate(case)
    assert compile_ahead(made.source, made.plan).spills == 0
    if dtype == torch.float32 and k == 1024:
        fast = candidate(case, replace(product_schedules(case.program, case.reduce)[0], precision="tf32"))
        assert compile_ahead(fast.source, fast.plan).spills == 0


def test_small_results_of_long_sums_are_shared_out():
    case = einsum("mk,kn->mn", torch.empty(64, 8192), torch.empty(8192, 64))
    assert product_schedules(case.program, case.reduce)[0].split > 1
    case = einsum("mk,kn->mn", torch.empty(4096, 4096), torch.empty(4096, 4096))
    assert all(s.split == 1 for s in product_schedules(case.program, case.reduce))
