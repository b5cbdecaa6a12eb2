"""Runs a CUDA candidate once under compute-sanitizer: memory, races, barriers. On a GPU, where the tool is installed.

``python -m kernelwright.targets.cuda._sanitize`` is the process that the tool watches: it reads a candidate, makes up
inputs of the plan's shapes, and calls it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ..plan import Candidate, TensorSpec, plan_from_json, plan_to_json
from ._module import load_cuda

TOOLS = ("memcheck", "racecheck", "synccheck")
_FOUND = 99  # the exit code that stands for a finding
_ROOT = Path(__file__).resolve().parents[3]


@functools.cache
def find_sanitizer() -> str:
    """The path of compute-sanitizer; "" where it is not installed."""
    folders = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    places = [os.path.join(folder, "bin") for folder in folders if folder]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.pathsep.join(places)) or ""


def sanitize(candidate: Candidate, *, timeout: float = 120.0) -> str:
    """What the tools find wrong with a candidate, as a sentence; "" where they find nothing or do not finish."""
    assert candidate.plan is not None
    told = json.dumps({"source": candidate.source, "plan": plan_to_json(candidate.plan)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    for tool in TOOLS:
        command = [find_sanitizer(), "--tool", tool, "--error-exitcode", str(_FOUND), "--print-limit", "1"]
        command += [sys.executable, "-m", "kernelwright.targets.cuda._sanitize"]
        try:
            done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=timeout, env=environment)
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == _FOUND:
            return f"compute-sanitizer ({tool}) finds a fault: {_first(done.stdout)}."
    return ""


def _first(text: str) -> str:
    """The first line in which the tool says what it has found."""
    lines = [line.lstrip("= ").strip() for line in text.splitlines() if line.startswith("=========")]
    told = [line for line in lines if line and not line.startswith(("COMPUTE-SANITIZER", "ERROR SUMMARY"))]
    return (told[0] if told else "no message")[:300].rstrip(".")


def call_once(source: str, plan_text: str) -> None:
    """Call a candidate on made-up inputs, on the GPU, and wait for it."""
    plan = plan_from_json(plan_text)
    sizes = {symbol.name: symbol.hi for symbol in plan.symbols}
    given = {spec.source: _made(spec.spec, sizes) for spec in plan.inputs if spec.source[0] != "literal"}
    state = {str(name): tensor for (kind, name), tensor in given.items() if kind == "state"}
    tensors = [tensor for (kind, _), tensor in sorted(given.items(), key=_position) if kind == "arg"]
    constants = dict(plan.constants)
    leaves: list[Any] = []
    while tensors or len(leaves) in constants:
        leaves.append(constants[len(leaves)] if len(leaves) in constants else tensors.pop(0))
    load_cuda(source, plan, state, emulated=False)(*leaves)
    torch.cuda.synchronize()


def _position(item: tuple[tuple[str, int | str], torch.Tensor]) -> tuple[str, int]:
    kind, where = item[0]
    return kind, where if isinstance(where, int) else 0


def _made(spec: TensorSpec, sizes: dict[str, int]) -> torch.Tensor:
    from ._report import number

    shape = tuple(number(size, sizes) for size in spec.shape)
    strides = tuple(number(step, sizes) for step in spec.strides)
    found = torch.empty_strided(shape, strides, dtype=getattr(torch, spec.dtype), device="cuda")
    return found.uniform_(0.1, 1.0) if found.is_floating_point() else found.zero_()


if __name__ == "__main__":
    data = json.load(sys.stdin)
    call_once(data["source"], data["plan"])
