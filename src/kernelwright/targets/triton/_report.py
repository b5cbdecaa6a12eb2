"""What the real compiler makes of a candidate for a GPU that need not be there, and the time its peaks predict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from ...errors import BuildFailed
from ...machine import H200, Gpu
from ...paths import cache_dir
from ...task import Cost
from ..plan import Candidate, plan_to_json
from ._module import check_installed

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class KernelBuild:
    """One kernel as compiled for one launch: ``spills`` are bytes of registers kept in memory, for each thread.

    ``blocks`` of it are resident on a multiprocessor at once; ``occupancy`` is the share of threads that makes.
    """

    kernel: str
    grid: tuple[int, ...]
    warps: int
    stages: int
    registers: int
    spills: int
    shared: int
    blocks: int
    occupancy: float


@dataclass(frozen=True)
class BuildReport:
    """Every kernel that one call of a candidate launches, in order; ``fault`` is why there are none, as a sentence."""

    architecture: str
    kernels: tuple[KernelBuild, ...]
    seconds: float
    fault: str = ""

    @property
    def spills(self) -> int:
        return sum(kernel.spills for kernel in self.kernels)


def report(candidate: Candidate, *, timeout: float = 120.0) -> BuildReport:
    """Compile a Triton candidate ahead of time to sm_90, in a process of its own; no GPU is needed.

    Raises ``TritonMissing``, or ``BuildFailed`` with what the compiler says.
    """
    found = reports([candidate], timeout=timeout)[0]
    if found.fault:
        raise BuildFailed(found.fault)
    return found


def reports(candidates: Sequence[Candidate], *, timeout: float = 120.0) -> list[BuildReport]:
    """:func:`report` for many, in as few processes as possible; a fault is in its report. ``timeout``: for each."""
    check_installed()
    done: list[BuildReport] = []
    while len(done) < len(candidates):
        rest = candidates[len(done) :]
        made, end = _run(rest, timeout * len(rest))
        done += made
        if len(made) < len(rest):  # a compiler that dies takes the process along, but no other candidate
            done.append(BuildReport(H200.architecture, (), 0.0, end))
    return done


def toolchain() -> str:
    """What decides the machine code of a source."""
    return f"triton {version('triton')}, {H200.architecture}"


def predict(cost: Cost, dtype: str, gpu: Gpu = H200) -> float:
    """Seconds that the GPU's peaks allow for a task at best: its arithmetic or its traffic, whichever takes longer."""
    peak = gpu.peaks.get(dtype, gpu.peaks["float32"])
    return max(cost.flops / peak, cost.bytes / gpu.bandwidth)


def _run(candidates: Sequence[Candidate], timeout: float) -> tuple[list[BuildReport], str]:
    """The reports up to the first candidate that the process did not survive, and how it ended."""
    lines = [json.dumps({"source": c.source, "plan": plan_to_json(c.plan) if c.plan else ""}) for c in candidates]
    command = [sys.executable, "-m", "kernelwright.targets.triton._ahead"]
    try:
        done = subprocess.run(
            command, input="\n".join(lines), capture_output=True, text=True, timeout=timeout, env=_environment()
        )
        output, end = done.stdout, f"The Triton compiler died (exit code {done.returncode}): {_last(done.stderr)}"
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        end = "The Triton compiler did not finish in the time that was left for it."
    made = [from_json(line) for line in output.splitlines()]
    return made, end


def _environment() -> dict[str, str]:
    """Compiling, not interpreting; what it makes goes where everything goes that can be made again."""
    path = os.environ.get("PYTHONPATH", "")
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    kept["PYTHONPATH"] = f"{_ROOT}{os.pathsep}{path}" if path else str(_ROOT)
    kept.setdefault("TRITON_CACHE_DIR", str(cache_dir() / "triton" / "built"))
    kept.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    return kept


def from_json(line: str) -> BuildReport:
    """The inverse of :func:`to_json`."""
    data = json.loads(line)
    kernels = tuple(KernelBuild(**{**kernel, "grid": tuple(kernel["grid"])}) for kernel in data["kernels"])
    return BuildReport(data["architecture"], kernels, data["seconds"], data["fault"])


def to_json(made: BuildReport) -> str:
    """One line."""
    return json.dumps(asdict(made))


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "no message"
