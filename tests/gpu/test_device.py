"""On a GPU: kernels are launched, judged in device memory, timed by events and graphs, served by device, trained."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import nn

import kernelwright
from kernelwright.compiler import prepare
from kernelwright.compiler.triton import emit_triton
from kernelwright.errors import CudaMissing, OutsideDomain
from kernelwright.judge import Session
from kernelwright.machine import find_device, gpu_peaks
from kernelwright.search import EAGER
from kernelwright.targets import Candidate, load
from kernelwright.task import from_callable
from tests.judge.kernels import COLUMNS, ROWS, make_plan, make_task, reference
from tests.judge.test_triton import SOURCE, WRONG


def candidate(source: str = SOURCE) -> Candidate:
    return Candidate("triton", "test", source, make_plan(), label="test")


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(ROWS, COLUMNS, device="cuda"), torch.randn(COLUMNS, device="cuda")


# ── launch ──


def test_a_triton_kernel_runs_on_the_device():
    x, bias = inputs()
    torch.testing.assert_close(load(candidate(), reference, {})(x, bias), reference(x, bias))


def test_it_refuses_tensors_of_the_cpu():
    with pytest.raises(OutsideDomain, match="is on cpu"):
        load(candidate(), reference, {})(*(t.cpu() for t in inputs()))


def test_what_the_compiler_prints_runs_on_the_device():
    model = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 8))
    x = torch.randn(33, 48)
    made = emit_triton(prepare(model, (x,)))
    model, x = model.cuda(), x.cuda()
    with torch.no_grad():
        found = load(made, model, dict(model.named_parameters()))(x)
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


def test_a_cuda_kernel_runs_on_the_device():
    from kernelwright.search._generate import _proposer

    task = from_callable(lambda x: torch.softmax(x * 2, -1), (torch.randn(64, 512),), name="softmax")
    try:
        made = _proposer(task, "cuda", None).propose(1)[0]
        call = load(made, torch.softmax, {})
    except CudaMissing as missing:
        pytest.skip(str(missing))
    x = torch.randn(64, 512, device="cuda")
    torch.testing.assert_close(call(x), torch.softmax(x * 2, -1))


# ── judge ──


@pytest.fixture(scope="module")
def session() -> Any:
    with Session(make_task(), device="cuda", time_limit=60.0) as session:
        yield session


def test_the_judge_accepts_what_is_right_on_the_device(session: Session):
    verdict = session.verify(candidate())
    assert verdict.accepted, verdict.reason


@pytest.mark.parametrize("category", ["value", "nan", "guard", "input-mutated", "build"])
def test_the_judge_rejects_what_is_wrong_on_the_device(session: Session, category: str):
    assert session.verify(candidate(WRONG[category])).category == category


def test_launch_bound_calls_are_measured_in_graphs(session: Session):
    found = session.measure(candidate(), [EAGER], seconds=0.5)
    assert found.seconds > 0
    assert found.speedup["eager"].median > 0.2
    assert any("CUDA graphs" in note for note in found.notes)


def test_long_calls_are_measured_one_by_one():
    task = from_callable(lambda x: torch.softmax(x, -1), (torch.randn(4096, 8192),), name="softmax")
    made = emit_triton(prepare(torch.nn.Softmax(-1), (torch.randn(4096, 8192),)))
    with Session(task, device="cuda", time_limit=120.0) as session:
        found = session.measure(made, [EAGER], seconds=0.5)
    assert found.cold
    assert not any("CUDA graphs" in note for note in found.notes)
    assert found.roofline is not None
    assert 0.05 < found.roofline <= 1.1


def test_peaks_are_within_what_any_gpu_can_do():
    found, device = gpu_peaks(), find_device()
    assert device is not None
    assert found.name == device.name
    assert 50 < found.copy < 20_000
    assert found.flops("bfloat16") >= found.rates["float64"] / 64
    assert gpu_peaks() == found  # from the cache


# ── serve ──


def test_generate_finds_a_winner_and_dispatches_by_device(caplog: pytest.LogCaptureFixture):
    def chain(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.nn.functional.gelu(x) * 2 + 1, -1)

    kernel = kernelwright.generate(chain, (torch.randn(2048, 4096, device="cuda"),), effort="quick", budget=90.0)
    assert kernel.outcome.status in ("won", "baseline"), kernel.outcome.reason
    assert kernel.outcome.status == "won", kernel.explain()
    assert kernel.outcome.winner is not None
    assert kernel.outcome.winner.target == "triton"
    x = torch.randn(2048, 4096)
    torch.testing.assert_close(kernel(x.cuda()).cpu(), chain(x), rtol=1e-4, atol=1e-5)
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        torch.testing.assert_close(kernel(x), chain(x))
    assert "is on cpu" in caplog.text


def test_a_training_step_of_torch_compile_on_the_device():
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.LayerNorm(512), nn.Linear(512, 64)).cuda()
    twin, x = copy.deepcopy(model), torch.randn(512, 256, device="cuda")
    run = torch.compile(model, backend="kernelwright", options={"effort": "quick", "budget": 60.0})
    for network in (run, twin):
        network(x).square().mean().backward()
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-4)


def test_tensors_on_two_devices_leave_a_graph_as_it_is(caplog: pytest.LogCaptureFixture):
    torch._dynamo.reset()
    run = torch.compile(lambda x, y: x * 2 + y.to(x.device), backend="kernelwright")
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        found = run(torch.ones(8, device="cuda"), torch.ones(8))
    assert torch.equal(found.cpu(), torch.full((8,), 3.0))
    assert "several devices" in caplog.text
