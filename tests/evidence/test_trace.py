"""Kernels in others' forms, and others' kernels in ours: what is read is judged as a stranger's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.errors import ExportImpossible, TraceInvalid
from kernelwright.evidence import Bundle, from_trace, gather, modelnew, to_trace
from kernelwright.judge import Judge, Verdict, read_submission
from kernelwright.machine import versions
from kernelwright.task import DynamicSize, from_callable, from_source

from . import trace_schema
from .conftest import LIMIT, TEXT, printed

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def judge(task: str, candidate: Path) -> Verdict:
    with Judge(time_limit=60.0, memory_limit=LIMIT) as it:
        return it.judge(task, candidate)


def write(folder: Path, **contents: Any) -> list[Path]:
    paths = []
    for name, content in contents.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(content))
    return paths


# ── ModelNew ──


def test_a_model_new_runs_by_itself_and_agrees(bundle: Bundle) -> None:
    space: dict[str, Any] = {}
    exec(TEXT, space)
    args = space["get_inputs"]()
    torch.manual_seed(42)
    expected = space["Model"](*space["get_init_inputs"]())(*args)
    exec(modelnew(bundle), space)  # into the dictionary of the reference, as the evaluator does
    torch.manual_seed(42)
    module = space["ModelNew"](*space["get_init_inputs"]())
    assert torch.allclose(module(*args), expected, atol=1e-6)
    assert torch.allclose(module(args[0].t().contiguous().t(), 0.5), expected, atol=1e-6)
    assert list(module.state_dict()) == ["linear.weight", "linear.bias"]
    with torch.no_grad():
        module.linear.weight.zero_()
        module.linear.bias.zero_()
    assert torch.allclose(module(*args), torch.full((12, 9), 1 / 9))  # it follows its parameters
    for wrong in ((args[0][:3], 0.5), (args[0].double(), 0.5), (args[0], 0.25), (args[0],)):
        with pytest.raises(ValueError, match=r"must be|made for|takes"):
            module(*wrong)


def test_a_model_new_is_judged_by_the_kernel_in_it(bundle: Bundle, task_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.py"
    path.write_text(modelnew(bundle))
    candidate = read_submission(path, from_source(str(task_file)))
    assert (candidate.target, candidate.proposer) == ("cpu", "submission")
    verdict = judge(str(task_file), path)
    assert verdict.accepted, verdict.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class ModelNew(Model):", "import torch.nn.functional\nclass ModelNew(Model):"),
        ("return _kernel(self, args)", "return _kernel(self, args) + 0"),
        ("'-O3'", "'-O3', '-fplugin=evil.so'"),
        ("softmax(", "sigmoid("),
        ("rows = 12", "rows = 13"),
    ],
)
def test_a_model_new_that_was_changed_is_anybodys_program(
    bundle: Bundle, task_file: Path, tmp_path: Path, old: str, new: str
) -> None:
    text = modelnew(bundle)
    assert old in text
    path = tmp_path / "new.py"
    path.write_text(text.replace(old, new))
    assert read_submission(path, from_source(str(task_file))).target == "python"


def test_a_function_needs_no_reference_in_its_file(tmp_path: Path, bundle: Bundle) -> None:
    task = from_callable(lambda x: torch.relu(x).sum(-1), (torch.randn(4, 7),), name="f")
    text = modelnew(gather(task, printed(task), bundle.verdict, None, versions()))
    space: dict[str, Any] = {}
    exec(text, space)
    x = torch.randn(4, 7)
    assert torch.allclose(space["ModelNew"]()(x), torch.relu(x).sum(-1))
    path = tmp_path / "f.py"
    path.write_text(text)
    assert read_submission(path, task).target == "cpu"


def test_several_results_and_sizes_that_vary(bundle: Bundle) -> None:
    task = from_callable(
        lambda x: {"double": x * 2, "sum": x.sum(0)}, (torch.randn(4, 3),), name="two",
        dynamic=(DynamicSize(0, 0, 2, 9),),
    )  # fmt: skip
    found = gather(task, printed(task), bundle.verdict, None, versions())
    space: dict[str, Any] = {}
    exec(modelnew(found), space)
    for rows in (2, 5, 9):
        x = torch.randn(rows, 3)
        result = space["ModelNew"]()(x)
        assert torch.equal(result["double"], x * 2)
        assert torch.allclose(result["sum"], x.sum(0), atol=1e-6)
    with pytest.raises(ValueError, match="made for 2 to 9"):
        space["ModelNew"]()(torch.randn(10, 3))
    with pytest.raises(ExportImpossible, match="no text of its reference"):
        to_trace(found)


# ── Trace, written ──


def test_a_trace_is_of_the_schema(bundle: Bundle, tmp_path: Path) -> None:
    found = to_trace(bundle, lambda: NOW)
    written = found.write(tmp_path)
    definition, workload, solution, trace = (json.loads(path.read_text()) for path in written)
    trace_schema.check_definition(definition)
    trace_schema.check_solution(solution, definition)
    trace_schema.check_trace(trace, definition, solution)
    trace_schema.check_trace(workload, definition, None)
    assert list(definition["inputs"]) == ["x", "scale", "linear_weight", "linear_bias"]
    assert definition["inputs"]["scale"] == {"shape": None, "dtype": "float32"}
    assert trace["workload"]["inputs"]["scale"] == {"type": "scalar", "value": 0.5}
    assert trace["evaluation"]["timestamp"] == "2026-01-02T03:04:05+00:00"
    assert trace["evaluation"]["correctness"]["extra"]["bundle"] == bundle.digest
    measured = bundle.measurement
    assert measured is not None
    assert trace["evaluation"]["performance"]["latency_ms"] == measured.seconds * 1e3


def test_its_reference_and_its_solution_agree(bundle: Bundle) -> None:
    found = to_trace(bundle, lambda: NOW)
    reference, solution = {}, {}
    exec(found.definition["reference"], reference)
    exec(found.solution["sources"][0]["content"], solution)
    args = (torch.randn(12, 16), 0.5, torch.randn(9, 16), torch.randn(9))
    expected = torch.softmax((args[0] @ args[2].t() + args[3]) * 0.5, -1)
    assert torch.allclose(reference["run"](*args), expected, atol=1e-6)
    assert torch.allclose(solution["run"](*args), expected, atol=1e-6)


def test_without_a_measurement_there_is_no_result(bundle: Bundle) -> None:
    assert to_trace(replace(bundle, measurement=None), lambda: NOW).trace["evaluation"] is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shrunk": ((0, 0, 64, 12),), "patches": (("rows", 12),)}, "made smaller"),
        ({"text": TEXT.replace("forward(self, x, scale)", "forward(self, *x)")}, "no plain list"),
    ],
)
def test_what_a_trace_cannot_say(bundle: Bundle, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportImpossible, match=sentence):
        to_trace(replace(bundle, task=replace(bundle.task, **changes)))


# ── Trace, read ──

DEFINITION = {
    "name": "double_n5",
    "op_type": "test",
    "axes": {"M": {"type": "var"}, "N": {"type": "const", "value": 5}},
    "inputs": {"x": {"shape": ["M", "N"], "dtype": "float32"}},
    "outputs": {"y": {"shape": ["M", "N"], "dtype": "float32"}},
    "reference": "import torch\n\ndef run(x):\n    return torch.tanh(x) * 2\n",
}
WORKLOAD = {"definition": "double_n5", "workload": {"uuid": "u", "axes": {"M": 7}, "inputs": {"x": {"type": "random"}}}}
_CPP = """
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include "f.h"
static void Run(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  const float* a = static_cast<const float*>(x.data_ptr());
  float* b = static_cast<float*>(y.data_ptr());
  for (int64_t i = 0; i < x.numel(); ++i) b[i] = FACTOR * f(a[i]);
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
"""


def solution(language: str, path: str, content: str, more: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    sources = {path: content, **(more or {})}
    about = {"language": language, "target_hardware": ["cpu"], "entry_point": f"{path}::run", **spec}
    listed = [{"path": p, "content": c} for p, c in sources.items()]
    return {"name": "s", "definition": "double_n5", "author": "a", "spec": about, "sources": listed}


HEADER = {"src/f.h": "#pragma once\n#include <math.h>\nstatic inline float f(float x) { return tanhf(x); }\n"}
SOLUTIONS = {
    "python": solution("python", "m.py", "import torch\ndef run(x, y):\n    y.copy_(torch.tanh(x) * FACTOR)\n"),
    "returning": solution(
        "python", "m.py", "import torch\ndef run(x):\n    return torch.tanh(x) * FACTOR\n",
        destination_passing_style=False,
    ),
    "cpp": solution("cpp", "src/k.cpp", _CPP, HEADER),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "factor", "status"),
    [("python", "2", "accepted"), ("returning", "2.01", "rejected"), ("cpp", "2.0f", "accepted")],
)
def test_a_solution_is_judged_as_a_strangers(tmp_path: Path, name: str, factor: str, status: str) -> None:
    text = json.dumps(SOLUTIONS[name]).replace("FACTOR", factor)
    files = write(tmp_path, definition=DEFINITION, workload=WORKLOAD, solution=json.loads(text))
    task, candidate = from_trace(files).write(tmp_path)
    source = f"{task}:run"
    assert read_submission(candidate, from_source(source)).proposer == "submission"
    verdict = judge(source, candidate)
    assert verdict.status == status, verdict.reason


def test_our_own_solution_comes_back_as_a_kernel(bundle: Bundle, tmp_path: Path) -> None:
    found = to_trace(bundle, lambda: NOW)
    files = write(tmp_path, d=found.definition, s=found.solution, t=found.trace)
    task, candidate = from_trace(files).write(tmp_path)
    assert candidate.suffix == ".cpp"
    verdict = judge(f"{task}:run", candidate)
    assert verdict.accepted, verdict.reason


def test_a_definition_alone_is_a_task(tmp_path: Path) -> None:
    (task,) = from_trace(write(tmp_path, d=DEFINITION, w=WORKLOAD)).write(tmp_path)
    found = from_source(f"{task}:run")
    assert (found.kind, found.attribute) == ("function", "run")


@pytest.mark.parametrize(
    ("objects", "sentence"),
    [
        ({"d": DEFINITION}, "axis M of double_n5 varies"),
        ({"w": WORKLOAD}, "0 Definitions"),
        ({"d": DEFINITION, "e": DEFINITION}, "2 Definitions"),
        ({"d": [1]}, "holds no JSON objects"),
        ({"d": {"reference": "x"}}, "does not follow"),
        ({"d": DEFINITION, "w": WORKLOAD, "s": solution("triton", "m.py", "x")}, "written in triton"),
        ({"d": DEFINITION, "w": WORKLOAD, "s": solution("python", "m.py", "x", {"n.py": "y"})}, "2 source files"),
        ({"d": DEFINITION, "w": WORKLOAD, "s": solution("cpp", "m.cpp", "x", {"n.cpp": "y"})}, "one file and headers"),
        ({"d": DEFINITION, "w": WORKLOAD, "s": solution("cpp", "m.cpp", "x", binding="torch")}, "binding is tvm-ffi"),
        ({"d": DEFINITION, "w": WORKLOAD, "s": {**SOLUTIONS["cpp"], "definition": "z"}}, "is one of z"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, objects: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TraceInvalid, match=sentence):
        from_trace(write(tmp_path, **objects))
