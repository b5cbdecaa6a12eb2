"""A kernel as one Python file: it computes what the plan does, it is known again, and no plan can put code in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from kernelwright.compiler import capture, emit, prepare_captured
from kernelwright.errors import ExportImpossible
from kernelwright.targets import (
    AtenCall,
    Candidate,
    EntryCall,
    InputSpec,
    Plan,
    Standalone,
    SymbolSpec,
    TensorSpec,
    read_standalone,
    standalone,
)
from kernelwright.targets.cpu import INCLUDE, build, flatten, headers_of, recipe

X = TensorSpec("x", (4, 3), "float32", (3, 1))
PLAN = Plan((InputSpec(("arg", 0), X),), (replace(X, name="y"),), (EntryCall("run0", ("x", "y")),), ("y",))


def made(call: Callable[..., Any], *args: Any, base: str = "", reference: str = "") -> Standalone:
    candidate = emit(prepare_captured(capture(call, args, ())), title="test")
    return standalone(candidate, recipe(candidate.source), base=base, reference=reference)


@pytest.fixture(scope="module")
def relu() -> Standalone:
    return made(torch.relu, torch.randn(4))


def run(file: Standalone) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(file.text(), space)
    return space


REFERENCE = '''
import torch
from torch import nn
class Model(nn.Module):
    """Buffers that move, a layer in a list, an operation that stays ATen's, a table made inside."""
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.layers = nn.ModuleList([nn.Linear(6, 5)])
    def forward(self, x):
        y = self.layers[0](self.norm(x))
        table = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
        best, places = torch.topk(y, 2)
        return best + 1, places, y * table
'''


def test_all_that_a_plan_can_hold() -> None:
    space: dict[str, Any] = {}
    exec(REFERENCE, space)
    torch.manual_seed(0)
    model, x = space["Model"](), torch.randn(20, 6)
    file = made(model, x, base="Model", reference=REFERENCE)
    assert any(isinstance(step, AtenCall) for step in file.plan.steps)
    assert file.plan.mutations
    new = run(file)["ModelNew"]()
    new.load_state_dict(model.state_dict())
    for _ in range(2):
        expected, result = model(x), new(x)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, result, strict=True))
    assert torch.allclose(model.norm.running_mean, new.norm.running_mean, atol=1e-6)
    assert new.norm.num_batches_tracked == 2
    assert read_standalone(file.text()) == file


def test_the_source_needs_no_other_file() -> None:
    file = made(lambda x: torch.softmax(x, -1), torch.randn(4, 7))
    assert "kw/" not in "".join(line for line in file.source.splitlines() if line.startswith("#include"))
    assert build(file.source).library.exists()
    assert torch.allclose(run(file)["ModelNew"]()(torch.zeros(4, 7)), torch.full((4, 7), 1 / 7))


def test_headers_are_written_out_once_and_in_order() -> None:
    source = '#include <kw/math.h>\n#include <kw/vec.h>\n#include <stdint.h>\n#include "other.h"\nint x;\n'
    headers = headers_of(source)
    assert {"math.h", "vec.h", "base.h"} <= headers.keys()
    assert headers["vec.h"] == (INCLUDE / "kw" / "vec.h").read_text()
    flat = flatten(source)
    assert flat.count("typedef float vf ") == 1
    assert "#pragma once" not in flat
    assert flat.endswith('#include <stdint.h>\n#include "other.h"\nint x;\n')
    assert flatten(source, {"math.h": "// mine\n"}).startswith("// mine\n#include <kw/vec.h>\n")


def test_a_function_with_named_arguments() -> None:
    file = replace(made(lambda a, b: a * b + 1, torch.randn(3), torch.randn(3)), arguments=("left", "right"))
    left, right = torch.randn(3), torch.randn(3)
    assert torch.allclose(run(file)["run"](left=left, right=right), left * right + 1)
    assert read_standalone(file.text()) == file


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text.replace("_torch.no_grad()", "_torch.enable_grad()"),
        lambda text: "import os\n" + text,
        lambda text: text.replace("def _many(result):", "def _many(result):\n    print(result)"),
        lambda text: text.replace('"entry": "run0"', '"entry": "run1"'),
    ],
)
def test_any_other_character_makes_it_anybodys(relu: Standalone, change: Callable[[str], str]) -> None:
    text = relu.text()
    assert read_standalone(text) is not None
    assert change(text) != text
    assert read_standalone(change(text)) is None


def test_flags_that_could_run_a_program_are_nobodys(relu: Standalone) -> None:
    assert read_standalone(replace(relu, flags=(*relu.flags, "-fplugin=x.so")).text()) is None


EVIL = "__import__('os').system('true')"


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, buffers=(TensorSpec("y", (EVIL, 3), "float32", (3, 1)),)),
        replace(PLAN, workspace="s0.real", symbols=(SymbolSpec("s0", 0, 0, 1, 4),)),
        replace(PLAN, buffers=(TensorSpec("y", (4, 3), "float32)+exit(", (3, 1)),)),
        replace(PLAN, workspace=f"max({EVIL}, 1)"),
        replace(PLAN, symbols=(SymbolSpec("s0=1;exit()", 0, 0, 1, 4),)),
        replace(PLAN, steps=(EntryCall("run0'); exit('", ("x", "y")),)),
        replace(PLAN, steps=(AtenCall("aten.relu.default(x);exit", ({"tensor": "x"},), (), ("y",)),)),
        replace(PLAN, steps=(AtenCall("aten.relu.default", ({"tensor": "x"},), (("a=1)#", 1),), ("y",)),)),
        replace(PLAN, inputs=(InputSpec(("state", "a; exit()"), X),)),
        replace(PLAN, results=({"value": {"a": 1}},)),
    ],
)  # fmt: skip
def test_no_plan_puts_code_into_a_file(plan: Plan) -> None:
    with pytest.raises((ExportImpossible, SyntaxError)):
        Standalone("int x;", plan, (), base="Model", reference="class Model: pass").text()


def test_names_of_tensors_are_not_the_files_names() -> None:
    """A plan may call its tensors what it likes: the file has names of its own."""
    odd = replace(
        PLAN, inputs=(InputSpec(("arg", 0), replace(X, name="_call")),), steps=(EntryCall("run0", ("_call", "y")),)
    )
    assert "_call('run0', t0, t1)" in Standalone("int x;", odd, ()).text()


def test_what_was_not_generated_is_no_such_file() -> None:
    flags = recipe("")
    for candidate in (Candidate("python", "", "x", None), Candidate("eager", "", "", None)):
        with pytest.raises(ExportImpossible, match="no generated C"):
            standalone(candidate, flags)
    with pytest.raises(ExportImpossible, match="needs the class"):
        made(nn.Linear(3, 2), torch.randn(4, 3)).text()
