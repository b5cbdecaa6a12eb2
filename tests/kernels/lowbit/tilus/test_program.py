"""Tile programs: what the interpreter makes of each instruction, and which programs it refuses to go on with."""

from __future__ import annotations

import numpy as np
import pytest

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import dt
from kernelwright.kernels.lowbit.tilus import (
    BF16,
    F16,
    F32,
    Expression,
    TileProgram,
    emit,
    interpret,
    local,
    replicated,
    spatial,
    to_bits,
    to_values,
)

ROW = spatial(4) * local(2)


def started() -> TileProgram:
    return TileProgram("t_kernel", 4, ("1", "1"))


def test_tiles_beyond_the_end_are_zeros_and_are_not_written() -> None:
    program = started()
    x, y = program.parameter("x", F32, ("n", 5)), program.parameter("y", F32, ("n", 5))
    layout = spatial(2, 2) * local(2, 2)
    tile = program.load(x, [Expression.of("block_y") * 4, Expression.of("block_x") * 4], layout)
    doubled = program.elementwise("add", tile, tile)
    program.store(y, doubled, [Expression.of("block_y") * 4, Expression.of("block_x") * 4])
    data = np.arange(35, dtype=np.float32).reshape(7, 5)
    out = np.full((7, 5), -1, np.float32)
    interpret(program.build(), {"x": data.view(np.uint32), "y": out.view(np.uint32)}, (2, 2))
    np.testing.assert_array_equal(out, 2 * data)


@pytest.mark.parametrize("kind", ["u3", "i5", "e2m3", "e1m1"])
def test_a_view_reads_bytes_as_numbers_of_few_bits(kind: str) -> None:
    bits = dt(kind).bits
    program = started()
    x, y = program.parameter("x", dt("u8"), (4 * bits,)), program.parameter("y", F16, (32,))
    raw = program.load(x, [0], spatial(4) * local(bits))
    program.store(y, program.cast(program.view(raw, dt(kind), spatial(4) * local(8)), F16), [0])
    stream = np.random.default_rng(0).integers(0, 256, 4 * bits, dtype=np.uint8)
    out = np.zeros(32, np.uint16)
    interpret(program.build(), {"x": stream, "y": out}, (1, 1))
    whole = [int.from_bytes(stream[t * bits : (t + 1) * bits].tobytes(), "little") for t in range(4)]
    codes = [whole[t] >> bits * s & 2**bits - 1 for t in range(4) for s in range(8)]
    np.testing.assert_array_equal(to_values(out, F16), dt(kind).values().numpy()[codes])


def test_copies_arrive_when_they_are_waited_for() -> None:
    def run(pending: int, sync: bool) -> np.ndarray:
        program = started()
        x, y = program.parameter("x", F32, (16,)), program.parameter("y", F32, (8,))
        near = program.shared(F32, (2, 8))
        for stage in range(2):
            program.copy_async(near, [stage, 0], x, [stage * 8], (8,))
            program.copy_commit()
        program.copy_wait(pending)
        if sync:
            program.sync()
        program.store(y, program.load(near, [1, 0], ROW), [0])
        out = np.zeros(8, np.uint32)
        interpret(program.build(), {"x": np.arange(16, dtype=np.uint32), "y": out}, (1, 1))
        return out

    assert run(0, True).tolist() == list(range(8, 16))
    assert (run(1, True) == 2**32 - 1).all()  # NaN: it is still under way
    with pytest.raises(LowBitInvalid, match="threads read what others wrote"):
        run(0, False)


def test_races_end_with_a_sentence() -> None:
    def run(*steps: str) -> None:
        program = started()
        y = program.parameter("y", F32, (8,))
        near = program.shared(F32, (8,))
        tile = program.fill(F32, ROW, 1.0)
        for step in steps:
            if step == "sync":
                program.sync()
            elif step == "write":
                program.store(near, tile, [0])
            else:
                layout = ROW if step == "read" else local(2) * spatial(4)
                program.store(y, program.load(near, [0], layout), [0])
        interpret(program.build(), {"y": np.zeros(8, np.uint32)}, (1, 1))

    run("write", "read", "write", "sync", "other", "sync", "write")
    with pytest.raises(LowBitInvalid, match="read what others wrote"):
        run("write", "other")
    with pytest.raises(LowBitInvalid, match="overwrite what others use"):
        run("write", "sync", "other", "write")


