"""Cells unrolled over time become one loop again, and mean what they meant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kernelwright.compiler.capture import capture
from kernelwright.compiler.fuse import fuse
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.compiler.program import Program, Recur, Reduce
from kernelwright.compiler.recurrence import recognise
from kernelwright.compiler.reroll import reroll

from .test_recurrent import check, compare, draw, leaves, truth


class Cell(nn.Module):
    """A cell of torch over time; every state, or the last one alone."""

    def __init__(self, cell: nn.Module, every: bool = True) -> None:
        super().__init__()
        self.cell, self.every = cell, every

    def forward(self, x: torch.Tensor, h: Any) -> Any:
        states = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            states.append(h[0] if isinstance(h, tuple) else h)
        return torch.stack(states, 1) if self.every else h


class Joined(nn.Module):
    """Input and state concatenated, and an output for every step."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5 + 8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[1], 8)
        outputs = []
        for t in range(x.shape[0]):
            h = torch.tanh(self.inner(torch.cat([x[t], h], 1)))
            outputs.append(self.outer(h))
        return torch.stack(outputs)


class ResetFirst(nn.Module):
    """A gate comes between the state and its second product: two stages for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.reset, self.update, self.new = (nn.Linear(5, 8) for _ in range(3))
        self.reset_h, self.update_h, self.new_h = (nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[1], 8)
        for t in range(x.shape[0]):
            z = torch.sigmoid(self.update(x[t]) + self.update_h(h))
            r = torch.sigmoid(self.reset(x[t]) + self.reset_h(h))
            h = (1 - z) * h + z * torch.tanh(self.new(x[t]) + self.new_h(r * h))
        return h


class Stacked(nn.Module):
    """Two layers, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(5, 8), nn.GRUCell(8, 6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = c = x.new_zeros(x.shape[1], 8)
        g = x.new_zeros(x.shape[1], 6)
        for t in range(x.shape[0]):
            h, c = self.first(x[t], (h, c))
            g = self.second(h, g)
        return g, h


class Backwards(nn.Module):
    """From the last step to the first, with a state that is no product's operand."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(5, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = x.new_zeros(x.shape[1], 8)
        total = x.new_zeros(x.shape[1], 8)
        for t in reversed(range(x.shape[0])):
            h = self.cell(x[t], h)
            total = total * 0.5 + h
        return h, total


LOOPS: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (Cell(nn.GRUCell(5, 8)), (draw(3, 9, 5), draw(3, 8))),
    (Cell(nn.LSTMCell(5, 8)), (draw(3, 9, 5), (draw(3, 8), draw(3, 8)))),
    (Cell(nn.RNNCell(5, 8), every=False), (draw(1, 9, 5), draw(1, 8))),
    (Joined(), (draw(9, 3, 5),)),
    (ResetFirst(), (draw(9, 3, 5),)),
    (Stacked(), (draw(9, 3, 5),)),
    (Backwards(), (draw(9, 3, 5),)),
]


def programs(module: nn.Module, args: tuple[Any, ...]) -> tuple[Program, dict[str, torch.Tensor]]:
    captured = capture(module, args)
    program = fuse(lower(captured))
    given, state = leaves(args), dict(module.named_parameters())
    values = {
        name: given[int(key)] if kind == "arg" else state[str(key)]
        for name, (kind, key) in zip(program.inputs, captured.sources, strict=True)
    }
    return program, values


@pytest.mark.parametrize(("module", "args"), LOOPS, ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "")
def test_unrolled_steps_become_one_loop(module: nn.Module, args: tuple[Any, ...]) -> None:
    program, values = programs(module, args)
    rolled = fuse(reroll(program))
    loops = [s for s in rolled.statements if isinstance(s, Recur)]
    assert len(loops) == 1
    assert recognise(rolled, loops[0]) is not None
    found = interpret(rolled, values, torch.float64)
    compare([found[n] for n in rolled.outputs], truth(module, args), 1e-12)


def test_the_number_of_statements_does_not_grow_with_time() -> None:
    counts = {len(reroll(programs(Joined(), (draw(steps, 3, 5),))[0]).statements) for steps in (8, 16)}
    assert len(counts) == 1


def test_layers_with_weights_of_their_own_are_no_loop() -> None:
    module = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(8, 8), nn.Tanh())))
    program, _ = programs(module, (draw(3, 8),))
    assert reroll(program) is program


def test_few_steps_stay_as_they_are() -> None:
    program, _ = programs(Cell(nn.GRUCell(5, 8)), (draw(3, 3, 5), draw(3, 8)))
    assert reroll(program) is program


def test_steps_that_do_not_repeat_exactly_stay_as_they_are() -> None:
    """Every step takes its input from a place that does not grow evenly, squares of the step's number."""

    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(5, 8)

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            for t in range(6):
                h = self.cell(x[t * t], h)
            return h

    program, _ = programs(Uneven(), (draw(30, 3, 5), draw(3, 8)))
    assert not any(isinstance(s, Recur) for s in reroll(program).statements)


def test_inputs_of_all_steps_are_one_product() -> None:
    program, _ = programs(Cell(nn.GRUCell(5, 8)), (draw(3, 9, 5), draw(3, 8)))
    rolled = reroll(program)
    assert sum(isinstance(s, Reduce) for s in rolled.statements) <= 3  # the last step may stand alone


@pytest.mark.parametrize("module", [ResetFirst(), Stacked()], ids=lambda m: type(m).__name__)
def test_loops_of_several_stages_compile(module: nn.Module) -> None:
    check(module, draw(9, 3, 5))
