"""Casts and products of every type: interpreted and emulated, against the type's own values and float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import QuantTensor, all_types, dt, pack, round_to_nearest
from kernelwright.kernels.lowbit._types import LowBitType
from kernelwright.kernels.lowbit.tilus import (
    BF16,
    F16,
    Program,
    Schedule,
    TileProduct,
    TileProgram,
    byte_layout,
    candidate,
    change_layout,
    interpret,
    local,
    restore_layout,
    source,
    spatial,
    to_values,
    weight_layout,
)
from kernelwright.targets.cuda import find_cuda_compiler, load_cuda, report
from kernelwright.targets.plan import EntryCall, InputSpec, Plan, TensorSpec

TYPES = all_types()
WIDE = {"f16": (F16, torch.float16), "bf16": (BF16, torch.bfloat16)}


def bits_of(tensor: torch.Tensor) -> np.ndarray:
    kind = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32}[tensor.element_size()]
    return tensor.contiguous().view(kind).numpy()


# ── casts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def shape_of(bits: int) -> tuple[int, int]:
    """The smallest tile whose pairs are interleaved."""
    return {1: 64, 2: 32}.get(bits, 16), 16


def caster(kind: LowBitType, wide: str, interleaved: bool) -> Program:
    """Packed codes to wide ones in their natural order."""
    shape = shape_of(kind.bits)
    natural = weight_layout(*shape, 16)
    layout = weight_layout(*shape, kind.bits) if interleaved else natural
    program = TileProgram(f"cast_{kind.name}_{wide}_{int(interleaved)}_kernel", 32, ("1", "1"))
    codes = program.parameter("codes", dt("u8"), (shape[0] * 2 * kind.bits,))
    out = program.parameter("out", WIDE[wide][0], (32, natural.slots))
    raw = program.load(codes, [0], byte_layout(layout, kind.bits))
    values = program.cast(program.view(raw, kind, layout), WIDE[wide][0], natural)
    program.store(out, program.view(values, WIDE[wide][0], spatial(32, 1) * local(1, natural.slots)), [0, 0])
    return program.build()


def cast_case(kind: LowBitType, interleaved: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Every code somewhere, packed as a program takes it; and the codes as they lie in the threads."""
    shape = shape_of(kind.bits)
    order = torch.randperm(shape[0] * 16, generator=torch.Generator().manual_seed(0))
    codes = order.remainder(2**kind.bits).to(torch.uint8).reshape(shape)
    index = torch.from_numpy(weight_layout(*shape, 16).indices())
    mine = codes[index[..., 0], index[..., 1]]
    if interleaved:
        return change_layout(codes, kind.bits, *shape).flatten(), mine
    flat = torch.from_numpy(byte_layout(weight_layout(*shape, 16), kind.bits).indices()).flatten()
    packed = pack(mine, kind.bits)
    return torch.empty(packed.numel(), dtype=torch.uint8).index_copy_(0, flat, packed.flatten()), mine


PLAIN = [dt(name) for name in ("sign", "u2", "i4", "e2m1", "i8")]
CASTS = [(kind, wide, way) for way in (True, False) for kind in (TYPES if way else PLAIN) for wide in WIDE]


