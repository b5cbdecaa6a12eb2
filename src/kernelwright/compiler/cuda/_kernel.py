"""A kernel while it is written: its parameters, its shared memory, and the variables its axes stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..contraction import product
from ..cpp._indices import size_text, static
from ..cpp._normal import Normal
from ..group import root
from ..program import Axis, Size
from ..triton._kernel import Around
from ..triton._sizes import size_text as launch_text
from ..triton._sizes import wide
from ._operators import memory_type
from ._printer import Printer
from ._schedule import ranges
from ._text import PRODUCT, Body, broken

_RESERVED = ("threadIdx", "blockIdx", "blockDim", "gridDim", "row", "mine", "begin", "block", "x", "y", "z")


@dataclass(frozen=True)
class KernelText:
    """A printed kernel, and the line that launches it."""

    source: str
    launch: str
    tensors: tuple[str, ...]


class Kernel:
    """``made`` are tensors of the kernel's own besides those of the part."""

    def __init__(self, part: Normal, name: str, around: Around, made: Sequence[str] = ()) -> None:
        self.part, self.name, self.around = part, name, around
        self.tensors = (*part.memory, *made)
        self.number = "int64_t" if wide(part.program, self.tensors) else "int"
        self.body = Body()
        self.shared: list[str] = []
        axes = {step: step for step in around.steps}
        self.printer = Printer(part.program, self.body, axes, ranges(part, around.steps), self.number)
        for word in (*self.pointers, *self.numbers, *_RESERVED):
            self.body.reserve(word)
        if around.when:
            self.body.effect(f"if (!{around.when}[0]) return;")

    @property
    def pointers(self) -> list[str]:
        when = (self.around.when,) if self.around.when and self.around.when not in self.tensors else ()
        return [*self.tensors, *when]

    @property
    def numbers(self) -> list[str]:
        """The sizes that the kernel takes: symbols and steps."""
        return [*(s.name for s in self.part.program.symbols), *self.around.steps]

    def value_name(self, tensor: str) -> str:
        """What values are called that end in a tensor."""
        name = root(self.part.program, tensor)
        return f"{name}_value" if name in self.pointers else name

    # ── variables ────────────────────────────────────────────────────────────────────────────────────────────────────

    def variable(self, wanted: str, text: str, binds: int) -> str:
        """An index."""
        return self.body.define(wanted, self.number, text, binds=binds)

    def decode(self, printer: Printer, variable: str, axes: Sequence[Axis]) -> None:
        """Axes, outermost first, of which a variable counts the points."""
        if len(axes) == 1:
            printer.axes[axes[0].name] = variable
            return
        for position, axis in enumerate(axes):
            step = size_text(product([a.size for a in axes[position + 1 :]]))
            text = variable if step == "1" else f"{variable} / {step}"
            if position:
                text += f" % {size_text(axis.size)}"
            printer.axes[axis.name] = self.body.define(axis.name, self.number, text, binds=PRODUCT)

    def scratch(self, kind: str, count: int) -> str:
        """Shared memory for so many values of a type; reductions of one type take turns with it."""
        name = f"shared_{kind.replace('kw::', '').replace('<', '_').replace('>', '').lower()}"
        line = f"__shared__ {kind} {name}[{count}];"
        if line not in self.shared:
            self.body.reserve(name)
            self.shared.append(line)
        return name

    # ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def finished(self, comment: Sequence[str], grid: Sequence[str], block: Sequence[int]) -> KernelText:
        """The kernel and its launch."""
        threads = 1
        for size in block:
            threads *= size
        parameters = ", ".join([*map(self._parameter, self.pointers), *(f"{self.number} {n}" for n in self.numbers)])
        head = f'extern "C" __global__ void __launch_bounds__({threads}) {self.name}({parameters}) {{'
        lines = [*(f"// {text}" for text in comment), *broken("", head), *(f"  {s}" for s in self.shared)]
        source = "\n".join([*lines, *self.body.finished(), "}"])
        source = re.sub(r"\}\n *else \{", "} else {", source)
        arguments = ", ".join([*self.pointers, *self.numbers])
        launch = f"{self.name}<<<{_shape(grid)}, {_shape([str(b) for b in block])}>>>({arguments})"
        return KernelText(source, launch, tuple(self.pointers))

    def _parameter(self, name: str) -> str:
        program = self.part.program
        written = {root(program, s.store.tensor) for s in self.part.statements}
        read = {root(program, x.tensor) for s in self.part.statements for x in program.loads(s)}
        kind = memory_type(program.tensors[name].dtype)
        if name in written and name in read:
            return f"{kind}* {name}"  # not restricted: what is read has just been written
        reads_only = name in read or name == self.around.when
        return f"{'const ' if reads_only else ''}{kind}* __restrict__ {name}"


def blocks(count: Size, each: int) -> str:
    """How many blocks of so many points cover all, as a launch table says it."""
    size = static(count)
    if size is not None:
        return str(-(-size // max(1, each)))
    return launch_text(count) if each <= 1 else f"ceil_div({launch_text(count)}, {each})"


def _shape(sizes: Sequence[str]) -> str:
    return sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"


__all__ = ["Around", "Kernel", "KernelText", "blocks"]
