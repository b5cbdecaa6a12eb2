"""Kernels that repeat are compiled once and called with each one's own tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kernelwright.compiler import emit, prepare
from kernelwright.compiler.cpp._code import KernelCode
from kernelwright.compiler.cpp._share import share
from kernelwright.targets.cpu import Launcher, build


def kernel(name: str, source: str, *tensors: str) -> KernelCode:
    return KernelCode(name, source, tensors, ())


TEXT = "static void k0(const float* t1, float* t2) {\n  for (a3 = 0; a3 < 8; ++a3) t2[a3] = t1_of[a3] * 2.0f;\n}"


def test_names_do_not_tell_kernels_apart() -> None:
    other = TEXT.replace("k0", "k5").replace("t1", "arg9").replace("t2", "out0").replace("a3", "a77")
    found = share([kernel("k0", TEXT, "t1", "t2"), "aten", kernel("k5", other, "arg9", "out0")])
    assert found[0] == kernel("k0", TEXT, "t1", "t2")
    assert found[1] == "aten"
    assert isinstance(found[2], KernelCode)
    assert (found[2].source, found[2].function, found[2].tensors) == ("", "k0", ("arg9", "out0"))


def test_axes_joined_in_one_name_do_not_tell_kernels_apart() -> None:
    texts = [TEXT.replace("a3", f"t1_end_a{k}_a{k + 1}_at") for k in (3, 9)]
    found = share([kernel(f"k{k}", text.replace("k0", f"k{k}"), "t1", "t2") for k, text in enumerate(texts)])
    assert [step.function for step in found if isinstance(step, KernelCode)] == ["", "k0"]


def test_a_number_is_no_name() -> None:
    texts = [TEXT.replace("t1", f"x{k}").replace("2.0f", f"0x{k}p1f") for k in (1, 2)]
    found = share([kernel("k0", text, f"x{k}", "t2") for k, text in zip((1, 2), texts, strict=True)])
    assert [step.function for step in found if isinstance(step, KernelCode)] == ["", ""]


@pytest.mark.parametrize(
    ("old", "new"), [("2.0f", "3.0f"), ("< 8", "< 9"), ("t2[a3] = t1_of", "t1[a3] = t2_of"), ("t1_of", "t1_at")]
)
def test_everything_else_does(old: str, new: str) -> None:
    other = TEXT.replace("k0", "k1").replace(old, new)
    found = share([kernel("k0", TEXT, "t1", "t2"), kernel("k1", other, "t1", "t2")])
    assert [step.function for step in found if isinstance(step, KernelCode)] == ["", ""]


def test_a_deep_network_has_few_functions_and_computes_the_same() -> None:
    torch.manual_seed(0)

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = x + F.softmax(F.gelu(layer(x)), -1)
            return x

    model, x = Deep(), torch.randn(7, 24)
    candidate = emit(prepare(model, (x,)))
    assert candidate.plan is not None
    calls = candidate.source.count("\n  k")
    assert calls >= 10
    assert candidate.source.count("static void k") <= calls // 2
    state = dict(model.named_parameters())
    with torch.no_grad():
        torch.testing.assert_close(Launcher(candidate.plan, build(candidate.source).library, state).call(x), model(x))
