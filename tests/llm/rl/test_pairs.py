"""The data pipeline: modules found, translated by our compiler, verified by running; only what is right is taught."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from kernelwright.compiler import prepare
from kernelwright.compiler.triton import emit_triton
from kernelwright.errors import ModelError, Unsupported
from kernelwright.judge import stand
from kernelwright.llm.rl import (
    Box,
    Collected,
    Outcome,
    Pair,
    RuleReport,
    as_program,
    collect_modules,
    instruction,
    make_pair,
    make_sft_example,
)
from kernelwright.targets import Candidate
from tests.triton_lab import needs_triton

_walled = pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine")


def _translate(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Candidate:
    return emit_triton(prepare(module, inputs))


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box() as made:
        yield made


def test_at_least_fifty_modules_of_torch_run_and_say_what_they_are() -> None:
    found = list(collect_modules())
    assert len(found) >= 50
    assert len({made.name for made in found}) == len(found)
    assert {"Linear", "LayerNorm", "GELU", "Softmax", "Conv2d"} <= {made.name for made in found}
    assert not {"Identity", "Dropout"} & {made.name for made in found}
    for made in found:
        assert f"torch.nn.{made.name}(" in instruction(made)


@needs_triton
@_walled
@pytest.mark.parametrize(
    "made",
    [
        Collected("GELU", nn.GELU(), ((4, 6),)),
        Collected("LayerNorm", nn.LayerNorm(6), ((4, 6),), "6"),
        Collected("Linear", nn.Linear(6, 5), ((4, 6),), "6, 5"),
        Collected("BatchNorm1d", nn.BatchNorm1d(6).eval(), ((4, 6),), "6"),
        Collected("MSELoss", nn.MSELoss(), ((4, 6), (4, 6))),
    ],
    ids=lambda made: made.name,
)
def test_a_module_becomes_a_verified_pair(made: Collected, box: Box) -> None:
    pair = make_pair(made, _translate, box)
    assert isinstance(pair, Pair)
    assert pair.verified, (pair.report, pair.outcome)
    row = make_sft_example(pair)
    assert made.name in row["prompt"]
    assert pair.program in row["completion"]


@needs_triton
@_walled
def test_a_translation_that_is_wrong_is_no_pair_to_learn_from(box: Box) -> None:
    made = Collected("GELU", nn.GELU(), ((4, 6),))

    def wrong(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Candidate:
        right = _translate(module, inputs)
        return replace(right, source=right.source.replace("0.5", "0.6"))

    pair = make_pair(made, wrong, box)
    assert isinstance(pair, Pair)
    assert not pair.verified


def test_only_verified_pairs_become_rows() -> None:
    yes, no = RuleReport(True, ()), RuleReport(False, ("no kernel",))
    for report, right in ((yes, False), (no, True)):
        with pytest.raises(ModelError, match="not verified"):
            make_sft_example(Pair("p", "i", "x = 1\n", report, Outcome(True, right)))


def test_what_has_no_kernel_is_no_program() -> None:
    with pytest.raises(Unsupported, match="there is no kernel in it"):
        as_program(Candidate("eager", "baseline", "", None), ())
