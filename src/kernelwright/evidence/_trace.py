"""A bundle in the FlashInfer Trace schema: a Definition, a Solution and a Trace that ties them to what was measured.

The schema knows no parameters: they become inputs after the reference's own. Its kernels are called from a Python file
that builds our C++ source. What it has no field for (errors in units of their bounds, intervals, digests) lies under
``evaluation.correctness.extra``.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch.utils import _pytree as pytree

from ..errors import ExportImpossible
from ..targets import CALLABLE, Candidate, InputSpec, Plan, TensorSpec, standalone
from ._bundle import Bundle
from ._container import save
from ._forward import argument_names, is_class, whole_text

AUTHOR = "kernelwright"
OP_TYPE = "generated"
FILE = "main.py"
DTYPES = (
    *("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("int64", "int32", "int16", "int8", "bool"),
)  # fmt: skip

_BUILT = """

import functools as _functools


@_functools.cache
def _built():
    with _torch.random.fork_rng(devices=[]):
        _torch.manual_seed(42)
        return _reference(*{init}){cast}
"""
_REFERENCE = '''

import torch as _torch

_reference = {attribute}
{built}

def {run}({arguments}):
    """The reference on its own arguments and on its parameters."""
    with _torch.no_grad():
        result = {call}
    leaves = _torch.utils._pytree.tree_leaves(result)
    return leaves[0] if len(leaves) == 1 else tuple(leaves)
'''


@dataclass(frozen=True)
class Exported:
    """The three objects, as JSON. ``workload`` is a Trace without a result."""

    definition: Mapping[str, Any]
    solution: Mapping[str, Any]
    trace: Mapping[str, Any]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write them where a data set of the schema has them; returns what was written."""
        name, op = self.definition["name"], self.definition["op_type"]
        workload = {**self.trace, "solution": None, "evaluation": None}
        places = {
            f"definitions/{op}/{name}.json": _pretty(self.definition),
            f"workloads/{op}/{name}.jsonl": json.dumps(workload) + "\n",
            f"solutions/{AUTHOR}/{op}/{name}/{self.solution['name']}.json": _pretty(self.solution),
            f"traces/{AUTHOR}/{op}/{name}.jsonl": json.dumps(self.trace) + "\n",
        }
        for place, text in places.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            save(folder / place, text.encode())
        return tuple(folder / place for place in places)


@dataclass(frozen=True)
class _Input:
    """One input of the Definition: a tensor, or a number that the kernel was made for."""

    name: str
    spec: TensorSpec | None
    value: object = None
    state: str = ""


