"""Output memory is used again when nobody can see it any more, and never before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from kernelwright.targets.cpu._memory import Keeper, allocate, maker

SHAPE, STRIDES = (300, 500), (500, 1)
SIZE = 600_000


@pytest.fixture
def keeper() -> Keeper:
    return Keeper(limit=8 * SIZE)


def make(keeper: Keeper) -> torch.Tensor:
    return keeper(SHAPE, STRIDES, torch.float32)


def test_memory_comes_back_when_the_tensor_is_gone(keeper: Keeper) -> None:
    first = make(keeper)
    assert first.shape == SHAPE
    assert first.stride() == STRIDES
    address = first.data_ptr()
    assert make(keeper).data_ptr() != address
    del first
    addresses = {make(keeper).data_ptr() for _ in range(2)}
    assert address in addresses


@pytest.mark.parametrize("hold", [
    lambda t: t[3:7],
    lambda t: t.numpy(),
    lambda t: t.untyped_storage(),
    lambda t: torch.from_dlpack(t),
    lambda t: memoryview(t.numpy()),
    lambda t: (t * torch.ones(1, requires_grad=True)).grad_fn,
], ids=["view", "numpy", "storage", "dlpack", "memoryview", "graph"])  # fmt: skip
def test_whoever_holds_a_part_keeps_the_whole(keeper: Keeper, hold: object) -> None:
    tensor = make(keeper).fill_(7.0)
    held, address = hold(tensor), tensor.data_ptr()  # type: ignore[operator]
    del tensor
    others = [make(keeper).fill_(1.0) for _ in range(3)]
    assert address not in {o.data_ptr() for o in others}
    del others
    assert address not in {make(keeper).data_ptr() for _ in range(3)}
    del held
    assert address in {t.data_ptr() for t in [make(keeper) for _ in range(5)]}


def test_a_tensor_that_was_shared_or_resized_is_its_owners(keeper: Keeper) -> None:
    shared = make(keeper)
    shared.share_memory_()
    view = shared[0]
    place = view.data_ptr()
    resized = make(keeper)
    resized.resize_(10, 500)
    resized.resize_(3000, 500)
    del shared, resized
    fresh = [make(keeper) for _ in range(4)]
    assert place not in {t.data_ptr() for t in fresh}
    assert all(t.untyped_storage().nbytes() == SIZE for t in fresh)


def test_no_more_is_kept_than_the_limit(keeper: Keeper) -> None:
    held = [make(keeper) for _ in range(20)]
    assert len({t.data_ptr() for t in held}) == 20
    assert keeper._bytes <= keeper._limit
    large = keeper((4_000_000,), (1,), torch.float64)
    assert large.numel() == 4_000_000
    assert keeper._bytes <= keeper._limit
    keeper.release()
    assert keeper._bytes == 0
    assert [float(t.fill_(k)[0, 0]) for k, t in enumerate(held)] == list(range(20))  # theirs as before


def test_sizes_empty_strided_and_small(keeper: Keeper) -> None:
    assert keeper((0, 5), (5, 1), torch.float32).shape == (0, 5)
    assert keeper((), (), torch.int64).dim() == 0
    turned = keeper((500, 700), (1, 500), torch.bfloat16)
    assert (turned.stride(), turned.dtype) == ((1, 500), torch.bfloat16)
    turned.fill_(1.0)
    assert float(turned.float().sum()) == 350_000
    assert maker(allocate, (4,), (1,), torch.float32)().shape == (4,)
    assert maker(allocate, SHAPE, STRIDES, torch.float32)().shape == SHAPE


def test_threads_never_share_a_block(keeper: Keeper) -> None:
    def work(number: int) -> bool:
        for step in range(200):
            tensor = make(keeper)
            value = float(number * 1000 + step)
            tensor[0].fill_(value)
            if not np.all(tensor[0].numpy() == value):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
