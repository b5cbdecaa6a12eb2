"""Products with weights of any few-bit type as one tile program: ``x @ W.T`` with ``x`` in float16 or bfloat16.

Source: Tilus (arXiv 2504.12984), section 8, with scales applied once for each group to float32 sums instead of to every
weight: codes are exact in 16-bit floats, so nothing is rounded before the end, and there is less to do for few rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ....errors import LowBitInvalid
from ....targets.plan import Candidate, EntryCall, InputSpec, Plan, SymbolSpec, TensorSpec
from .._tensor import QuantTensor
from .._types import LowBitType, dt
from ._emit import emit
from ._expression import Expression
from ._fragments import FRAGMENT_A, FRAGMENT_C
from ._layout import byte_layout, local, replicated, spatial
from ._program import BF16, F16, F32, Global, Program, Register, TileProgram
from ._weights import LANES, change_layout, restore_layout, weight_layout

MOST_ROWS = 4096
_WIDE = {torch.float16: F16, torch.bfloat16: BF16}


@dataclass(frozen=True)
class Schedule:
    """A block computes ``rows`` x ``warps * columns`` results, ``depth`` inputs at a time, ``stages - 1`` ahead."""

    rows: int = 16
    warps: int = 4
    columns: int = 16
    depth: int = 64
    stages: int = 3

    def __post_init__(self) -> None:
        if self.rows % 16 or self.columns % 8 or self.depth % 16 or self.stages < 2 or not 1 <= self.warps <= 32:
            raise LowBitInvalid(
                f"{self} is none: rows and depth come in 16s, columns in 8s, and stages are two or more."
            )


@dataclass(frozen=True)
class TileProduct:
    """One product as a plain callable on ``(x, codes, scale[, offset])``: the reference of its kernel.

    ``x`` is ``[M, columns]``, ``codes`` ``uint8`` ``[K / depth, N / columns, bytes]`` (:func:`change_layout`);
    ``scale`` and ``offset`` are float32 ``[groups, N]``, K and N filled up to whole tiles. The result is ``[M, rows]``:
    the sum over groups of ``scale * (x . codes) + offset * sum(x)``. Where an activation is infinite that may be NaN
    while the product with the dequantised weight is an infinity.

    >>> from kernelwright.kernels.lowbit import round_to_nearest
    >>> weight = round_to_nearest(torch.randn(40, 64), "e2m1", 32)
    >>> product = TileProduct.of(weight, torch.float16)
    >>> product(*product.arguments(torch.randn(3, 64).half(), weight)).shape
    torch.Size([3, 40])
    """

    kind: str
    group_size: int
    rows: int
    columns: int
    dtype: torch.dtype
    has_offset: bool
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        if self.dtype not in _WIDE:
            raise LowBitInvalid(f"x is {self.dtype}; tile programs multiply float16 and bfloat16.")
        if self.group_size != self.columns and self.group_size % self.schedule.depth:
            raise LowBitInvalid(
                f"group_size is {self.group_size}; it is all of the {self.columns} inputs, or a multiple of the "
                f"schedule's depth {self.schedule.depth}."
            )

    @staticmethod
    def of(weight: QuantTensor, dtype: torch.dtype, schedule: Schedule | None = None) -> TileProduct:
        """The product of a weight; without a ``schedule`` the deepest that its groups allow."""
        if schedule is None:
            depths = [depth for depth in (64, 32, 16) if weight.group_size % depth == 0]
            schedule = Schedule(depth=depths[0] if depths else 64)
        return TileProduct(
            weight.kind.name, weight.group_size, *weight.shape, dtype, weight.offset is not None, schedule
        )

    @property
    def type(self) -> LowBitType:
        """The weight's type."""
        return dt(self.kind)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles along K, and warps' tiles along N in whole blocks."""
        schedule = self.schedule
        blocks = -(-self.rows // (schedule.columns * schedule.warps))
        return -(-self.columns // schedule.depth), blocks * schedule.warps

    def arguments(self, x: torch.Tensor, weight: QuantTensor) -> tuple[torch.Tensor, ...]:
        """What :meth:`__call__` and the kernel take."""
        depth, columns = self.schedule.depth, self.schedule.columns
        more = (0, self.tiles[1] * columns - self.rows, 0, self.tiles[0] * depth - self.columns)
        codes = torch.nn.functional.pad(weight.codes().T, more)
        parts = [weight.scale] if weight.offset is None else [weight.scale, weight.offset]
        groups = [torch.nn.functional.pad(part.float().T, more[:2]).contiguous() for part in parts]
        return (x, change_layout(codes, self.type.bits, depth, columns), *groups)

    def __call__(self, x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        wide = torch.float64 if torch.float64 in (x.dtype, scale.dtype) else torch.float32
        plain = restore_layout(codes, self.type.bits, self.schedule.depth, self.schedule.columns)
        values = self.type.values().to(wide)[plain.long()][: self.columns]
        by_group = x.to(wide).unflatten(1, (-1, self.group_size))
        sums = torch.einsum("mgk,gkn->mgn", by_group, values.unflatten(0, (-1, self.group_size)))
        y = (sums * scale.to(wide)).sum(1)
        if self.has_offset:
            y = y + by_group.sum(-1) @ more[0].to(wide)
        return y[:, : self.rows].to(x.dtype)

    def program(self) -> Program:
        """The tile program."""
        return _Writer(self).written()


class _Writer:
    """Writes the program of one product."""

    def __init__(self, product: TileProduct) -> None:
        self.product, self.schedule = product, product.schedule
        schedule, kind = product.schedule, product.type
        self.wide = _WIDE[product.dtype]
        tiles, width = product.tiles
        self.groups = product.columns // product.group_size
        self.program = TileProgram(
            "product_kernel", LANES * schedule.warps, (str(width // schedule.warps), f"ceil_div(m, {schedule.rows})")
        )
        self.bytes = schedule.depth * schedule.columns * kind.bits // 8
        padded = (self.groups, width * schedule.columns)
        self.x = self.program.parameter("x", self.wide, ("m", product.columns))
        self.codes = self.program.parameter("codes", dt("u8"), (tiles, width, self.bytes))
        self.scale = self.program.parameter("scale", F32, padded)
        self.offset: Global | None = self.program.parameter("offset", F32, padded) if product.has_offset else None
        self.out = self.program.parameter("out", self.wide, ("m", product.rows))
        # Rows of x are 8 elements longer than they must be, so that the rows of a fragment lie in different banks.
        self.near_x = self.program.shared(self.wide, (schedule.stages, schedule.rows, schedule.depth + 8))
        self.near_codes = self.program.shared(dt("u8"), (schedule.stages, schedule.warps, self.bytes))
        warps, m, n, k = schedule.warps, schedule.rows // 16, schedule.columns // 8, schedule.depth // 16
        self.layout_a = replicated(2, warps) * local(m, k) * FRAGMENT_A
        self.layout_c = spatial(1, warps) * local(m, n) * FRAGMENT_C
        self.layout_codes = spatial(1, warps) * weight_layout(schedule.depth, schedule.columns, kind.bits)
        self.layout_b = spatial(1, warps) * weight_layout(schedule.depth, schedule.columns, 16)
        flat = byte_layout(weight_layout(schedule.depth, schedule.columns, kind.bits), kind.bits)
        self.layout_bytes = spatial(warps, 1) * flat.reshape(1, self.bytes)

    def written(self) -> Program:
        """All of it: copies run ahead, sums of a group are scaled when it ends."""
        schedule, program = self.schedule, self.program
        for stage in range(schedule.stages - 1):
            self._fetch(Expression.of(stage))
        total = program.fill(F32, self.layout_c, 0.0)
        with program.loop(self.groups) as group:
            part = program.fill(F32, self.layout_c, 0.0)
            sums = program.fill(F32, self.layout_a.reduce(1), 0.0) if self.offset is not None else None
            inner = self.product.tiles[0] // self.groups
            with program.loop(inner) as step:
                self._step(group * inner + step, part, sums)
            column = self._first_column()
            by = program.load(self.scale, [group, column], self.layout_c.reduce(0))
            program.elementwise("fma", part, by, total, to=total)
            if self.offset is not None and sums is not None:
                shift = program.load(self.offset, [group, column], self.layout_c.reduce(0))
                program.elementwise("fma", sums, shift, total, to=total)
        rows = Expression.of("block_y") * schedule.rows
        program.store(self.out, program.cast(total, self.wide), [rows, self._first_column()])
        return program.build()

    def _first_column(self) -> Expression:
        return Expression.of("block_x") * (self.schedule.warps * self.schedule.columns)

    def _fetch(self, tile: Expression) -> None:
        """Begin to copy a tile of x and one of codes; tiles beyond the last are zeros."""
        schedule, program = self.schedule, self.program
        stage, rows = tile % schedule.stages, Expression.of("block_y") * schedule.rows
        program.copy_async(
            self.near_x, [stage, 0, 0], self.x, [rows, tile * schedule.depth], (schedule.rows, schedule.depth)
        )
        warp = Expression.of("block_x") * schedule.warps
        program.copy_async(self.near_codes, [stage, 0, 0], self.codes, [tile, warp, 0], (schedule.warps, self.bytes))
        program.copy_commit()

    def _step(self, tile: Expression, part: Register, sums: Register | None) -> None:
        schedule, program, kind = self.schedule, self.program, self.product.type
        program.copy_wait(schedule.stages - 2)
        program.sync()
        self._fetch(tile + (schedule.stages - 1))
        stage = tile % schedule.stages
        a = program.load(self.near_x, [stage, 0, 0], self.layout_a)
        raw = program.load(self.near_codes, [stage, 0, 0], self.layout_bytes)
        codes = program.view(raw, kind, self.layout_codes)
        program.dot(part, a, program.cast(codes, self.wide, self.layout_b))
        if sums is not None:
            program.elementwise("add", sums, program.sum(a, 1), to=sums)


def candidate(product: TileProduct) -> Candidate:
    """The product as CUDA C++ with its launch plan, for 1 to 4096 rows of activations."""
    program = product.program()
    name = str(product.dtype).removeprefix("torch.")
    kinds = {"codes": "uint8", "scale": "float32", "offset": "float32"}
    specs = [_dense(part, kinds.get(part.name, name)) for part in program.parameters]
    *inputs, out = specs
    plan = Plan(
        inputs=tuple(InputSpec(("arg", position), spec) for position, spec in enumerate(inputs)),
        buffers=(out,),
        steps=(EntryCall("product", tuple(spec.name for spec in specs)),),
        results=(out.name,),
        symbols=(SymbolSpec("m", 0, 0, 1, MOST_ROWS),),
    )
    return Candidate("cuda", "kernels/lowbit/tilus", source(program), plan, label=f"tilus/{product.kind}")


def source(*programs: Program) -> str:
    """Kernels with their launch table. An entry is named as its kernel, without ``_kernel``."""
    table = "\n".join(_entry(program) for program in programs)
    kernels = "\n".join(emit(program) for program in programs)
    return f"#include <kw/cuda.h>\n#include <kw/tilus.h>\n\n{table}\n\n{kernels}"


def _entry(program: Program) -> str:
    names = [part.name for part in program.parameters]
    of = {part.shape[0]: part.name for part in reversed(program.parameters)}
    head = f"//@ {program.name.removesuffix('_kernel')}({', '.join(names)})"
    sizes = [f"//@   {size} = {of[size]}.shape[0]" for size in program.sizes]
    launch = f"<<<({', '.join(program.grid)}), {program.threads}>>>({', '.join([*names, *program.sizes])})"
    return "\n".join([head, *sizes, f"//@   {program.name}{launch}"])


def _dense(tensor: Global, dtype: str) -> TensorSpec:
    strides: list[int] = []
    step = 1
    for size in reversed(tensor.shape):
        strides.insert(0, step)
        step *= size if isinstance(size, int) else 1  # only the first size may be a symbol
    return TensorSpec(tensor.name, tensor.shape, dtype, tuple(strides))
