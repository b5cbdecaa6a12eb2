"""Callables handed over in Python: they travel to another process with their state and their inputs."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from kernelwright import task
from kernelwright.errors import InputsInvalid, SourceInvalid

ELSEWHERE = """
import pickle, sys, torch
from kernelwright import task
with open(sys.argv[1], "rb") as file:
    reference = task.load(pickle.load(file))
with torch.no_grad():
    torch.save([reference.call(*reference.draw(0, "given")), reference.draw(1, "normal")], sys.argv[2])
"""


def test_round_trip_through_another_process(tmp_path: Path) -> None:
    scale = torch.tensor(3.0)
    layer = nn.Linear(4, 2)

    def function(x: torch.Tensor) -> torch.Tensor:  # local, with a closure: plain pickle cannot carry it
        return layer(x) * scale

    x = torch.randn(5, 4)
    made = task.from_callable(function, (x,), name="closure")
    (tmp_path / "task").write_bytes(pickle.dumps(made))
    (tmp_path / "run.py").write_text(ELSEWHERE)
    subprocess.run([sys.executable, tmp_path / "run.py", tmp_path / "task", tmp_path / "out"], check=True, timeout=300)
    output, normal = torch.load(tmp_path / "out")
    with torch.no_grad():
        assert torch.equal(output, function(x))
    assert torch.equal(normal[0], task.load(made).draw(1, "normal")[0])


def test_module_state_travels_and_mode_stays() -> None:
    module = nn.BatchNorm1d(3)
    module(torch.randn(8, 3) + 5)
    module.eval()
    reference = task.load(task.from_callable(module, (torch.randn(8, 3),)))
    assert not reference.call.training
    assert torch.equal(reference.state["running_mean"], module.running_mean)


def test_seed_0_is_the_example_and_cannot_be_spoilt() -> None:
    x = torch.randn(4, 6).t()[::2]
    made = task.from_callable(
        torch.relu,
        [
            x,
        ],
    )
    reference = task.load(made)
    (first,) = reference.draw(0, "given")
    assert torch.equal(first, x)
    assert first.stride() == x.stride()
    first.zero_()
    assert torch.equal(reference.draw(0, "given")[0], x)


def test_other_seeds_are_of_the_same_kind() -> None:
    torch.manual_seed(0)
    inputs = (
        torch.rand(64, 64),
        torch.randn(64, 64) * 7 - 2,
        torch.full((9,), 0.25),
        torch.randint(3, 11, (200,)),
        torch.tensor([0, 3, 3, 8]),
        torch.eye(4)[torch.randint(0, 4, (50,))],
        torch.randn(6, 6).tril(),
        torch.rand(5, 1).expand(5, 7),
        "keep",
    )
    draw = task.load(task.from_callable(lambda *a: a[0], inputs)).draw
    unit, wide, constant, integers, offsets, hot, lower, expanded, text = draw(1, "given")
    assert not torch.equal(unit, inputs[0])
    assert unit.min() >= 0
    assert unit.max() <= 1
    assert abs(unit.mean() - 0.5) < 0.05
    assert wide.min() < 0
    assert abs(wide.mean() + 2) < 0.5
    assert abs(wide.std() - 7) < 0.7
    assert torch.equal(constant, inputs[2])
    assert torch.equal(integers.sort().values, inputs[3].sort().values)
    assert not torch.equal(integers, inputs[3])
    assert torch.equal(offsets, inputs[4])
    assert torch.equal(hot.sum(-1), torch.ones(50))
    assert not torch.equal(hot, inputs[5])
    assert not lower.triu(1).any()
    assert lower.tril().abs().sum() > 0
    assert expanded.stride() == inputs[7].stride()
    assert not torch.equal(expanded, inputs[7])
    assert text == "keep"


def test_mixed_dtypes_are_kept_unless_another_is_asked_for() -> None:
    inputs = (torch.randn(4, dtype=torch.bfloat16), torch.randn(4))
    made = task.from_callable(torch.add, inputs)
    assert made.dtype == "bfloat16"
    assert [t.dtype for t in task.load(made).draw(0, "given")] == [torch.bfloat16, torch.float32]
    cast = task.load(task.with_dtype(made, "float64")).draw(2, "heavy")
    assert [t.dtype for t in cast] == [torch.float64, torch.float64]


def test_faults() -> None:
    with pytest.raises(SourceInvalid, match="A str is not callable"):
        task.from_callable("relu", (torch.ones(1),))  # type: ignore[arg-type]
    with pytest.raises(InputsInvalid, match="gives 2 arguments, but too many"):
        task.from_callable(lambda x: x, (torch.ones(1), torch.ones(1)), name="f")
    with pytest.raises(InputsInvalid, match="is a dict; it must be a list or tuple"):
        task.from_callable(lambda x: x, {"x": torch.ones(1)})
    lock = threading.Lock()
    with pytest.raises(SourceInvalid, match="f cannot be handed to another process: TypeError"):
        task.from_callable(lambda x: (x, lock), (torch.ones(1),), name="f")