def test_sums_and_broadcasts() -> None:
    program = started()
    layout = spatial(2, 2) * local(2, 3)
    x, y = program.parameter("x", BF16, (4, 6)), program.parameter("y", F32, (4, 6))
    tile = program.load(x, [0, 0], layout)
    wide = program.cast(tile, F32)
    program.store(y, program.elementwise("fma", wide, program.sum(tile, 1), program.sum(tile, 0), to=wide), [0, 0])
    data = np.random.default_rng(1).normal(size=(4, 6))
    out = np.zeros((4, 6), np.float32)
    bits = to_bits(data, BF16)
    interpret(program.build(), {"x": bits, "y": out.view(np.uint32)}, (1, 1))
    used = to_values(bits, BF16)
    np.testing.assert_allclose(out, used * used.sum(1, keepdims=True) + used.sum(0), rtol=1e-6)


def test_products_of_any_layout_are_interpreted() -> None:
    program = started()
    x, y = program.parameter("x", F16, (4, 6)), program.parameter("y", F32, (4, 4))
    a, b = (
        program.load(x, [0, 0], replicated(2, 4) * local(4, 6)),
        program.fill(F16, replicated(2, 4) * local(6, 4), 0.5),
    )
    total = program.fill(F32, spatial(2, 2) * local(2, 2), 3.0)
    program.dot(total, a, b)
    program.store(y, total, [0, 0])
    data = np.random.default_rng(2).normal(size=(4, 6)).astype(np.float16)
    out = np.zeros((4, 4), np.float32)
    interpret(program.build(), {"x": data.view(np.uint16), "y": out.view(np.uint32)}, (1, 1))
    np.testing.assert_allclose(out, 3 + 0.5 * data.astype(np.float64).sum(1, keepdims=True) * np.ones(4), rtol=1e-6)
    with pytest.raises(LowBitInvalid, match="is not made of tiles"):
        emit(program.build())


def test_bf16_is_rounded_to_even() -> None:
    assert to_bits(np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, np.nan, np.inf]), BF16).tolist() == [
        0x3F80, 0x3F80, 0x3F82, 0x7FFF, 0x7F80,
    ]  # fmt: skip


def test_expressions_know_what_divides_them() -> None:
    i, k = Expression.of("i"), Expression.of("k")
    whole = (i * 48 + k * 32 + 16) // 4 % 6
    assert whole.value_in({"i": 1, "k": 2}) == 32 % 6
    assert (i * 48 + k * 32 + 16).divisor == 16
    assert (i * 6 * 4).divisor == 24
    assert (i + 0, i * 1) == (i, i)
    assert ((i * 8) % 12).divisor == 4
    assert whole.cpp == "(((((i * 48) + (k * 32)) + 16) / 4) % 6)"


def test_programs_that_make_no_sense_are_not_written() -> None:
    program = started()
    x = program.parameter("x", F32, ("n", 8))
    tile = program.load(x, [0, 0], spatial(1, 4) * local(1, 2))
    with pytest.raises(LowBitInvalid, match="cannot be viewed as 3 x 16"):
        program.view(tile, F16, spatial(1, 4) * local(1, 3))
    with pytest.raises(LowBitInvalid, match="8 threads has no place in a block of 4"):
        program.load(x, [0, 0], spatial(1, 8))
    with pytest.raises(LowBitInvalid, match="begins at 1 numbers"):
        program.load(x, [0], spatial(1, 4))
    with pytest.raises(LowBitInvalid, match="memory holds whole bytes"):
        program.shared(dt("u4"), (8,))
    with pytest.raises(LowBitInvalid, match="leaves elements in their threads"):
        program.cast(tile, F16, local(1, 2) * spatial(1, 4))
    with pytest.raises(LowBitInvalid, match="f32 is not cast to u4"):
        program.cast(tile, dt("u4"))
    with pytest.raises(LowBitInvalid, match="'div' of 2 tiles is none of add"):
        program.elementwise("div", tile, tile)
    with pytest.raises(LowBitInvalid, match="does not lie as"):
        program.elementwise("add", tile, program.fill(F32, local(1, 2) * spatial(1, 4), 0.0))
    with pytest.raises(LowBitInvalid, match="is no f32"):
        program.dot(tile, tile, tile)
    with pytest.raises(LowBitInvalid, match="cast or view it before"):
        program.store(x, program.cast(tile, F16), [0, 0])
    with pytest.raises(LowBitInvalid, match="only the first size may be a name"):
        program.parameter("z", F32, (4, "n"))
    with pytest.raises(LowBitInvalid, match="x is float64 of shape"):
        interpret(program.build(), {"x": np.zeros((2, 8))}, (1, 1))
    near = program.shared(F32, (4, 4))
    program.load(near, [0, 0], spatial(1, 4) * local(1, 2))
    with pytest.raises(LowBitInvalid, match="ends beyond the end of"):
        interpret(program.build(), {"x": np.zeros((2, 8), np.uint32)}, (1, 1))
