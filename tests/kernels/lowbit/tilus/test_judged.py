"""Tile programs before the one judge: emulated against float64, compiled for a GPU, and never a winner without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernelwright.kernels import SingleProposer
from kernelwright.kernels.lowbit import round_to_nearest
from kernelwright.kernels.lowbit.tilus import TileProduct, candidate
from kernelwright.search import Effort
from kernelwright.search._unmeasured import prove
from kernelwright.targets.cuda import find_cuda_compiler
from kernelwright.task import DynamicSize, from_callable


@pytest.mark.parametrize("kind", ["u4", "e3m2"])
def test_the_judge_accepts_it_and_it_stays_unmeasured(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_cuda_compiler() is None:
        pytest.skip("needs NVRTC or nvcc to compile for a GPU")
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    weight = round_to_nearest(torch.randn(70, 128, generator=torch.Generator().manual_seed(0)), kind, 64)
    product = TileProduct.of(weight, torch.float16)
    example = product.arguments(torch.randn(4, 128).half(), weight)
    task = replace(from_callable(product, example, dynamic=(DynamicSize(0, 0, 1, 64),)), key=repr(product))
    effort = Effort(0, 1, 0.3, 0.7, ())
    outcome = prove(task, lambda: SingleProposer(candidate(product)), effort, 60.0, target="cuda")
    assert outcome.status == "unmeasured", outcome.reason
    assert outcome.winner is None
    assert outcome.unmeasured is not None
    assert outcome.unmeasured.verdict.accepted
    assert outcome.unmeasured.build.spills == 0
