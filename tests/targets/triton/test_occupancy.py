"""The filter of tiles gives the counts of the paper it comes from, and occupancy those of the vendor's calculator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernelwright.machine import H200
from kernelwright.targets.triton import blocks_per_sm, occupancy, register_bound, simt_tiles, suits

# What nn-JIT.web takes for a typical NVIDIA GPU.
TYPICAL = replace(H200, shared_sm=128 << 10, shared_block=128 << 10, threads_sm=1536, blocks_sm=16)


def test_the_space_and_what_the_filter_leaves_have_the_papers_sizes():
    space = list(simt_tiles())
    kept = [tile for tile in space if suits(TYPICAL, tile)]
    assert (len(space), len(kept)) == (6776, 43)
    assert {(tile.mr, tile.nr) for tile in kept} == {(8, 8)}


def test_more_shared_memory_admits_no_fewer_tiles():
    kept = {tile for tile in simt_tiles() if suits(TYPICAL, tile)}
    assert kept <= {tile for tile in simt_tiles() if suits(replace(TYPICAL, **_MORE_SHARED), tile)}


_MORE_SHARED = {"shared_sm": H200.shared_sm, "shared_block": H200.shared_block}


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "blocks"),
    [
        (128, 32, 0, 16),  # threads run out
        (128, 128, 0, 4),  # registers do
        (128, 129, 0, 3),  # 129 registers are handed out as 136
        (256, 255, 0, 1),
        (128, 32, 100 << 10, 2),  # shared memory does, with 1 KiB for each block itself
        (128, 32, 113 << 10, 2),
        (128, 32, 114 << 10, 1),
        (32, 16, 0, 32),  # slots for blocks do
        (1024, 64, 0, 1),
        (1024, 65, 0, 0),  # no block fits
        (128, 256, 0, 0),
        (128, 32, 228 << 10, 0),
    ],
)
def test_resident_blocks_on_the_h200(threads: int, registers: int, shared: int, blocks: int):
    assert blocks_per_sm(H200, threads, registers, shared) == blocks
    assert occupancy(H200, threads, registers, shared) == blocks * threads / 2048


def test_what_leaves_registers_unused_is_not_register_bound():
    assert register_bound(H200, 256, 128, 64 << 10)
    assert not register_bound(H200, 256, 16, 64 << 10)  # three blocks by memory, sixteen by registers
    assert not register_bound(H200, 1024, 128, 0)  # more than a block may have
