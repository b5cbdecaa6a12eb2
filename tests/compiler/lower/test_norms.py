"""Norms, and the buffers they update."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernelwright.compiler.capture import capture
from kernelwright.compiler.lower import lower

from ..oracle import check
from .values import rand


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.LayerNorm((4, 5)), (3, 4, 5)), (nn.RMSNorm(5, eps=1e-6), (3, 5)), (nn.BatchNorm1d(4), (6, 4)),
        (nn.BatchNorm3d(4).eval(), (2, 4, 3, 3, 3)), (nn.BatchNorm2d(4, track_running_stats=False), (2, 4, 3, 3)),
        (nn.InstanceNorm2d(4, affine=True), (2, 4, 5, 3)), (nn.GroupNorm(2, 4), (2, 4, 5, 3)),
        (nn.LocalResponseNorm(2), (2, 4, 5, 5)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_norms(module: nn.Module, shape: tuple[int, ...]) -> None:
    check(module, rand(*shape))


def test_batch_norm_updates_its_buffers() -> None:
    from kernelwright.compiler.fuse import fuse
    from kernelwright.compiler.interpret import interpret

    from ..oracle import bound, eager

    module, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), rand(3, 3, 6, 6)
    before = {name: value.clone() for name, value in module.named_buffers()}
    captured = capture(module, (x,))
    program = fuse(lower(captured))
    result = interpret(program, bound(captured, program, module, (x,)), torch.float64)
    _, after = eager(module, (x,))
    assert {name for _, name in captured.mutations} == {name for name, _ in module.named_buffers()}
    for output, name in captured.mutations:
        torch.testing.assert_close(result[output], dict(after.named_buffers())[name])
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
