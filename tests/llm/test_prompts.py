"""Prompts hold what they must, and their examples are kernels that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelwright.errors import Unsupported
from kernelwright.judge import interface, judge
from kernelwright.llm import Answer, reaches_out, read_answer
from kernelwright.llm._host import host
from kernelwright.llm._prompts import example
from kernelwright.targets import Candidate, Plan, SymbolSpec, TensorSpec
from kernelwright.task import from_source

TASK = """
from torch import nn
import torch

class Model(nn.Module):
    def forward(self, x):
        return x / (1 + x.abs().mean(-1, keepdim=True))

def get_inputs():
    return [torch.randn(96, 250)]

def get_init_inputs():
    return []
"""


def test_the_example_is_accepted_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "task.py"
    path.write_text(TASK)
    task = from_source(str(path))
    plan = interface(task)
    form = host("cpu", plan)
    text = read_answer(Answer(f"```cpp\n{example('cpp')}```"), form.entry)
    assert text.features == {"vectorisation", "fusion"}
    assert form.signature.count("96 x 250") == 2
    verdict = judge(task, Candidate("cpu", "llm", form.wrap(text.code), plan, "example"))
    assert verdict.accepted, verdict.reason


@pytest.mark.parametrize("language", ["cpp", "cuda"])
def test_the_examples_keep_their_own_rules(language: str) -> None:
    assert reaches_out(example(language)) == ""


def test_sizes_that_vary_are_arguments() -> None:
    spec = TensorSpec("x0", ("s0", 4), "float32", (4, 1))
    plan = Plan((), (spec,), (), (), symbols=(SymbolSpec("s0", 0, 0, 1, 64),))
    form = host("cpu", plan)
    assert "int64_t s0  // any size from 1 to 64" in form.signature
    assert "->shape[0]);" in form.wrap("void kernel(float*, int64_t) {}")


def test_what_no_prompt_is_written_for_is_refused() -> None:
    with pytest.raises(Unsupported, match="wasm"):
        host("wasm", Plan((), (), (), ()))
    with pytest.raises(Unsupported, match="complex64"):
        host("cpu", Plan((), (TensorSpec("y0", (2,), "complex64", (1,)),), (), ()))
