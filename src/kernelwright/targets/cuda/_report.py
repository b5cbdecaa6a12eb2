"""What the real compiler makes of a CUDA candidate: registers, spills and shared memory, read off the machine code."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from ...errors import BuildFailed, CacheUnusable
from ...machine import H200, Gpu
from ..plan import Candidate, Plan, SizeText, TensorSpec
from ..triton import BuildReport, KernelBuild, blocks_per_sm, occupancy
from ._build import build_cuda, known_compiler
from ._launches import Call
from ._module import entries

_REGISTERS, _FRAME = 0x2F, 0x11  # attributes of a kernel: (its symbol, a number)
_HARDWARE = 1 << 10  # bytes of shared memory that machine code for 9.0 and later counts in, though they are not its own
_PAIRED = 0x04  # the form of an attribute that has a size and a body


def reports(candidates: Sequence[Candidate], *, timeout: float = 120.0) -> list[BuildReport]:
    """Compile each ahead of time to sm_90; a fault is in its report. Raises ``CudaMissing``."""
    known_compiler()
    found = []
    for candidate in candidates:
        try:
            found.append(report(candidate, timeout=timeout))
        except BuildFailed as error:
            found.append(BuildReport(H200.architecture, (), 0.0, str(error)))
    return found


def report(candidate: Candidate, gpu: Gpu = H200, *, timeout: float = 120.0) -> BuildReport:
    """Compile a candidate ahead of time and tell what each launch of one call uses; no GPU is needed.

    Raises ``CudaMissing``, ``CacheUnusable``, and ``BuildFailed`` with what the compiler says.
    """
    assert candidate.plan is not None
    if not candidate.source:  # every step is an ATen call
        return BuildReport(gpu.architecture, (), 0.0)
    built = build_cuda(candidate.source, gpu.architecture, timeout=timeout)
    used = resources(built.library)
    kernels = tuple(_describe(call, used, gpu) for call in launches(candidate.source, candidate.plan))
    return BuildReport(gpu.architecture, kernels, built.seconds)


def launches(source: str, plan: Plan) -> list[Call]:
    """Every launch of one call at the largest sizes that the plan takes."""
    sizes = {symbol.name: symbol.hi for symbol in plan.symbols}
    specs = {spec.name: spec for spec in (*(i.spec for i in plan.inputs), *plan.buffers)}
    found: list[Call] = []
    table = entries(source, plan, found.append)
    for step in plan.steps:
        if hasattr(step, "entry"):
            table[step.entry](*(_Shape(specs[name], sizes) if name in specs else _Shape() for name in step.args))
    return found


class _Shape:
    """Stands in for a tensor of which only the shape matters."""

    def __init__(self, spec: TensorSpec | None = None, sizes: dict[str, int] | None = None) -> None:
        self.shape = tuple(number(size, sizes or {}) for size in spec.shape) if spec is not None else ()

    def data_ptr(self) -> int:
        return 0

    def element_size(self) -> int:
        return 1


def number(text: SizeText, sizes: dict[str, int]) -> int:
    """A size of a plan, where its symbols have these values."""
    scope = {"__builtins__": {}, "Max": max, "max": max, "min": min}
    return text if isinstance(text, int) else int(eval(text, scope, dict(sizes)))


def resources(cubin: Path) -> dict[str, tuple[int, int, int]]:
    """Registers, bytes of spills for each thread, and bytes of shared memory of every kernel in a cubin."""
    try:
        content = cubin.read_bytes()
    except OSError as error:
        raise CacheUnusable(f"{cubin} cannot be read ({error.strerror}).") from error
    elf = ELFFile(BytesIO(content))
    table, info = elf.get_section_by_name(".symtab"), elf.get_section_by_name(".nv.info")
    if not isinstance(table, SymbolTableSection) or info is None:
        raise BuildFailed("The compiled source holds no kernel.")
    symbols = [symbol.name for symbol in table.iter_symbols()]
    attributes = _attributes(info.data())
    found: dict[str, tuple[int, int, int]] = {}
    for number, name in enumerate(symbols):
        if (_REGISTERS, number) in attributes and elf.get_section_by_name(f".text.{name}") is not None:
            shared = elf.get_section_by_name(f".nv.shared.{name}")
            size = int(shared["sh_size"]) if shared is not None else 0
            found[name] = attributes[_REGISTERS, number], attributes.get((_FRAME, number), 0), size
    return found


def _attributes(data: bytes) -> dict[tuple[int, int], int]:
    """(attribute, symbol) -> value, of those attributes that have one value for each symbol."""
    found: dict[tuple[int, int], int] = {}
    at = 0
    while at + 4 <= len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == _PAIRED:
            if size == 8:
                symbol, value = struct.unpack_from("<II", data, at)
                found[attribute, symbol] = value
            at += size
    return found


def _describe(call: Call, used: dict[str, tuple[int, int, int]], gpu: Gpu) -> KernelBuild:
    if call.kernel not in used:
        raise BuildFailed(f"The compiled source has no kernel {call.kernel}, which its launch table names.")
    registers, spills, shared = used[call.kernel]
    shared -= _HARDWARE if shared and gpu.capability >= 90 else 0
    threads = call.block[0] * call.block[1] * call.block[2]
    fit = (gpu, threads, registers, shared + call.shared)
    return KernelBuild(
        kernel=call.kernel,
        grid=call.grid,
        warps=-(-threads // gpu.warp),
        stages=1,
        registers=registers,
        spills=spills,
        shared=shared + call.shared,
        blocks=blocks_per_sm(*fit),
        occupancy=occupancy(*fit),
    )
