"""``torch.compile`` by device: which graphs get kernels for what, and a training step through interpreted Triton."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import fx, nn

from kernelwright.backend import _find, _serve, read_options
from kernelwright.backend._device import on_cpu, placeless, target_of
from kernelwright.backend._graph import split
from kernelwright.backend._propose import Proposer
from kernelwright.backend._workers import _Bench
from kernelwright.errors import OptionInvalid, Unsupported
from kernelwright.judge import Verdict
from kernelwright.search import EAGER, Outcome
from kernelwright.targets import Candidate
from kernelwright.task import from_callable

from .triton_lab import interpret, needs_triton


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def test_a_graph_is_for_the_device_of_its_tensors():
    x, there = torch.ones(2), torch.ones(2, device="meta")
    assert target_of([x, 3], None) == "cpu"
    assert target_of([], None) == "cpu"
    with pytest.raises(Unsupported, match=r"its tensors are on several devices \(cpu, meta\)"):
        target_of([x, there], None)
    with pytest.raises(Unsupported, match="no kernels are made for that"):
        target_of([there], None)
    with pytest.raises(Unsupported, match="where kernels for the target triton do not run"):
        target_of([x], "triton")


def test_a_target_that_does_not_fit_leaves_the_graph_as_it_is(caplog: pytest.LogCaptureFixture):
    double = torch.compile(lambda x: torch.relu(x) * 2, backend="kernelwright", options={"target": "triton"})
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        assert torch.equal(double(torch.tensor([-1.0, 3.0])), torch.tensor([0.0, 6.0]))
    assert "runs as it is: its tensors are on cpu, where kernels for the target triton do not run." in caplog.text


def test_an_unknown_target_is_one_sentence():
    with pytest.raises(OptionInvalid, match="target is 'webgpu': choose cpu or triton"):
        read_options({"options": {"target": "webgpu"}})
    assert read_options({"options": {"target": "triton"}}).target == "triton"


def test_the_judges_graph_names_no_device():
    """A graph traced on a GPU runs on the CPU, with the constants and the numbers that it had."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    table = graph.get_attr("table")
    place = {"dtype": torch.float32, "device": torch.device("cuda", 0)}
    ones = graph.call_function(torch.ops.aten.full.default, ([3], 2.0), place)
    total = graph.call_function(torch.ops.aten.add.Tensor, (x, ones))
    graph.output((graph.call_function(torch.ops.aten.mul.Tensor, (total, table)),))
    module = fx.GraphModule({"table": torch.arange(3.0)}, graph)
    moved = placeless(module)
    (found,) = moved(torch.ones(3))
    assert torch.equal(found, torch.tensor([0.0, 3.0, 6.0]))
    assert "cuda" not in moved.code
    assert "cuda" in module.code  # the user's own graph stays what it is


def test_a_graph_on_the_cpu_is_judged_as_it_stands():
    x = torch.randn(4)
    core = split(fx.symbolic_trace(lambda x: (torch.ops.aten.relu.default(x),)), [x])
    same, inputs = on_cpu(core, [x])
    assert same is core
    assert inputs[0] is x


def test_judging_processes_are_kept_for_graphs_of_one_device():
    bench, task = _Bench(), from_callable(torch.relu, (torch.ones(2),))
    first = bench.take(task, "cpu")
    bench.put(first)
    assert bench.take(task, "cpu") is first
    bench.put(first)
    assert bench.take(task, "cuda").device == "cuda"  # no process is started before it is used


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(nn.functional.gelu(self.norm(self.first(x))))


@needs_triton
def test_a_training_step_through_triton_kernels(monkeypatch: pytest.MonkeyPatch):
    """Forward and backward graphs become Triton kernels; they are interpreted, and neither judged nor timed."""
    targets: list[str] = []

    def first(core: Any, inputs: Any, name: str, **how: Any) -> Outcome:
        candidate = next(iter(Proposer(core, inputs, name, "triton").propose(1)), EAGER)
        targets.append(candidate.target)
        task = _find.task_of(core, inputs, name, how["backward"])
        return Outcome(task, "won", candidate, Verdict("accepted"), None, (), 0.0, "", False, None)

    def load(candidate: Candidate, graph: Any, state: Mapping[str, torch.Tensor]) -> Any:
        return lambda *args: interpret(candidate, *(a.detach() for a in args))

    monkeypatch.setattr(_serve, "find", first)
    monkeypatch.setattr(_serve, "load", load)
    model, x = Model(), torch.randn(5, 6)
    twin = copy.deepcopy(model)
    run = torch.compile(model, backend="kernelwright")
    for network in (run, twin):
        network(x).square().mean().backward()
    assert targets == ["triton", "triton"]
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-5)
