"""Shrinking: batches yes, reduction lengths never. Limits are given, so that no test asks this machine's speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kernelwright import task
from kernelwright.machine import Peaks
from kernelwright.task import DynamicSize, Task
from kernelwright.task._probe import knobs, probe
from kernelwright.task._scale import Limits, _Shrinker

TEMPLATE = """
import torch
import torch.nn as nn
import torch.nn.functional as F
{constants}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {state}
    def forward(self, *x):
        return {result}
def get_inputs():
    return [{inputs}]
def get_init_inputs():
    return []
"""
PEAKS = Peaks(
    copy=10.0, read=10.0, l1=0.0, l2=0.0, l3=0.0,
    fp32_core=1e10, fp64_core=1e10, bf16_core=1e10, fp32=1e10, fp64=1e10, bf16=1e10, source="given",
)  # fmt: skip
Make = Callable[..., Task]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(constants: str, result: str, inputs: str, state: str = "pass") -> Task:
        path = tmp_path / "mine.py"
        constants = constants.replace(";", "\n")
        path.write_text(TEMPLATE.format(constants=constants, result=result, inputs=inputs, state=state))
        return task.from_source(str(path))

    return make


def limits_for(made: Task, factor: float = 8.0) -> Limits:
    """Limits that the task exceeds ``factor`` times in time."""
    limits, whole = Limits(seconds=1.0, memory=1e15, peaks=PEAKS), probe(made)
    return limits if whole is None else replace(limits, seconds=limits.estimate(whole) / factor)


def shrunk(made: Task, limits: Limits | None = None) -> Task:
    """Shrink (by default to an eighth); what was recorded must be what is drawn, and the reference must take it."""
    small = _Shrinker(made, limits or limits_for(made)).run()
    reference = task.load(small)
    inputs = reference.draw(0, "given")
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    before = probe(made)
    assert before is not None
    wanted = [list(shape) for shape in before.inputs]
    for position, dim, old, new in small.shrunk:
        assert wanted[position][dim] == old > new >= 2
        wanted[position][dim] = new
    assert [list(t.shape) for t in tensors] == wanted
    with torch.no_grad():
        reference.call(*inputs)
    return small


def slots(made: Task) -> set[tuple[int, int]]:
    return {(position, dim) for position, dim, _, _ in made.shrunk}


TWO = "torch.rand({}), torch.rand({})"


@pytest.mark.parametrize(
    ("constants", "result", "inputs", "wanted"),
    [
        ("M=2048;K=512;N=256", "x[0] @ x[1]", TWO.format("M, K", "K, N"), {(0, 0)}),
        ("M=2048;K=512;N=256", "x[0].T @ x[1]", TWO.format("K, M", "K, N"), {(0, 1)}),
        ("N=1024", "x[0] @ x[1]", TWO.format("N, N", "N, N"), {(0, 0)}),
        ("B=256;N=64", "x[0] @ x[1]", TWO.format("B, N, N", "B, N, N"), {(0, 0), (1, 0)}),
        ("B=4096;N=512", "torch.softmax(x[0], 1)", "torch.rand(B, N)", {(0, 0)}),
        ("B=1024;N=2048", "torch.softmax(x[0], 0)", "torch.rand(B, N)", {(0, 1)}),
        ("B=4096;N=512", "torch.cumsum(x[0], 1)", "torch.rand(B, N)", {(0, 0)}),
        ("B=1024;N=2048", "torch.cumsum(x[0], 0)", "torch.rand(B, N)", {(0, 1)}),
        ("B=4096;N=512", "torch.relu(x[0] + x[1])", TWO.format("B, N", "B, N"), {(0, 0), (1, 0)}),
        ("", "torch.relu(x[0] + x[1])", TWO.format("4096, 512", "4096, 512"), {(0, 0), (1, 0)}),
        ("B=4096;N=512", "x[0] * x[1][:, None]", TWO.format("B, N", "B"), {(0, 0), (1, 0)}),
    ],
)
def test_what_shrinks(make: Make, constants: str, result: str, inputs: str, wanted: set[tuple[int, int]]) -> None:
    assert slots(shrunk(make(constants, result, inputs))) == wanted


LOSS = "torch.rand(B, C), torch.randint(0, C, (B,))"


def test_losses(make: Make) -> None:
    per_row = make("B=8192;C=256", 'F.cross_entropy(x[0], x[1], reduction="none")', LOSS)
    assert slots(shrunk(per_row)) == {(0, 0), (1, 0)}
    mean = make("B=8192;C=256", "F.cross_entropy(x[0], x[1])", LOSS)  # the batch is a reduction length here
    assert shrunk(mean).shrunk == ()


@pytest.mark.parametrize(
    "result", ["x[0] / x[0].norm()", "x[0].sum()", "x[0].sort(dim=0).values", "x[0] - x[0].mean(0)"]
)
def test_reduction_lengths_never_shrink(make: Make, result: str) -> None:
    assert (0, 0) not in slots(shrunk(make("B=4096;N=16", result, "torch.rand(B, N)")))


def test_convolution_batch_and_no_other_dimension(make: Make) -> None:
    made = make("batch_size=64", "self.c(x[0])", "torch.rand(batch_size, 8, 64, 64)", "self.c = nn.Conv2d(8, 8, 3)")
    small = shrunk(made)
    assert slots(small) == {(0, 0)}
    assert small.patches == (("batch_size", small.shrunk[0][3]),)
    norm = make("B=64", "self.c(x[0])", "torch.rand(B, 8, 64, 64)", "self.c = nn.BatchNorm2d(8)")
    assert slots(shrunk(norm)) == {(0, 0)}


def test_attention_shrinks_the_batch_wherever_it_stands(make: Make) -> None:
    layer = "self.c = nn.TransformerEncoderLayer(32, 4, 64, batch_first={})"
    first = make("B=64;S=48", "self.c(x[0])", "torch.rand(B, S, 32)", layer.format(True))
    assert slots(shrunk(first)) == {(0, 0)}
    second = make("B=64;S=48", "self.c(x[0])", "torch.rand(S, B, 32)", layer.format(False))
    assert slots(shrunk(second)) == {(0, 1)}


def test_a_size_the_model_was_built_with_follows(make: Make) -> None:
    made = make("B = 4096", "x[0] + self.h", "torch.rand(B, 256)", "self.h = torch.randn(B, 256)")
    small = shrunk(made)
    assert slots(small) == {(0, 0)}
    assert small.patches == (("B", small.shrunk[0][3]),)


def test_narrowing_where_no_constant_decides(make: Make) -> None:
    made = make("def draw():\n    return torch.rand(2 * 2048, 256)", "torch.relu(x[0])", "draw()")
    small = shrunk(made)
    assert slots(small) == {(0, 0)}
    assert small.patches == ()


def test_constructor_that_needs_real_values(make: Make) -> None:
    state = "self.p = [v.item() for v in torch.linspace(0, 1, 3)]; self.c = nn.Linear(128, 128)"
    assert slots(shrunk(make("B=8192", "self.c(x[0]) * self.p[1]", "torch.rand(B, 128)", state))) == {(0, 0)}


def test_pickled_tasks_and_their_boxes() -> None:
    made = task.from_callable(torch.relu, (torch.rand(4096, 256),), dynamic=(DynamicSize(0, 0, 1024, 8192),))
    small = shrunk(made)
    assert slots(small) == {(0, 0)}
    new = small.shrunk[0][3]
    assert small.dynamic[0].lo <= new <= small.dynamic[0].hi < 8192
    assert torch.equal(task.load(small).draw(0, "given")[0], task.load(made).draw(0, "given")[0][:new])


def test_what_fits_stays(make: Make) -> None:
    made = make("B=4", "torch.relu(x[0])", "torch.rand(B, 8)")
    assert shrunk(made, limits_for(made, 1.0)) is made


def test_limits_are_kept_without_overshooting(make: Make) -> None:
    made = make("B=4096;N=512", "torch.relu(x[0])", "torch.rand(B, N)")
    small = probe(shrunk(made))
    assert small is not None
    assert 0.25 < limits_for(made).excess(small) <= 1


def test_memory_is_a_limit_too(make: Make) -> None:
    made = make("B=4096;N=512", "torch.relu(x[0])", "torch.rand(B, N)")
    small = shrunk(made, Limits(seconds=1e9, memory=4e6, peaks=PEAKS))
    assert small.shrunk == ((0, 0, 4096, 512),)  # 512 rows of 512 floats, in and out: 2 MiB


def test_official_sizes_are_never_allocated(make: Make) -> None:
    made = make("B=2**22", "torch.relu(x[0])", "torch.rand(B, 2**16)")  # a tebibyte
    assert slots(shrunk(made, Limits(seconds=1.0, memory=64e6, peaks=PEAKS))) == {(0, 0)}


def test_sources_that_cannot_be_analysed_stay(make: Make) -> None:
    made = make("B=4096", "x[0][x[0] > x[0].mean().item()]", "torch.rand(B, 512)")
    assert _Shrinker(made, Limits(1e-9, 1.0, PEAKS)).run() is made


def test_footprint_of_what_could_never_be_allocated(make: Make) -> None:
    made = make("B=2**22", "torch.relu(x[0])", "torch.rand(B, 2**16)")
    assert task.footprint(made) == 2 * 4 * 2.0**38
    assert task.footprint(make("", "x[0].nonzero().tolist()", "torch.rand(3)")) is None


def test_knobs() -> None:
    text = "A = B = 8\nC, D = 9, 10\nA2 = A * 2\nE = 'x'\ndef get_inputs():\n    n = 5\n    return [n, 7, A]\n"
    made = Task(name="t", kind="kernelbench", text=text, attribute="Model")
    found = knobs(made)
    assert {k: v for k, v in found.items() if "#" not in k} == {"A": 8, "B": 8, "C": 9, "D": 10, "A2": 16}
    assert sorted(v for k, v in found.items() if "#" in k) == [5, 7, 8]


def test_from_source_with_cpu_scale(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelwright.task._scale.peaks", lambda: PEAKS)
    made = make("B=2**18", "torch.relu(x[0])", "torch.rand(B, 512)")
    small = task.from_source(made.path, scale="cpu")
    assert slots(small) == {(0, 0)}
    assert small.digest != made.digest
