"""A kernel while it is written: its parameters, the dimensions of its tile, and the axes these stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..contraction import product
from ..cpp._indices import static
from ..cpp._normal import Normal, ranges_of
from ..program import Axis, Size
from ._printer import NONE, Counted, Dims, Printer
from ._sizes import size_text, wide
from ._text import Body, wrapped


@dataclass(frozen=True)
class Around:
    """What stands around a kernel: steps of a loop in the launcher, and the tensor that says whether it happens."""

    steps: Mapping[str, int | None]  # the variable of a loop -> how many steps, if known
    when: str = ""


@dataclass(frozen=True)
class KernelText:
    """A printed kernel and the lines that launch it."""

    source: str
    launch: str


class Kernel:
    """``dims`` are the tile's dimensions in order; one that is missing has a single point for each program."""

    def __init__(
        self, normal: Normal, name: str, dims: Sequence[str], around: Around, extra: Sequence[str] = ()
    ) -> None:
        self.normal, self.name, self.dims, self.around = normal, name, tuple(dims), around
        self.body = Body()
        self.helpers: set[str] = set()
        self.constants: dict[str, str] = {}
        self.tensors = (*normal.memory, *extra)
        self.wide = wide(normal.program, normal.memory)
        ranges: dict[str, tuple[int, int]] = {}
        for statement in normal.statements:
            ranges.update(ranges_of(statement))
        axes: dict[str, tuple[str, Dims]] = {name: (name, NONE) for name in around.steps}
        ranges.update({n: (0, count - 1) for n, count in around.steps.items() if count})
        self.printer = Printer(normal.program, self.body, axes, {}, ranges, self.helpers)
        for parameter in (*self.pointers, *self.numbers, "tl", "libdevice", "XBLOCK", "RBLOCK", "YBLOCK"):
            self.body.reserve(parameter)
        if around.when:
            self.body.open(f"if tl.load({around.when}_ptr) == 0:")
            self.body.effect("return")
            self.body.close()

    @property
    def pointers(self) -> list[str]:
        when = (self.around.when,) if self.around.when and self.around.when not in self.tensors else ()
        return [f"{n}_ptr" for n in (*self.tensors, *when)]

    @property
    def numbers(self) -> list[str]:
        """The ints that the kernel takes: symbols and steps."""
        return [*(s.name for s in self.normal.program.symbols), *self.around.steps]

    # ── the tile ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def constant(self, name: str, value: int | str) -> str:
        """A number that is fixed when the kernel is compiled."""
        self.constants[name] = str(value)
        return name

    def lanes(self, dim: str, block: str) -> str:
        """The points of a tile along one dimension, counted from its first."""
        text = f"tl.arange(0, {block})"
        if len(self.dims) > 1:
            text += "[:, None]" if self.dims.index(dim) == 0 else "[None, :]"
        return f"{text}.to(tl.int64)" if self.wide else text

    def shape(self) -> str:
        """The shape of a tile."""
        return "[" + ", ".join(f"{dim.upper()}BLOCK" for dim in self.dims) + "]"

    def program_id(self, axis: int = 0) -> str:
        return f"tl.program_id({axis})" + (".to(tl.int64)" if self.wide else "")

    def bound(self, printer: Printer, dim: str, variable: str, count: Size, block: int | str) -> None:
        """Mask a dimension of which the last tile may reach too far."""
        size = static(count)
        if size is not None and isinstance(block, int) and size % block == 0 and size > 0:
            return
        mask = self.body.define(self.body.name(f"{variable}_mask"), f"{variable} < {size_text(count)}", tight=False)
        printer.masks[dim] = mask

    def decode(self, printer: Printer, variable: str, axes: Sequence[Axis], dims: Dims) -> None:
        """Axes, outermost first, of which a variable counts the points."""
        if len(axes) == 1:
            printer.axes[axes[0].name] = (variable, dims)
            return
        if not axes:
            return
        printer.counted.append(Counted(variable, dims, tuple(axes)))
        for position, axis in enumerate(axes):
            step = size_text(product([a.size for a in axes[position + 1 :]]))
            text = variable if step == "1" else f"{variable} // {step}"
            if position:
                text += f" % {size_text(axis.size)}"
            name = self.body.define(self.body.name(axis.name), text, tight=False)
            printer.axes[axis.name] = (name, dims)

    # ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def finished(self, grid: Sequence[str], warps: int) -> KernelText:
        """The kernel and its launch."""
        constants = [f"{n}: tl.constexpr" for n in self.constants]
        parameters = ", ".join([*self.pointers, *self.numbers, *constants])
        heading = wrapped(f"def {self.name}({parameters}):")
        source = "\n".join(["@triton.jit", *heading, *self.body.finished()])
        values = [f"{n}={v}" for n, v in self.constants.items()]
        tensors = [p.removesuffix("_ptr") for p in self.pointers]
        arguments = ", ".join([*tensors, *self.numbers, *values, f"num_warps={warps}"])
        place = ", ".join(grid) + ("," if len(grid) == 1 else "")
        return KernelText(source, f"{self.name}[({place})]({arguments})")


def tiles(count: Size, block: int) -> str:
    """How many tiles cover so many points."""
    size = static(count)
    if size is not None:
        return str(-(-size // max(1, block)))
    return size_text(count) if block <= 1 else f"triton.cdiv({size_text(count)}, {block})"
