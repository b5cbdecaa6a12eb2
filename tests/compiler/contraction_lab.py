"""Builds contraction programs, compiles them into one library, runs them beside float64 torch.

Until a kernel reaches the module assembler it is only a static function; here it gets a plain C entry and ctypes.
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import sympy
import torch

from kernelwright.compiler.contraction import is_contraction
from kernelwright.compiler.cpp.contract import GemmSchedule, emit_contraction
from kernelwright.compiler.program import (
    Acc,
    Axis,
    Expr,
    Index,
    Load,
    Op,
    Program,
    Reduce,
    Size,
    Store,
    Symbol,
    Tensor,
    contiguous,
)

INCLUDE = Path(__file__).resolve().parents[2] / "src/kernelwright/targets/cpu/include"
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-std=c++20"]
FLAGS += ["-shared", "-fPIC", "-w"]
TORCH = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}

Epilogue = Callable[[dict[str, Tensor]], Expr]


@dataclass(frozen=True)
class Case:
    """A program of one contraction, inputs for it, and what it should give (from float64 inputs)."""

    label: str
    program: Program
    inputs: dict[str, torch.Tensor]
    expected: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    output: torch.Tensor
    symbols: tuple[int, ...] = ()
    schedule: GemmSchedule | None = None

    @property
    def reduce(self) -> Reduce:
        statement = self.program.statements[0]
        assert isinstance(statement, Reduce)
        return statement


@dataclass
class Lab:
    """Cases that share one compilation."""

    folder: Path
    cases: list[Case] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    scratches: list[Size] = field(default_factory=list)

    def add(self, case: Case) -> None:
        assert is_contraction(case.program, case.reduce), case.label
        code = emit_contraction(case.program, case.reduce, f"k{len(self.cases)}", case.schedule)
        arguments = [f"({_pointer(case.program.tensors[n].dtype)})p[{i}]" for i, n in enumerate(code.tensors)]
        arguments += [f"s[{i}]" for i in range(len(code.symbols))] + (["scratch"] if code.scratch != 0 else [])
        head = f'extern "C" void c{len(self.cases)}(void** p, int64_t* s, char* scratch)'
        entry = f"{head} {{ {code.name}({', '.join(arguments)}); }}"
        self.sources += [code.source, entry]
        self.scratches.append(code.scratch)
        self.cases.append(replace(case, inputs={n: case.inputs.get(n, case.output) for n in code.tensors}))

    def build(self, flags: Sequence[str] = ()) -> ctypes.CDLL:
        source = self.folder / "lab.cc"
        source.write_text("\n".join(["#include <kw/math.h>", "#include <kw/gemm.h>", *self.sources]))
        library = self.folder / "lab.so"
        subprocess.run(["g++", *FLAGS, *flags, f"-I{INCLUDE}", str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))

    def guard(self, number: int) -> None:
        """Move every tensor so that it ends where readable memory ends (the next page cannot be touched)."""
        case = self.cases[number]
        moved = {name: _at_the_edge(value) for name, value in case.inputs.items()}
        output = next(moved[n] for n, t in case.inputs.items() if t is case.output)
        self.cases[number] = replace(case, inputs=moved, output=output)

    def run(self, library: ctypes.CDLL, number: int) -> torch.Tensor:
        """Poison the output, run, return it."""
        case = self.cases[number]
        case.output.fill_(float("nan"))
        self.call(library, number)()
        return case.output

    def call(self, library: ctypes.CDLL, number: int) -> Callable[[], None]:
        case = self.cases[number]
        pointers = (ctypes.c_void_p * len(case.inputs))(*(t.data_ptr() for t in case.inputs.values()))
        sizes = (ctypes.c_int64 * max(1, len(case.symbols)))(*case.symbols)
        scratch = torch.full((_value(self.scratches[number], case) // 4 + 32,), float("nan"))
        start = (scratch.data_ptr() + 63) // 64 * 64
        entry = getattr(library, f"c{number}")

        def launch(keep: torch.Tensor = scratch) -> None:
            entry(pointers, sizes, ctypes.c_void_p(start))

        return launch


def _at_the_edge(value: torch.Tensor) -> torch.Tensor:
    page = mmap.PAGESIZE
    size = value.untyped_storage().nbytes()
    pages = -(-size // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(whole.data_ptr() + pages * page), page, 0) == 0
    typed = whole[pages * page - size : pages * page].view(value.dtype)
    return typed.as_strided(value.shape, value.stride()).copy_(value)


def _value(size: Size, case: Case) -> int:
    if isinstance(size, int):
        return size
    names = [sympy.Symbol(s.name, integer=True, positive=True) for s in case.program.symbols]
    return int(size.subs(dict(zip(names, case.symbols, strict=True))))


def _pointer(dtype: str) -> str:
    return {"float32": "float", "float64": "double", "bfloat16": "kw::bf16", "float16": "kw::f16"}[dtype] + "*"


def check(lab: Lab, library: ctypes.CDLL, number: int) -> None:
    """The result equals float64 torch within what the accumulation dtype and the store's rounding allow."""
    case = lab.cases[number]
    got = lab.run(library, number).double()
    expected = case.expected({n: t.double() for n, t in case.inputs.items() if t is not case.output})
    expected = expected.reshape(got.shape)
    steps = 1.0
    for axis in case.reduce.raxes:
        steps *= _value(axis.size, case)
    unit = {"float32": 2.0**-23, "float64": 2.0**-52, "bfloat16": 2.0**-8, "float16": 2.0**-10}[
        str(case.output.dtype).removeprefix("torch.")
    ]
    inner = 2.0**-52 if case.output.dtype == torch.float64 else 2.0**-23
    bound = unit * expected.abs() + inner * (3 * steps + 16)
    wrong = (got - expected).abs() > bound
    wrong |= got.isnan()
    assert not wrong.any(), (
        f"{case.label}: {int(wrong.sum())} of {got.numel()} wrong, worst {float((got - expected).abs().max()):.3g}"
    )


