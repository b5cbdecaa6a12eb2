"""How expressions become C++: what is loaded how, what is shared, what is checked."""

from __future__ import annotations

from kernelwright.compiler.cpp.printer import Printer, Temp, store_type, value_type
from kernelwright.compiler.program import Acc, Index, Iota, Value

from .harness import I, at, compile_library, const, load, op, program, tensor

TENSORS = [
    tensor("x", (4, 64)),
    tensor("h", (4, 64), dtype="bfloat16"),
    tensor("b", (4, 64), dtype="bool"),
    tensor("r", (64,), dtype="int64"),
    tensor("y", (4, 64), "output"),
    tensor("z", (4, 64), "output", "float16"),
]
PROGRAM = program(TENSORS, [])
RANGES = {"i": (0, 3), "j": (0, 63)}


def printed(expr: object, **options: object) -> str:
    printer = Printer(PROGRAM, **{"lane": "j", "ranges": RANGES, **options})  # type: ignore[arg-type]
    printer.value(expr)  # type: ignore[arg-type]
    return "\n".join(printer.lines)


def test_types() -> None:
    assert store_type("bfloat16") == "kw::bf16"
    assert value_type("bfloat16", vector=True) == "kw::vf"
    assert value_type("bool", vector=True) == "kw::vi"
    assert value_type("bool", vector=False) == "bool"
    assert value_type("uint8", vector=False) == "int32_t"


def test_the_stride_of_the_lanes_decides_the_load() -> None:
    assert "kw::load(x + i * 64 + j, kw::W)" in printed(load("x", "i", "j"))
    assert "kw::load(x + i * 64 + j, n)" in printed(load("x", "i", "j"), count="n")
    assert "kw::splat<kw::vf>" in printed(load("x", "i", Index.const(3)))
    assert "kw::gather(x + i + j * 64, 64, kw::W)" in printed(load("x", "j", "i"))
    assert "kw::get(x + i * 64 + j)" in printed(load("x", "i", "j"), lane=None)
    gathered = load("x", "i", Index.of(Value(load("r", "j", dtype="int64"))))
    assert "kw::lanes<kw::vf>(j, kw::W, [&](const int64_t j)" in printed(gathered)


def test_bounds_are_checked_only_where_they_can_be_left() -> None:
    assert "inside" not in printed(load("x", "i", "j", fill=0.0))
    assert "kw::load_mask" in printed(load("x", "i", I("j") + 1, fill=0.0))
    assert "kw::select" not in printed(load("x", "i", I("j") + 1, fill=0.0))
    assert "kw::select" in printed(load("x", "i", I("j") + 1, fill=-1.0))
    assert "uint64_t(i + 1) < uint64_t(4) ?" in printed(load("x", I("i") + 1, Index.const(0), fill=0.0))
    assert "inside" in printed(load("x", "i", "j", fill=0.0), ranges={})


def test_equal_values_are_computed_once() -> None:
    twice = op("add", op("exp", load("x", "i", "j")), op("exp", load("x", "i", "j")))
    text = printed(twice)
    assert text.count("kw::exp") == 1
    assert text.count("kw::load") == 1


def test_values_that_all_lanes_share_stay_scalar() -> None:
    text = printed(op("mul", op("exp", load("x", "i", Index.const(0))), load("x", "i", "j")))
    assert "const float v1 = kw::exp(v0);" in text


def test_a_choice_that_all_lanes_share_reads_one_arm_only() -> None:
    first = op("eq", Iota(I("i"), "int64"), const(0, "int64"), dtype="bool")
    text = printed(op("where", first, load("x", "i", "j"), load("y", "i", "j")))
    assert "? kw::load(x + i * 64 + j, kw::W) : kw::load(y + i * 64 + j, kw::W)" in text
    assert "? kw::load(h + i * 64 + j, kw::W) : v" in printed(op("where", first, load("h", "i", "j"), const(0.0)))
    by_lane = op("eq", Iota(I("j"), "int64"), const(0, "int64"), dtype="bool")
    assert "kw::select" in printed(op("where", by_lane, load("x", "i", "j"), const(0.0)))


def test_a_stored_value_is_not_loaded_again_and_rounds_like_memory() -> None:
    printer = Printer(PROGRAM, lane="j", ranges=RANGES)
    value = printer.value(load("x", "i", "j"))
    printer.store(at("z", "i", "j"), value, "float32")
    printer.value(load("z", "i", "j"))
    text = "\n".join(printer.lines)
    assert "kw::load(z" not in text
    assert "kw::round_to_float16(v0)" in text


def test_epilogues_see_the_accumulator_and_known_scalars() -> None:
    printer = Printer(PROGRAM, lane="j", acc="sum", known={"r": Temp("count", "int64", False)})
    count = op("cast", load("r", Index.const(0), dtype="int64"))
    printer.store(at("y", "i", "j"), printer.value(op("div", Acc("float32"), count)), "float32")
    assert any("sum / " in line for line in printer.lines)
    assert any("kw::to<float>(count)" in line for line in printer.lines)


def test_everything_printed_compiles() -> None:
    exprs = [
        op("where", load("b", "i", "j", dtype="bool"), load("h", "i", "j"), const(float("-inf"))),
        op("cast", op("mod", Iota(I("j") * 3, "int64"), const(7, "int64"), dtype="int64")),
        op("add", load("x", "j", I("i") - 1, fill=float("nan")), load("h", "i", I("j") * 2, fill=1.0)),
        op("cast", op("bitxor", Iota(I("j"), "int32"), const(5, "int32"), dtype="int32")),
        op("cast", op("and", op("isnan", load("x", "i", "j"), dtype="bool"), const(True, "bool"), dtype="bool")),
        op("cast", op("sqrt", op("cast", load("x", "i", "j"), dtype="float64"), dtype="float64")),
        op("pow", load("x", "i", "j"), const(0.3)),
    ]
    body = []
    for lane, count in (("j", "n"), ("j", None), ("i", None), (None, None)):
        for expr in exprs:
            printer = Printer(PROGRAM, lane=lane, count=count, ranges=RANGES)
            printer.store(at("z", "i", "j"), printer.value(expr), "float32")
            body.append("{\n" + "\n".join(printer.lines) + "\n}")
    parameters = ", ".join(f"{store_type(t.dtype)}* KW_RESTRICT {t.name}" for t in TENSORS)
    source = f'#include <kw/math.h>\nextern "C" void all({parameters}, int64_t i, int64_t j, int n) {{\n'
    compile_library(source + "\n".join(body) + "\n}")
