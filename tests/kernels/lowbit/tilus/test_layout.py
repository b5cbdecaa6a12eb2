"""The algebra of layouts against maps written out element by element."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit.tilus import (
    FRAGMENT_A,
    FRAGMENT_B,
    FRAGMENT_C,
    Digit,
    Layout,
    auto_local_spatial,
    byte_layout,
    check_view,
    column_local,
    column_spatial,
    concat,
    local,
    replicated,
    spatial,
    weight_layout,
)


def table(layout: Layout) -> dict[tuple[int, ...], tuple[int, int]]:
    """The map itself: element -> (first thread, slot)."""
    return {index: layout.thread_slot(index) for index in np.ndindex(*layout.shape)}


def drawn(draw: random.Random, rank: int) -> Layout:
    """A product of a few basic layouts."""
    made = local(*(1,) * rank)
    for _ in range(draw.randint(1, 4)):
        kind = draw.choice((local, spatial, column_local, column_spatial))
        made = made * kind(*(draw.choice((1, 1, 2, 3)) for _ in range(rank)))
    return made


def layouts(shape: tuple[int, int]) -> Iterator[Layout]:
    """Every layout of a small tile without copies: all cuts into digits, all their orders, all splits in two lists."""

    def cuts(size: int) -> list[list[int]]:
        return (
            [[]] if size == 1 else [[n, *rest] for n in range(2, size + 1) if size % n == 0 for rest in cuts(size // n)]
        )

    for cut in itertools.product(*(cuts(size) for size in shape)):
        digits = []
        for axis, sizes in enumerate(cut):
            weight = 1
            for size in reversed(sizes):
                digits.append(Digit(axis, weight, size))
                weight *= size
        for order in itertools.permutations(digits):
            for split in range(len(order) + 1):
                yield Layout(shape, order[:split], order[split:])


SMALL = list(dict.fromkeys(itertools.chain(layouts((2, 4)), layouts((4, 3)), layouts((1, 8)), layouts((6, 2)))))


def test_equal_maps_are_equal_layouts_and_others_are_not() -> None:
    maps = [(layout.shape, layout.threads, tuple(table(layout).items())) for layout in SMALL]
    assert len(SMALL) > 100
    assert len(set(maps)) == len(SMALL)


@pytest.mark.parametrize("layout", SMALL[::3], ids=str)
def test_every_slot_of_every_thread_holds_one_element(layout: Layout) -> None:
    places = table(layout)
    assert sorted(places.values()) == list(itertools.product(range(layout.threads), range(layout.slots)))
    indices = layout.indices()
    assert all(tuple(indices[place]) == index for index, place in places.items())


def test_a_product_is_tiles_of_tiles() -> None:
    layout = local(3, 4) * spatial(2, 3)
    assert layout.shape == (6, 12)
    assert layout.thread_slot((1, 5)) == (5, 1)
    draw = random.Random(0)
    for _ in range(60):
        f, g = drawn(draw, 2), drawn(draw, 2)
        whole = f * g
        for index in np.ndindex(*whole.shape):
            outer = f.thread_slot([i // n for i, n in zip(index, g.shape, strict=True)])
            inner = g.thread_slot([i % n for i, n in zip(index, g.shape, strict=True)])
            want = (outer[0] * g.threads + inner[0], outer[1] * g.slots + inner[1])
            assert whole.thread_slot(index) == want


def test_products_are_associative_and_one_has_no_effect() -> None:
    draw = random.Random(1)
    for _ in range(200):
        a, b, c = (drawn(draw, 2) for _ in range(3))
        assert (a * b) * c == a * (b * c)
        assert a * local(1, 1) == a == spatial(1, 1) * a
    assert local(2, 1) * spatial(2, 1) != spatial(2, 1) * local(2, 1)


def test_quotients_undo_products_from_both_sides() -> None:
    draw = random.Random(2)
    for _ in range(300):
        f, g = drawn(draw, 2), drawn(draw, 2)
        if draw.random() < 0.3:
            f, g = replicated(2, 2) * f, replicated(2, 3) * g
        assert (f * g) / g == f
        assert (f * g).left_divide(f) == g


def test_quotients_exist_only_where_a_product_makes_them() -> None:
    """All pairs of small layouts: a quotient found is right, and none is missed."""
    parts = list(layouts((2, 2)))
    wholes = set(layouts((4, 4)))
    products = {(f * g): (f, g) for f in parts for g in parts}
    for whole in wholes:
        found = set()
        for g in set(parts):
            try:
                f = whole / g
            except LowBitInvalid:
                continue
            assert f * g == whole
            found.add((f, g))
        assert found == {(f, g) for f in set(parts) for g in set(parts) if f * g == whole}
        assert bool(found) == (whole in products)


def test_fragments_are_those_of_the_matrix_units() -> None:
    """m16n8k16 with 16-bit operands, as the PTX manual writes it."""
    for lane in range(32):
        group, member = lane // 4, lane % 4
        for i in range(8):
            row = group + (8 if i % 4 >= 2 else 0)
            column = member * 2 + i % 2 + (8 if i >= 4 else 0)
            assert FRAGMENT_A.thread_slot((row, column)) == (lane, i)
        for i in range(4):
            assert FRAGMENT_B.thread_slot((member * 2 + i % 2 + (8 if i >= 2 else 0), group)) == (lane, i)
            assert FRAGMENT_C.thread_slot((group + (8 if i >= 2 else 0), member * 2 + i % 2)) == (lane, i)


def test_reductions_leave_copies_where_threads_differed() -> None:
    assert FRAGMENT_C.reduce(1) == local(2, 1) * spatial(8, 1) * replicated(2, 4)
    assert FRAGMENT_A.reduce(1) == FRAGMENT_C.reduce(1)
    layout = spatial(2, 3) * local(2, 2)
    both = layout.reduce(0, 1)
    assert (both.shape, both.threads, both.slots, both.replicas) == ((1, 1), 6, 1, 6)
    rows = layout.reduce(1)
    for thread in range(6):
        want = {index[0] for index in layout.indices()[thread].reshape(-1, 2).tolist()}
        assert {index[0] for index in rows.indices()[thread].reshape(-1, 2).tolist()} == want


def test_axes_are_moved_joined_and_reshaped() -> None:
    draw = random.Random(3)
    for _ in range(100):
        a, b = drawn(draw, 2), drawn(draw, 1)
        assert all(a.permute(1, 0).thread_slot((j, i)) == place for (i, j), place in table(a).items())
        joined = concat(a, b)
        assert joined.shape == a.shape + b.shape
        for (i, j), (t, s) in table(a).items():
            for (k,), (t2, s2) in table(b).items():
                assert joined.thread_slot((i, j, k)) == (t * b.threads + t2, s * b.slots + s2)
        flat = a.reshape(a.shape[0] * a.shape[1])
        assert all(flat.thread_slot((i * a.shape[1] + j,)) == place for (i, j), place in table(a).items())
        assert flat.reshape(*a.shape) == a
    with pytest.raises(LowBitInvalid, match="torn"):
        (local(2) * spatial(3)).reshape(3, 2)


@pytest.mark.parametrize(("threads", "shape"), [(32, (16, 16)), (6, (4, 9)), (1, (5,)), (8, (8, 1)), (32, (2, 2, 64))])
def test_a_tile_is_spread_over_threads(threads: int, shape: tuple[int, ...]) -> None:
    layout = auto_local_spatial(threads, *shape)
    assert (layout.shape, layout.threads, layout.replicas) == (shape, threads, 1)
    with pytest.raises(LowBitInvalid, match="cannot be spread over 7 threads"):
        auto_local_spatial(7, *shape)


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_of_any_width_are_whole_bytes_of_a_thread(bits: int) -> None:
    layout = weight_layout(64, 16, bits)
    flat = byte_layout(layout, bits)
    check_view(flat, 8, layout, bits)
    assert flat.threads == 32
    assert flat.slots == 4 * bits
    assert layout.spatial == (local(4, 2) * FRAGMENT_B).spatial
    if 16 % bits == 0 and bits < 16:  # the two codes of a pair lie 16 bits apart
        offsets = {tuple(offset): slot for slot, offset in enumerate(layout.slot_offsets.tolist())}
        assert {offsets[k + 1, n] - offsets[k, n] for k, n in offsets if k % 2 == 0} == {16 // bits}


def test_what_does_not_fit_gets_a_sentence() -> None:
    with pytest.raises(LowBitInvalid, match="layouts of 1 and 2 axes have no product"):
        local(2) * local(2, 2)
    with pytest.raises(LowBitInvalid, match="is not made of tiles of"):
        local(4, 4) / spatial(2, 2)
    with pytest.raises(LowBitInvalid, match=r"shape \(4, 4\) is not made of tiles of shape \(3, 2\)"):
        local(4, 4) / local(3, 2)
    with pytest.raises(LowBitInvalid, match="does not begin with"):
        (local(2, 2) * spatial(2, 2)).left_divide(spatial(2, 2))
    with pytest.raises(LowBitInvalid, match="count to 2, its size is 4"):
        Layout((4,), (Digit(0, 1, 2),), ())
    with pytest.raises(LowBitInvalid, match="every size is at least 1"):
        local(0, 2)
    with pytest.raises(LowBitInvalid, match="no whole bytes"):
        byte_layout(spatial(32) * local(4), 3)
    with pytest.raises(LowBitInvalid, match="8 x 4 bits, which cannot be viewed as 4 x 16"):
        check_view(local(8) * spatial(4), 4, local(4) * spatial(4), 16)
    with pytest.raises(LowBitInvalid, match="32 threads cannot be viewed as one on 4"):
        check_view(spatial(32), 8, spatial(4), 8)
