"""Runs our own suite with one command, so that every number we publish can be made again on another machine.

``python benchmarks/suite.py``            the whole suite through ``kernelwright bench kernelbench``
``python benchmarks/suite.py --every 8``  one task in eight, spread over every level
``python benchmarks/suite.py --eager``    no kernels: eager's time, memory and the health of every task

Results go to ``benchmarks/results/`` as JSON that names the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

HERE = Path(__file__).parent
SUITE = HERE / "suite"


def task_files() -> list[Path]:
    """Every task of the suite, in order of level and number."""
    return sorted(SUITE.glob("level*/*.py"))


def task_class(path: Path) -> str:
    """The coverage class that a task's docstring names."""
    found = re.search(r"^Class: (.+)$", path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no line 'Class: ...' in its docstring")
    return found[1]


def load(path: Path, leading: int | None = None) -> ModuleType:
    """Import a task file; ``leading`` bounds its first size constant, which is always a batch-like one."""
    spec = importlib.util.spec_from_file_location(f"suite_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if leading is not None:
        name = next(k for k, v in vars(module).items() if isinstance(v, int) and not k.startswith("_"))
        setattr(module, name, min(getattr(module, name), leading))
    return module


def build(module: ModuleType) -> torch.nn.Module:
    """The task's model with the weights that seed 0 gives."""
    torch.manual_seed(0)
    return module.Model(*module.get_init_inputs())


def draw(module: ModuleType, seed: int) -> list[Any]:
    """The task's inputs for a seed."""
    torch.manual_seed(seed)
    return module.get_inputs()


def change(new: torch.Tensor, old: torch.Tensor) -> float:
    """How much an output moved: relative to its spread, or the share of elements of an exact type."""
    if not old.is_floating_point():
        return float((new != old).double().mean())
    new, old = new.double(), old.double()
    spread = old.std() if old.numel() > 1 else old.abs().mean()
    return float((new - old).square().mean().sqrt() / (spread + 1e-30))


def least_dependence(module: ModuleType) -> float:
    """The smallest change of the output when one input alone is drawn anew."""
    first, second = draw(module, 1), draw(module, 2)
    with torch.no_grad():
        old = build(module)(*first)
        changes = [change(build(module)(*first[:i], new, *first[i + 1 :]), old) for i, new in enumerate(second)]
    return min(changes)


def spread(output: torch.Tensor) -> float:
    """Standard deviation over largest magnitude: near zero means that a constant would pass for the answer."""
    values = output.double()
    return float(values.std() / values.abs().max()) if values.numel() > 1 else 1.0


def eager_record(path: Path) -> dict[str, Any]:
    """Time, memory and health of one task's reference, measured in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module = load(path)
    model, inputs = build(module), draw(module, 1)
    times: list[float] = []
    with torch.no_grad():
        output = model(*inputs)
        while len(times) < 5 or (sum(times) < 0.3 and len(times) < 50):
            start = time.perf_counter()
            output = model(*inputs)
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "task": f"{path.parent.name}/{path.stem}",
        "class": task_class(path),
        "eager_ms": round(sorted(times)[len(times) // 2] * 1e3, 3),
        "eager_min_ms": round(min(times) * 1e3, 3),
        "memory_mb": round((peak - before) / 1024),
        "finite": bool(torch.isfinite(output).all()),
        "spread": spread(output),
        "least_dependence": least_dependence(module),
    }


def measure_eager(files: list[Path]) -> list[dict[str, Any]]:
    """Records of all files, each from a fresh child so that one task's memory does not hide another's."""
    records = []
    for path in files:
        # The parent never runs a parallel operation, so a forked child starts its own thread pool cleanly.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            record = pool.apply(eager_record, (path,))
        records.append(record)
        print(_line(record), flush=True)
    return records


def _line(record: dict[str, Any]) -> str:
    head = f"{record['task']:44s} {record['eager_ms']:9.2f} ms {record['memory_mb']:5d} MB"
    return f"{head}  spread {record['spread']:.1e}  dependence {record['least_dependence']:.1e}"


def machine_slug() -> str:
    """A short name of this machine for file names: processor and number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.+)$", text, re.MULTILINE))
    name = fields.get("model name") or platform.processor() or platform.machine()
    family = "-".join(fields[key] for key in ("cpu family", "model") if key in fields)
    words = f"{name} {family} {torch.get_num_threads()}c"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def run_bench(files: list[Path], budget: float, effort: str, out: Path) -> int:
    """``kernelwright bench kernelbench`` over the files; returns its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            target = Path(folder) / path.parent.name / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        command = [sys.executable, "-m", "kernelwright", "bench", "kernelbench", folder]
        options = ["--scale", "cpu", "--effort", effort, "--budget", str(budget), "--json", str(out)]
        return subprocess.run([*command, *options], check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one task in N only")
    parser.add_argument("--eager", action="store_true", help="measure and check eager only")
    parser.add_argument("--match", default="", help="only tasks whose level/name contains this text")
    parser.add_argument("--effort", default="quick", help="quick, balanced or full")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of search for each task")
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results/)")
    options = parser.parse_args()
    files = [path for path in task_files() if options.match in f"{path.parent.name}/{path.stem}"]
    files = files[:: max(options.every, 1)]
    kind = "suite-eager" if options.eager else "suite"
    out = options.json or HERE / "results" / f"{kind}-{machine_slug()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    if not options.eager:
        return run_bench(files, options.budget, options.effort, out)
    records = measure_eager(files)
    content = {"machine": machine_slug(), "torch": torch.__version__, "tasks": records}
    out.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