def entry(programs: list[Program]) -> Callable[[Program, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
    """All programs as one emulated source; the function runs one of them."""
    text = source(*programs)

    def run(program: Program, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        names = [part.name for part in program.parameters]
        specs = [
            TensorSpec(name, tuple(t.shape), str(t.dtype).removeprefix("torch."), tuple(t.stride()))
            for name, t in zip(names, (*inputs, out), strict=True)
        ]
        plan = Plan(
            inputs=tuple(InputSpec(("arg", k), spec) for k, spec in enumerate(specs[:-1])),
            buffers=(specs[-1],),
            steps=(EntryCall(program.name.removesuffix("_kernel"), tuple(names)),),
            results=(names[-1],),
        )
        return load_cuda(text, plan, {}, emulated=True)(*inputs)

    return run


@pytest.fixture(scope="module")
def emulated_casts() -> Callable[..., torch.Tensor]:
    return entry([caster(*case) for case in CASTS])


@pytest.mark.parametrize("case", CASTS, ids=lambda case: f"{case[0].name}-{case[1]}-{case[2]}")
def test_every_code_is_cast_to_its_value(case, emulated_casts) -> None:
    kind, wide, way = case
    codes, plain = cast_case(kind, way)
    want = kind.values()[plain.long()]
    program, dtype = caster(*case), WIDE[wide][1]
    got = emulated_casts(program, (codes,), torch.empty(plain.shape, dtype=dtype))
    assert torch.equal(got.double().nan_to_num(nan=1e9), want.nan_to_num(nan=1e9))
    assert torch.equal(got.signbit() | got.isnan(), want.signbit() | want.isnan())  # -0, too
    memory = {"codes": codes.numpy(), "out": np.zeros(plain.shape, np.uint16)}
    interpret(program, memory, (1, 1))
    np.testing.assert_array_equal(to_values(memory["out"], WIDE[wide][0]), want.numpy())


# ── products ───────────────────────────────────────────────────────────────────────────────────────────────────────


def case_of(kind: str, rows: int, columns: int, group: int, m: int, dtype: torch.dtype) -> tuple[TileProduct, tuple]:
    generator = torch.Generator().manual_seed(rows + columns)
    plain = torch.randn(rows, columns, generator=generator)
    if dt(kind).bits == 1 and kind != "u1":  # no scale makes the best of these, so any will do
        scale = plain.view(rows, -1, group).abs().mean(2)
        weight = QuantTensor.of_codes((plain > 0).to(torch.uint8), scale, None, kind, group)
    else:
        weight = round_to_nearest(plain, kind, group)
    product = TileProduct.of(weight, dtype)
    x = torch.randn(m, columns, generator=generator).to(dtype)
    return product, (weight, product.arguments(x, weight))


def check(y: torch.Tensor, weight: QuantTensor, x: torch.Tensor) -> None:
    """As exact as sums in float32 that are rounded once."""
    exact = weight.dequantize(torch.float64)
    size = (
        exact.abs()
        if weight.offset is None
        else (exact.abs() + 2 * weight.offset.double().abs().repeat_interleave(weight.group_size, 1))
    )
    want, room = x.double() @ exact.T, x.double().abs() @ size.T
    eps = torch.finfo(y.dtype).eps
    assert ((y.double() - want).abs() <= eps * want.abs() + 1e-6 * room + 1e-7).all()


def interpreted(product: TileProduct, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    program = product.program()
    out = torch.zeros(len(arguments[0]), product.rows, dtype=product.dtype)
    names = [part.name for part in program.parameters]
    memory = {name: bits_of(part) for name, part in zip(names, (*arguments, out), strict=True)}
    schedule = product.schedule
    interpret(program, memory, (product.tiles[1] // schedule.warps, -(-len(out) // schedule.rows)))
    return torch.from_numpy(memory["out"]).view(product.dtype)


SIZES = [(40, 96, 32, 3), (70, 128, 64, 17)]


@pytest.mark.parametrize("number", range(len(TYPES)), ids=[kind.name for kind in TYPES])
def test_products_of_every_type_are_interpreted_right(number: int) -> None:
    dtype = (torch.float16, torch.bfloat16)[number // 2 % 2]
    product, (weight, arguments) = case_of(TYPES[number].name, *SIZES[number % 2], dtype)
    check(interpreted(product, arguments), weight, arguments[0])
    check(product(*arguments), weight, arguments[0])


# One of each way to cast, with and without offsets, and a schedule with more than one tile of each kind.
EMULATED = [
    ("u4", torch.float16, Schedule(16, 2, 16, 32, 3)),
    ("e2m1", torch.bfloat16, Schedule(32, 1, 24, 16, 2)),
    ("i6", torch.float16, Schedule(16, 2, 8, 32, 4)),
]


def emulated_case(kind: str, dtype: torch.dtype, schedule: Schedule) -> tuple[TileProduct, QuantTensor, tuple, Program]:
    _, (weight, (x, *_)) = case_of(kind, 70, 128, 64, 35, dtype)
    product = TileProduct.of(weight, dtype, schedule)
    return product, weight, product.arguments(x, weight), replace(product.program(), name=f"{kind}_kernel")


@pytest.fixture(scope="module")
def emulated_products() -> Callable[..., torch.Tensor]:
    return entry([emulated_case(*case)[-1] for case in EMULATED])


@pytest.mark.parametrize("case", EMULATED, ids=lambda case: case[0])
def test_products_are_emulated_right(case, emulated_products) -> None:
    product, weight, arguments, program = emulated_case(*case)
    for m in (1, 35):
        given = (arguments[0][:m], *arguments[1:])
        y = emulated_products(program, given, torch.empty(m, 70, dtype=product.dtype))
        check(y, weight, given[0])
        check(interpreted(product, given), weight, given[0])


@pytest.mark.parametrize(("rows", "columns", "m"), [(1, 1, 1), (5, 100, 2), (33, 77, 5), (8, 130, 16)])
def test_a_group_for_each_row_takes_inputs_of_any_number(rows: int, columns: int, m: int) -> None:
    for kind in ("u4", "e3m2"):
        product, (weight, arguments) = case_of(kind, rows, columns, columns, m, torch.float16)
        check(interpreted(product, arguments), weight, arguments[0])


def test_infinities_and_nan_reach_the_results_of_their_rows_alone() -> None:
    product, (weight, (x, *parts)) = case_of("i4", 40, 64, 32, 6, torch.float16)
    x[1, 5], x[2, 7] = torch.inf, torch.nan
    y = interpreted(product, (x, *parts))
    assert y[2].isnan().all()
    assert not y[1].isfinite().any() or (weight.dequantize()[:, 5] == 0).any()
    assert y[[0, 3, 4, 5]].isfinite().all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_layout_is_changed_and_restored(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (128, 48), dtype=torch.uint8)
    tiles = change_layout(codes, bits, 64, 16)
    assert tiles.shape == (2, 3, 128 * bits)
    assert torch.equal(restore_layout(tiles, bits, 64, 16), codes)


def test_what_no_product_takes_gets_a_sentence() -> None:
    weight = round_to_nearest(torch.ones(16, 48), "u4", 24)
    with pytest.raises(LowBitInvalid, match="group_size is 24; it is all of the 48 inputs, or a multiple"):
        TileProduct.of(weight, torch.float16)
    with pytest.raises(LowBitInvalid, match=r"x is torch\.float32; tile programs multiply"):
        TileProduct.of(round_to_nearest(torch.ones(16, 64), "u4", 32), torch.float32)
    with pytest.raises(LowBitInvalid, match="rows and depth come in 16s"):
        Schedule(rows=8)
    with pytest.raises(LowBitInvalid, match="no whole tiles of 64 x 16"):
        change_layout(torch.zeros(60, 16, dtype=torch.uint8), 4, 64, 16)
    large = TileProduct.of(
        round_to_nearest(torch.ones(64, 256), "u8", 256), torch.float16, Schedule(rows=128, depth=128)
    )
    with pytest.raises(LowBitInvalid, match="bytes of shared memory; a block has 49152"):
        candidate(large)


@pytest.mark.skipif(find_cuda_compiler() is None, reason="no CUDA compiler")
@pytest.mark.parametrize(("kind", "dtype"), [("u4", torch.float16), ("e3m2", torch.bfloat16)])
def test_it_compiles_for_a_gpu_without_spills(kind: str, dtype: torch.dtype) -> None:
    product, _ = case_of(kind, 256, 256, 64, 1, dtype)
    (kernel,) = report(candidate(product)).kernels
    assert kernel.spills == 0
    assert kernel.registers <= 128