def to_trace(bundle: Bundle, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Exported:
    """The bundle in the schema's words. Raises ``ExportImpossible`` for what they cannot say."""
    plan = bundle.candidate.plan
    assert plan is not None
    text = whole_text(bundle.task)
    if plan.symbols:
        raise ExportImpossible("Its sizes vary, and a bundle does not say which of them were measured.")
    if plan.backward is not None:
        raise ExportImpossible("The kernel gives gradients, and a Definition has no such outputs.")
    if plan.mutations:
        changed = plan.mutations[0][1]
        raise ExportImpossible(f"The kernel also changes {changed}, and a Definition has no such output.")
    inputs = _inputs(bundle, plan)
    outputs = _outputs(plan)
    name = f"{_word(bundle.task.name)}_{bundle.task.digest[:8]}"
    solution_name = f"{name}_{bundle.candidate.digest[:8]}"
    definition = {
        "name": name,
        "op_type": OP_TYPE,
        "description": f"Task {bundle.task.name} of kernelwright; parameters are inputs.",
        "tags": ["status:verified"],
        "axes": _axes([i.spec for i in inputs if i.spec is not None] + outputs),
        "inputs": {i.name: _tensor(i.spec) if i.spec is not None else _scalar(i.value) for i in inputs},
        "outputs": {f"output{k}": _tensor(spec) for k, spec in enumerate(outputs)},
        "reference": _reference(bundle, text, inputs),
    }
    file = replace(
        standalone(replace(bundle.candidate, plan=_plan_of_arguments(plan, inputs, outputs)), bundle.recipe),
        arguments=tuple(i.name for i in inputs),
    )
    return Exported(definition, _solution(solution_name, name, file.text(), bundle.candidate), {
        "definition": name,
        "workload": _workload(bundle, inputs),
        "solution": solution_name,
        "evaluation": _evaluation(bundle, now()),
    })  # fmt: skip


def _inputs(bundle: Bundle, plan: Plan) -> list[_Input]:
    """The reference's arguments in their order, then the parameters in the plan's."""
    tensors = {int(s.source[1]): s.spec for s in plan.inputs if s.source[0] == "arg"}
    constants = dict(plan.constants)
    count = len(tensors) + len(constants)
    names, found = argument_names(bundle.task, count), []
    waiting = iter(sorted(tensors.items()))
    for place, name in enumerate(names):
        found.append(_Input(name, None, constants[place]) if place in constants else _Input(name, next(waiting)[1]))
    used = set(names)
    for spec in plan.inputs:
        if spec.source[0] == "state":
            word = _word(str(spec.source[1]))
            while word in used:
                word += "_"
            used.add(word)
            found.append(_Input(word, spec.spec, state=str(spec.source[1])))
    return found


def _outputs(plan: Plan) -> list[TensorSpec]:
    known = {spec.spec.name: spec.spec for spec in plan.inputs} | {spec.name: spec for spec in plan.buffers}
    if any(isinstance(leaf, dict) or leaf not in known for leaf in plan.results):
        raise ExportImpossible("It returns something that is no tensor of a known shape.")
    return [known[str(leaf)] for leaf in plan.results]


def _plan_of_arguments(plan: Plan, inputs: list[_Input], outputs: list[TensorSpec]) -> Plan:
    """The plan with parameters as arguments, returning a tensor or a flat tuple of them."""
    tensors = [i for i in inputs if i.spec is not None]
    place = {i.state: k for k, i in enumerate(tensors) if i.state}
    moved = tuple(
        InputSpec(("arg", place[str(s.source[1])]), s.spec) if s.source[0] == "state" else s for s in plan.inputs
    )
    spec = pytree.treespec_dumps(pytree.tree_structure(tuple(outputs))) if len(outputs) > 1 else None
    return replace(plan, inputs=moved, treespec=spec)


def _axes(specs: list[TensorSpec]) -> dict[str, dict[str, Any]]:
    sizes = sorted({int(size) for spec in specs for size in spec.shape})
    return {f"n{size}": {"type": "const", "value": size} for size in sizes}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    if spec.dtype not in DTYPES:
        raise ExportImpossible(f"It has a tensor of dtype {spec.dtype}, which the schema does not know.")
    return {"shape": [f"n{size}" for size in spec.shape], "dtype": spec.dtype}


def _scalar(value: object) -> dict[str, Any]:
    kinds = {bool: "bool", int: "int64", float: "float32"}
    if type(value) not in kinds:
        raise ExportImpossible(f"It has the argument {value!r}, which is no number.")
    return {"shape": None, "dtype": kinds[type(value)]}


def _reference(bundle: Bundle, text: str, inputs: list[_Input]) -> str:
    task = bundle.task
    own = ", ".join(i.name for i in inputs if not i.state)
    state = ", ".join(f"{i.state!r}: {i.name}" for i in inputs if i.state)
    built, call = "", f"_reference({own})"
    if is_class(task):
        init = "get_init_inputs()" if "def get_init_inputs" in text else "()"
        built = _BUILT.format(init=init, cast=f".to(_torch.{task.dtype})" if task.dtype != "float32" else "")
        call = f"_torch.func.functional_call(_built(), {{{state}}}, ({own},))"
    arguments = ", ".join(i.name for i in inputs)
    values = {"attribute": task.attribute, "run": CALLABLE, "arguments": arguments, "built": built, "call": call}
    return text.rstrip("\n") + "\n" + _REFERENCE.format(**values)


def _solution(name: str, definition: str, text: str, candidate: Candidate) -> dict[str, Any]:
    return {
        "name": name,
        "definition": definition,
        "author": AUTHOR,
        "description": f"Generated C++, built and called by {FILE}. {' '.join(candidate.notes)}".strip(),
        "spec": {
            "language": "python",
            "target_hardware": ["cpu"],
            "entry_point": f"{FILE}::{CALLABLE}",
            "dependencies": ["torch", "apache-tvm-ffi"],
            "destination_passing_style": False,
        },
        "sources": [{"path": FILE, "content": text}],
    }


def _workload(bundle: Bundle, inputs: list[_Input]) -> dict[str, Any]:
    sources = {
        i.name: {"type": "random"} if i.spec is not None else {"type": "scalar", "value": i.value} for i in inputs
    }
    return {"uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, bundle.task.digest)), "axes": {}, "inputs": sources}


def _evaluation(bundle: Bundle, now: datetime) -> dict[str, Any] | None:
    """What was measured; None where no rival was, without which the schema has no result."""
    measured, verdict = bundle.measurement, bundle.verdict
    if measured is None or "eager" not in measured.rivals:
        return None
    worst = max((check.error for check in verdict.checks), default=0.0)
    extra = {
        "max_error_in_bounds": worst,
        "checks": len(verdict.checks),
        "deterministic": verdict.deterministic,
        "speedup_interval": {name: [ratio.lo, ratio.hi] for name, ratio in measured.speedup.items()},
        "bundle": bundle.digest,
    }
    return {
        "status": "PASSED",
        "log": "",
        # Errors are compared with a bound for each element; these two were not taken.
        "correctness": {"max_relative_error": "NaN", "max_absolute_error": "NaN", "extra": extra},
        "performance": {
            "latency_ms": measured.seconds * 1e3,
            "reference_latency_ms": measured.rivals["eager"] * 1e3,
            "speedup_factor": measured.speedup["eager"].median,
        },
        "environment": {"hardware": str(bundle.machine.get("cpu") or "cpu"), "libs": dict(bundle.versions)},
        "timestamp": now.isoformat(timespec="seconds"),
    }


def _word(text: str) -> str:
    word = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "task"
    return word if not word[0].isdigit() else f"t{word}"


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
