"""Recurrent layers become loops over time that agree with float64 torch, in the interpreter and in C++."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from kernelwright.compiler import Kernel, emit, prepare
from kernelwright.compiler.capture import capture
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.compiler.program import Extern, Recur
from kernelwright.targets import load


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def leaves(value: Any) -> list[torch.Tensor]:
    return [t for v in value for t in leaves(v)] if isinstance(value, tuple | list) else [value]


def doubled(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(doubled(v) for v in value)
    return value.double() if value.is_floating_point() else value


def truth(module: nn.Module, args: tuple[Any, ...]) -> list[torch.Tensor]:
    with torch.no_grad():
        return leaves(copy.deepcopy(module).double()(*doubled(args)))


def compare(ours: list[torch.Tensor], theirs: list[torch.Tensor], unit: float = 2e-6) -> None:
    assert [o.shape for o in ours] == [t.shape for t in theirs]
    for o, t in zip(ours, theirs, strict=True):
        assert torch.equal(o.isnan(), t.isnan())
        assert float((o.double() - t).nan_to_num().abs().max()) <= unit


def recurrences(module: nn.Module, args: tuple[Any, ...]) -> int:
    return sum(isinstance(s, Recur) for s in lower(capture(module, args)).statements)


def interpreted(module: nn.Module, args: tuple[Any, ...]) -> list[torch.Tensor]:
    captured = capture(module, args)
    program = lower(captured)
    assert not any(isinstance(s, Extern) for s in program.statements)
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    given = leaves(args)
    values = {
        name: (given[int(key)] if kind == "arg" else state[str(key)])
        for name, (kind, key) in zip(program.inputs, captured.sources, strict=True)
    }
    found = interpret(program, values, torch.float64)
    return [found[name] for name in program.outputs]


def check(module: nn.Module, *args: Any, unit: float = 2e-6) -> None:
    """One generated loop for each layer and direction, no ATen call, every schedule right."""
    with torch.no_grad():
        prepared = prepare(module, args)
        assert not prepared.program.notes
        loops = [n for n, k in enumerate(prepared.kernels) if isinstance(k, Kernel) and k.recurrence is not None]
        assert loops
        state = dict(module.named_parameters())
        most = max(len(k.schedules) for k in prepared.kernels if isinstance(k, Kernel) and k.recurrence is not None)
        for choice in range(most):
            picked = {n: min(choice, len(prepared.kernels[n].schedules) - 1) for n in loops}  # type: ignore[union-attr]
            got = leaves(load(emit(prepared, picked), module, state)(*args))
            compare(got, truth(module, args), unit)


LAYERS: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.LSTM(5, 17), (draw(7, 3, 5),)),
    (nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True), (draw(3, 4, 5),)),
    (nn.LSTM(5, 8, proj_size=3, bidirectional=True), (draw(4, 3, 5), (draw(2, 3, 3), draw(2, 3, 8)))),
    (nn.GRU(5, 9, bias=False, num_layers=2), (draw(3, 2, 5), draw(2, 2, 9))),
    (nn.GRU(5, 9, batch_first=True), (draw(6, 5, 2).transpose(1, 2),)),
    (nn.GRU(5, 9), (draw(6, 5),)),
    (nn.RNN(3, 4, bidirectional=True), (draw(1, 3, 3),)),
    (nn.RNN(3, 4, nonlinearity="relu"), (draw(6, 1, 3), draw(1, 1, 4))),
]


@pytest.mark.parametrize(("module", "args"), LAYERS, ids=lambda v: repr(v)[:60] if isinstance(v, nn.Module) else "")
def test_layers_lower_to_loops_that_mean_the_same(module: nn.Module, args: tuple[Any, ...]) -> None:
    compare(interpreted(module, args), truth(module, args), 1e-12)


def test_each_layer_and_direction_is_one_loop() -> None:
    assert recurrences(nn.LSTM(5, 6, num_layers=3, bidirectional=True), (draw(4, 2, 5),)) == 6


COMPILED: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.LSTM(12, 20, num_layers=2, bidirectional=True, batch_first=True), (draw(3, 5, 12),)),
    (nn.LSTM(12, 64, bias=False), (draw(1, 100, 12), (draw(1, 100, 64), draw(1, 100, 64)))),
    (nn.LSTM(7, 100, proj_size=33), (draw(5, 17, 7),)),
    (nn.GRU(64, 17), (draw(9, 1, 64), draw(1, 1, 17))),
    (nn.GRU(12, 64, batch_first=True), (draw(12, 3, 64).permute(2, 1, 0),)),
    (nn.RNN(3, 100, bidirectional=True), (draw(17, 3, 3),)),
    (nn.RNN(3, 33, nonlinearity="relu"), (draw(4, 17, 3),)),
]


@pytest.mark.parametrize(("module", "args"), COMPILED, ids=lambda v: repr(v)[:60] if isinstance(v, nn.Module) else "")
def test_layers_compile(module: nn.Module, args: tuple[Any, ...]) -> None:
    check(module, *args)


def test_float64() -> None:
    check(nn.GRU(8, 33).double(), draw(7, 5, 8).double(), unit=1e-13)


def test_bfloat16_keeps_states_in_float32() -> None:
    module = nn.LSTM(8, 32).bfloat16()
    check(module, draw(20, 3, 8).bfloat16(), unit=4e-3)


def test_threads_share_rows_or_columns() -> None:
    """Large enough for two threads: one row splits columns with barriers, many rows split into parts."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check(nn.RNN(4, 800), draw(3, 1, 4), unit=1e-5)
        check(nn.GRU(4, 160), draw(6, 19, 4), unit=1e-5)
    finally:
        torch.set_num_threads(before)


def test_infinite_and_missing_inputs_stay_in_their_row() -> None:
    x = draw(6, 3, 5)
    x[2, 1, 0] = float("nan")
    x[3, 2, 1] = float("inf")
    check(nn.LSTM(5, 17), x)


def test_dropout_between_layers_stays_with_torch() -> None:
    module = nn.LSTM(5, 6, num_layers=2, dropout=0.5)
    assert recurrences(module, (draw(4, 2, 5),)) == 0
    assert recurrences(module.eval(), (draw(4, 2, 5),)) == 2


def test_a_single_hidden_unit_stays_with_torch() -> None:
    assert recurrences(nn.GRU(5, 1), (draw(4, 2, 5),)) == 0
