"""What is written down of the functions of ``kw/*.h`` is what they do: run on memory whose neighbours are watched."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelwright.compiler.proof import _products  # noqa: F401
from kernelwright.compiler.proof._library import SUMMARIES, Call, library
from kernelwright.compiler.proof._numbers import Condition, Number, Variable, number, variables
from kernelwright.compiler.proof._reader import Reader
from kernelwright.compiler.proof._solver import Solver
from kernelwright.compiler.proof._syntax import parse
from kernelwright.compiler.proof._values import (
    OPAQUE,
    Access,
    Axes,
    Buffer,
    Filled,
    Mask,
    Pointer,
    Template,
    Truth,
    Vector,
)
from kernelwright.targets.cpu import build

HEADERS = ("vec.h", "gemm.h", "matvec.h", "window.h")


@dataclass
class Case:
    """A call as the summary sees it, and the C++ that makes it of ``p`` (pointers) and ``i`` (integers)."""

    name: str
    body: str
    call: str
    arguments: Sequence[Any]
    buffers: Sequence[Buffer]
    templates: Sequence[Any] = ()
    integers: Sequence[int] = ()
    method: Axes | None = None
    values: dict[str, list[int]] = field(default_factory=dict)
    certain: bool = True  # every element that may be written is


def memory(name: str, width: int = 4) -> Pointer:
    return Pointer(Buffer(name, None, width, "output"), number(0), width, number(0))


def numbers(*values: int) -> list[Number]:
    return [number(v) for v in values]


def lane_cases() -> Iterator[Case]:
    types = {"float": 4, "double": 8, "kw::bf16": 2, "int8_t": 1, "int64_t": 8}
    for kind, width in types.items():
        p = memory("p", width)
        constant = f"const {kind}* s = (const {kind}*)p[0]; "
        own = f"{kind}* d = ({kind}*)p[0]; kw::vec_t<{kind}> x{{}}; "
        for n in (1, 2, 7, 15, 16):
            given = [p, number(n)]
            yield Case(
                f"load {kind}", constant + "keep(kw::load(s, int(i[0])));", "kw::load", given, [p.buffer], (), [n]
            )
            yield Case(f"reversed {kind}", constant + "keep(kw::load_reversed(s, int(i[0])));", "kw::load_reversed",
                       given, [p.buffer], (), [n])  # fmt: skip
            yield Case(f"store {kind}", own + "kw::store(d, x, int(i[0]));", "kw::store", [p, OPAQUE, number(n)],
                       [p.buffer], (), [n])  # fmt: skip
            if kind not in ("int8_t", "int64_t"):
                yield Case(f"stream {kind}", own + "kw::stream(d, x, int(i[0]));", "kw::stream",
                           [p, OPAQUE, number(n)], [p.buffer], (), [n])  # fmt: skip
            for stride in (0, 1, 2, 3, -1, -5):
                yield Case(f"gather {kind} {stride}", constant + f"keep(kw::gather(s, {stride}, int(i[0])));",
                           "kw::gather", [p, number(stride), number(n)], [p.buffer], (), [n])  # fmt: skip
                if stride:
                    yield Case(f"scatter {kind} {stride}", own + f"kw::scatter(d, x, {stride}, int(i[0]));",
                               "kw::scatter", [p, OPAQUE, number(stride), number(n)], [p.buffer], (), [n])  # fmt: skip
            for low in (0, 3):
                mask, lanes = _window(low, n)
                text = f"kw::inside(kw::iota() + int32_t(-{low}), int32_t({n}))"
                yield Case(f"load_mask {kind}", constant + f"keep(kw::load_mask(s, {text}));", "kw::load_mask",
                           [p, mask], [p.buffer])  # fmt: skip
                yield Case(f"store_mask {kind}", own + f"kw::store_mask(d, x, {text});", "kw::store_mask",
                           [p, OPAQUE, mask], [p.buffer])  # fmt: skip
                for stride in (2, 5):
                    yield Case(f"gather_mask {kind}", constant + f"keep(kw::gather_mask(s, {stride}, {text}));",
                               "kw::gather_mask", [p, number(stride), mask], [p.buffer])  # fmt: skip
                assert lanes
        yield Case(f"load16 {kind}", constant + "keep(kw::load(s));", "kw::load", [p], [p.buffer])
        yield Case(f"store16 {kind}", own + "kw::store(d, x);", "kw::store", [p, OPAQUE], [p.buffer])


def _window(low: int, n: int) -> tuple[Mask, range]:
    """The mask of lanes [low, low + n), as the summaries make it."""
    reader = Reader(parse(""), Solver(float("inf")))
    lanes = library(reader, Call("kw::iota", [], []))
    assert isinstance(lanes, Vector)
    mask = library(reader, Call("kw::inside", [Vector(lanes.number - low), number(n)], []))
    assert isinstance(mask, Mask)
    return mask, range(low, min(16, low + n))


def block_cases() -> Iterator[Case]:
    p, to = memory("p"), memory("to")
    for rows, columns in itertools.product((1, 5, 16), (1, 9, 16)):
        yield Case("transpose", "kw::vf m[16]; kw::transpose(m, (const float*)p[0], 19, int(i[0]), int(i[1])); "
                   "for (int k = 0; k < 16; ++k) keep(m[k]);", "kw::transpose",
                   [memory("m", 64), p, *numbers(19, rows, columns)], [p.buffer], (), [rows, columns])  # fmt: skip
    for times, start, n in itertools.product((2, 3), (0, 1), (1, 6, 16)):
        yield Case("repeat", f"keep(kw::repeat<{times}>((const float*)p[0], int(i[0]), int(i[1])));", "kw::repeat",
                   [p, *numbers(start, n)], [p.buffer], [number(times)], [start, n])  # fmt: skip
        yield Case("repeat inside", f"keep(kw::repeat<{times}>((const float*)p[0], int(i[0]), int(i[1]), 1, 3, 0.0f));",
                   "kw::repeat", [p, *numbers(start, n, 1, 3)], [p.buffer], [number(times)], [start, n])  # fmt: skip
    for sizes, strides, start, n in (((5,), (3,), 1, 4), ((3, 4), (7, 2), 2, 9), ((2, 3, 5), (50, 6, 1), 4, 20)):
        out = memory("out", 8)
        text = f"{{{{{', '.join(map(str, sizes))}}}, {{{', '.join(map(str, strides))}}}}}"
        yield Case("table", f"kw::gemm::Axes<{len(sizes)}> a{text}; a.table(i[0], i[1], (int64_t*)p[0]);", "table",
                   [*numbers(start, n), out], [out.buffer], (), [start, n], Axes(sizes, strides))  # fmt: skip
    yield from _pads(p, to)


def _pads(p: Pointer, to: Pointer) -> Iterator[Case]:
    windows: tuple[tuple[tuple[int, ...], ...], ...] = (
        ((9,), (-2,), (5,)), ((6, 7), (-1, -1), (4, 5)), ((6, 8), (2, -3), (3, 9)),
        ((3, 4, 21), (0, -1, 1), (3, 3, 18)), ((2, 3, 40), (-1, 0, -2), (2, 2, 37)),
    )  # fmt: skip
    for extent, start, size in windows:
        for step in (1, 2):
            strides = [step]
            for extent_inside in size[:0:-1]:
                strides.insert(0, strides[0] * extent_inside + 1)
            rows = 1
            for e in extent[:-1]:
                rows *= e
            arrays = [_known(list(v)) for v in (extent, start, size, strides)]
            text = "".join(f"int64_t {n}[] = {{{', '.join(map(str, v))}}}; "
                           for n, v in zip("eszt", (extent, start, size, strides), strict=True))  # fmt: skip
            yield Case(f"pad {extent}", f"{text}kw::gemm::pad<{len(size)}>((float*)p[0], (const float*)p[1], "
                       f"e, s, z, t, 0.0f, i[0], i[1]);", "kw::gemm::pad", [to, p, *arrays, OPAQUE, *numbers(0, rows)],
                       [to.buffer, p.buffer], [number(len(size))], [0, rows])  # fmt: skip


def _known(values: list[int]) -> Pointer:
    made = Buffer("known", number(len(values)), 8, "own", contents=numbers(*values), fixed=True)
    return Pointer(made, number(0), 8, number(0), True)


def product_cases() -> Iterator[Case]:
    for rows, n, k in itertools.product((1, 2, 4), (1, 5, 8), (1, 16, 37, 64)):
        tile, a, b = memory("tile"), memory("a"), memory("b")
        offsets = [k * 3 * j for j in range(n)]
        at = Buffer("rows", number(n), 8, "own", contents=Filled(Axes((n,), (3 * k,)), number(0), number(n)))
        yield Case(
            f"dot {rows} {n} {k}",
            f"kw::matvec::dot<{rows}>((float*)p[0], 8, (const float*)p[1], {k}, (const float*)p[2], "
            "(const int64_t*)p[3], int(i[0]), i[1]);",
            "kw::matvec::dot",
            [tile, number(8), a, number(k), b, Pointer(at, number(0), 8, number(0), True), *numbers(n, k)],
            [tile.buffer, a.buffer, b.buffer, at], [number(rows)], [n, k], None, {"rows": offsets},
        )  # fmt: skip
    for height, width, down, across, apart, wide, tall, vectors, paired in (
        (3, 3, 1, 1, 1, 1, 7, 2, False), (5, 5, 1, 1, 1, 1, 4, 1, True), (3, 3, 2, 2, 1, 1, 6, 1, False),
        (3, 3, 2, 2, 1, 1, 3, 1, True), (3, 1, 1, 3, 2, 1, 5, 1, False), (7, 7, 1, 1, 1, 1, 4, 2, False),
        (1, 9, 1, 1, 1, 2, 1, 2, False),
    ):  # fmt: skip
        tile, x, w, pitch = memory("tile"), memory("x"), memory("w"), 90
        planes = Buffer("planes", number(2), 8, "own", contents=Filled(Axes((2,), (4000,)), number(0), number(2)))
        shape = [*numbers(height, width, down, across, apart, wide, tall, vectors), Truth() if paired else Truth(((),))]
        text = (
            f"{height}, {width}, {down}, {across}, {apart}, {wide}, {tall}, {vectors}, {'true' if paired else 'false'}"
        )
        yield Case(
            f"window {text}",
            f"kw::window::Window<{text}>::run((float*)p[0], (const float*)p[1], {pitch}, (const float*)p[2], "
            "(const int64_t*)p[3], 2);",
            "kw::window::Window::run",
            [tile, x, number(pitch), w, Pointer(planes, number(0), 8, number(0), True), number(2)],
            [tile.buffer, x.buffer, w.buffer, planes], [Template("kw::window::Window", shape)], (), None,
            {"planes": [0, 4000]},
        )  # fmt: skip


# ── what the summaries say ───────────────────────────────────────────────────────────────────────────────────────


def elements(access: Access) -> set[int]:
    """The elements of an access whose every bound is constant."""
    pointer = access.pointer
    free = variables([pointer.index], [access.condition])
    assert all(v.kind == "loop" for v in free), "a quotient is not counted here"
    found = set()
    for values in itertools.product(*(range(v.low, v.high + 1) for v in free)):
        at = dict(zip(free, values, strict=True))
        if _true(access.condition, at):
            found.add(_value(pointer.index, at))
    return found


def _value(n: Number, at: dict[Variable, int]) -> int:
    return n.constant + sum(c * at[v] for v, c in n.terms.items())


def _true(condition: Condition, at: dict[Variable, int]) -> bool:
    return all(
        any(all(_value(f.left, at) == 0 if f.equal else _value(f.left, at) >= 0 for f in facts) for facts in clause)
        for clause in condition
    )


def predicted(case: Case) -> list[tuple[set[int], set[int]]]:
    """What is read and what is written of each buffer, as the summary says."""
    reader = Reader(parse("void f() { axes.table(start, count, out); }"), Solver(float("inf")))
    if case.method is not None:
        for name, value in zip(("axes", "start", "count", "out"), (case.method, *case.arguments), strict=True):
            reader.declare(name, value)
        reader.statement(reader.functions["f"].child_by_field_name("body"))  # type: ignore[arg-type]
    else:
        library(reader, Call(case.call, case.arguments, case.templates))
    found = []
    for buffer in case.buffers:
        mine = [a for a in reader.accesses if a.pointer.buffer is buffer]
        reads, writes = ([elements(a) for a in mine if a.write is w] for w in (False, True))
        found.append((set().union(*reads), set().union(*writes)))
    return found


def test_functions_touch_what_is_written_down() -> None:
    cases = [*lane_cases(), *block_cases(), *product_cases()]
    bodies = list(dict.fromkeys(case.body for case in cases))
    source = "\n".join(f"#include <kw/{h}>" for h in HEADERS) + _KEEP
    source += "\n".join(
        f'extern "C" __attribute__((visibility("default"))) void run{n}(char** p, const int64_t* i) {{ {b} }}'
        for n, b in enumerate(bodies)
    )
    lines, told = [], []
    for case in cases:
        said = predicted(case)
        told.append(said)
        buffers = []
        for buffer, (reads, writes) in zip(case.buffers, said, strict=True):
            low, high = min(reads | writes, default=0), max(reads | writes, default=-1)
            buffers.append({"low": low, "high": high, "width": buffer.width, "values": case.values.get(buffer.name)})
        line = {"name": case.name, "function": f"run{bodies.index(case.body)}", "buffers": buffers}
        lines.append(json.dumps({**line, "integers": list(case.integers)}))
    script = Path(__file__).with_name("watched.py")
    command = [sys.executable, str(script), str(build(source).library)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    answers = done.stdout.splitlines()
    assert done.returncode == 0, (
        f"{answers[-1] if answers else 'it'} touched more than is written down: {done.stderr[-500:]}"
    )
    for case, said, answer in zip(cases, told, answers[1::2], strict=True):
        written = json.loads(answer)
        assert [set(w) for w in written] == [w for _, w in said], (case.name, case.integers)


_KEEP = """
static volatile char sink;
template <class V> static void keep(const V& v) { asm volatile("" : : "r"(&v) : "memory"); sink = 0; }
"""


def test_products_stay_where_they_are_believed_to_stay() -> None:
    script = Path(__file__).with_name("kernels.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-200:]} {done.stderr[-500:]}"
    answers = done.stdout.splitlines()
    assert len(answers) > 8
    assert all(answer.endswith(": right") for answer in answers), answers


def test_every_summary_of_memory_is_in_these_tests() -> None:
    tested = {case.call for case in (*lane_cases(), *block_cases(), *product_cases())}
    by_kernels = {"kw::gemm::product", "kw::gemm::product_split_k"}  # the test above
    plain = {"kw::get", "kw::get_bool", "kw::put", "kw::lanes", "kw::lanes_mask", "kw::each_lane"}
    touching = {n for n, s in SUMMARIES.items() if "touch" in s.__code__.co_names or "_rows" in s.__code__.co_names}
    same = {n for n in touching if n.replace("_bool", "") in tested}  # the same summary and the same function below
    assert touching - tested - same - by_kernels - plain == set()