# ── programs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def tensor(name: str, value: torch.Tensor, role: str = "input", shape: tuple[Size, ...] | None = None) -> Tensor:
    strides = tuple(value.stride()) if shape is None else contiguous(shape)
    return Tensor(name, shape or tuple(value.shape), str(value.dtype).removeprefix("torch."), strides, role)


def einsum(
    spec: str,
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    label: str = "",
    out: str = "float32",
    epilogue: Callable[[Acc, dict[str, Axis]], Expr] | None = None,
    extra: dict[str, torch.Tensor] | None = None,
    expected: Callable[[dict[str, torch.Tensor]], torch.Tensor] | None = None,
    output: torch.Tensor | None = None,
    symbols: dict[str, str] | None = None,
    schedule: GemmSchedule | None = None,
) -> Case:
    """A contraction in einsum notation; ``symbols`` maps a letter to the name of a symbolic size."""
    terms, result = spec.split("->")
    left, right = terms.split(",")
    sizes: dict[str, int] = dict(zip(left + right, (*a.shape, *b.shape), strict=True))
    names = symbols or {}
    size = {c: sympy.Symbol(names[c], integer=True, positive=True) if c in names else sizes[c] for c in sizes}
    axes = {c: Axis(f"x{c}", size[c]) for c in sizes}
    wide = "float64" if "float64" in (str(a.dtype)[6:], str(b.dtype)[6:]) else "float32"
    summed = [axes[c] for c in dict.fromkeys(left + right) if c not in result]
    output = torch.empty([sizes[c] for c in result], dtype=TORCH[out]) if output is None else output
    tensors = [_symbolic("a", a, left, size, names), _symbolic("b", b, right, size, names)]
    tensors += [tensor(n, t) for n, t in (extra or {}).items()]
    tensors.append(_symbolic("out", output, result, size, names, "output"))
    value = Op("mul", tuple(Load(n, _axes(s, axes), wide) for n, s in (("a", left), ("b", right))), wide)
    end = epilogue(Acc(wide), axes) if epilogue else Acc(wide)
    statement = Reduce(
        tuple(axes[c] for c in result), tuple(summed), "sum", value, Store("out", _axes(result, axes)), end
    )
    bound = tuple(Symbol(s, *_where(c, left, right), 1, 1 << 20) for c, s in names.items())
    program = Program({t.name: t for t in tensors}, tuple(t.name for t in tensors[:-1]), ("out",), (statement,), bound)
    return Case(
        label or f"{spec} {tuple(a.shape)} {tuple(b.shape)} {a.stride()} {b.stride()}",
        program,
        {"a": a, "b": b, **(extra or {})},
        expected or (lambda t: torch.einsum(spec, t["a"], t["b"])),
        output,
        tuple(sizes[c] for c in names),
        schedule,
    )


def _symbolic(
    name: str, value: torch.Tensor, letters: str, size: dict[str, Size], names: dict[str, str], role: str = "input"
) -> Tensor:
    if not set(letters) & set(names):
        return tensor(name, value, role)
    return tensor(name, value, role, tuple(size[c] for c in letters))


def _where(letter: str, left: str, right: str) -> tuple[str, int]:
    return ("a", left.index(letter)) if letter in left else ("b", right.index(letter))


