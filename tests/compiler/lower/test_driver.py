"""What has no lowering, or fails in one, stays an ATen call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kernelwright.compiler.capture import capture
from kernelwright.compiler.lower import lower
from kernelwright.compiler.lower._driver import HANDLERS
from kernelwright.compiler.program import Extern

from ..oracle import check
from .values import rand


def test_a_fault_in_one_lowering_leaves_that_operation_to_aten(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(low: object, self: object) -> object:
        raise IndexError("no such axis")

    monkeypatch.setitem(HANDLERS, "erf", fail)
    program = lower(capture(lambda x: torch.erf(x + 1) * 2, (rand(3, 4),)))
    assert [s.op for s in program.statements if isinstance(s, Extern)] == ["aten.erf.default"]


@pytest.mark.parametrize(
    ("fn", "args", "note"),
    [
        (nn.LSTM(3, 1, 2, batch_first=True), (rand(5, 2, 3),), "aten.lstm.input"),
        (nn.GRU(3, 1, bidirectional=True), (rand(5, 2, 3),), "aten.gru.input"),
        (lambda x: (x * 2).sort(1)[0] + 1, (rand(3, 4),), "aten.sort.default"),
    ],
    ids=["lstm", "gru", "sort"],
)
def test_what_has_no_lowering_is_one_named_aten_call(fn: Any, args: tuple[Any, ...], note: str) -> None:
    program = check(fn, *args, extern=True)
    assert program.notes == (note,)


def test_complex_numbers_stay_with_aten_and_what_is_real_around_them_is_lowered() -> None:
    program = check(lambda x: torch.fft.rfft(x * 2).abs() + 1, rand(5, 12), extern=True)
    assert program.notes == ("aten._fft_r2c.default", "aten.abs.default")