def _axes(letters: str, axes: dict[str, Axis]) -> tuple[Index, ...]:
    return tuple(Index.axis(axes[c].name) for c in letters)


def convolution(
    x: torch.Tensor,
    w: torch.Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    bias: torch.Tensor | None = None,
    relu: bool = False,
    out: str = "float32",
    channels_last: bool = False,
    label: str = "",
    schedule: GemmSchedule | None = None,
) -> Case:
    """A convolution of 1-3 dimensions as the compiler lowers it (groups as an axis of their own)."""
    dims = x.dim() - 2
    wide = "float64" if x.dtype == torch.float64 else "float32"
    taps = w.shape[2:]
    out_sizes = [(x.shape[2 + d] + 2 * padding - dilation * (taps[d] - 1) - 1) // stride + 1 for d in range(dims)]
    each_in, each_out = w.shape[1], w.shape[0] // groups
    n, g, o = Axis("n", x.shape[0]), Axis("g", groups), Axis("o", each_out)
    c = Axis("c", each_in)
    place = [Axis(f"p{d}", out_sizes[d]) for d in range(dims)]
    tap = [Axis(f"t{d}", taps[d]) for d in range(dims)]
    ax = Index.axis
    position = tuple(ax(f"p{d}") * stride + ax(f"t{d}") * dilation - padding for d in range(dims))
    load_x = Load("x", (ax("n"), ax("g") * each_in + ax("c"), *position), wide, 0 if padding else None)
    load_w = Load("w", (ax("g") * each_out + ax("o"), ax("c"), *(ax(t.name) for t in tap)), wide)
    channel = ax("g") * each_out + ax("o")
    end: Expr = Acc(wide)
    inputs = {"x": x, "w": w}
    if bias is not None:
        end = Op("add", (end, Load("bias", (channel,), wide)), wide)
        inputs["bias"] = bias
    if relu:
        from kernelwright.compiler.program import Const

        end = Op("maximum", (end, Const(0.0, wide)), wide)
    shape = (x.shape[0], w.shape[0], *out_sizes)
    memory = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim()) if channels_last else None
    output = torch.empty(shape, dtype=TORCH[out], memory_format=memory or torch.contiguous_format)
    tensors = {k: tensor(k, v) for k, v in inputs.items()}
    tensors["out"] = tensor("out", output, "output")
    statement = Reduce(
        (n, g, o, *place),
        (c, *tap),
        "sum",
        Op("mul", (load_x, load_w), wide),
        Store("out", (ax("n"), channel, *(ax(p.name) for p in place))),
        end,
    )
    conv = (torch.conv1d, torch.conv2d, torch.conv3d)[dims - 1]

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = conv(t["x"], t["w"], t.get("bias"), stride, padding, dilation, groups)
        return y.relu() if relu else y

    text = f"conv{dims}d x{tuple(x.shape)} w{tuple(w.shape)} s{stride} p{padding} d{dilation} g{groups}"
    text += f" {str(x.dtype).removeprefix('torch.')}{' channels_last' if channels_last else ''}"
    return Case(
        label or text, Program(tensors, tuple(inputs), ("out",), (statement,)), inputs, expected, output, (), schedule
    )


def weight_gradient(x: torch.Tensor, dy: torch.Tensor) -> Case:
    """The weight gradient of a 3 x 3 convolution with padding 1."""
    images, each_in, height, width = x.shape
    ax = Index.axis
    axes = (Axis("o", dy.shape[1]), Axis("c", each_in), Axis("s", 3), Axis("t", 3))
    summed = (Axis("n", images), Axis("p", height), Axis("q", width))
    left = Load("dy", (ax("n"), ax("o"), ax("p"), ax("q")), "float32")
    right = Load("x", (ax("n"), ax("c"), ax("p") + ax("s") - 1, ax("q") + ax("t") - 1), "float32", 0)
    output = torch.empty(dy.shape[1], each_in, 3, 3)
    tensors = {"dy": tensor("dy", dy), "x": tensor("x", x), "out": tensor("out", output, "output")}
    value = Op("mul", (left, right), "float32")
    store = Store("out", tuple(ax(a.name) for a in axes))
    statement = Reduce(axes, summed, "sum", value, store, Acc("float32"))
    return Case(
        f"weight gradient {tuple(x.shape)}",
        Program(tensors, ("dy", "x"), ("out",), (statement,)),
        {"dy": dy, "x": x},
        lambda t: torch.nn.grad.conv2d_weight(t["x"], (dy.shape[1], each_in, 3, 3), t["dy"], padding=1),
        output,
    )
