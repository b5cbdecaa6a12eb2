"""How much of our suite the Triton target expresses, whether that is right, and what its kernels need: without a GPU.

Every task of ``benchmarks/suite`` becomes a candidate. At small sizes (every size constant of the file divided by up to
16) it is interpreted on the CPU and compared with the reference in float64; at its own sizes it is compiled ahead of
time to sm_90, which tells registers and spills. Nothing is timed. Writes ``triton-<machine>.json``.

    python benchmarks/triton_suite.py [--match TEXT] [--json FILE] [--no-build]
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kernelwright.compiler import prepare
from kernelwright.compiler.triton import emit_triton
from kernelwright.targets import AtenCall, Candidate, load

ROOT = Path(__file__).parents[1]
DIVISORS = (16, 8, 4, 2, 1)
SECONDS = 90  # for one task in the interpreter
TIMES = 8.0  # an error may be so many times the largest of eager's, or as many ulps of the largest value

Row = dict[str, Any]
_SIZE = re.compile(r"^(\w+) = (\d+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--match", default="", help="only tasks whose level/name contains this text")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--no-build", action="store_true", help="do not compile ahead of time")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    paths = [p for p in sorted((ROOT / "benchmarks/suite").glob("level*/*.py")) if options.match in _label(p)]
    rows: dict[str, Row] = {}
    with ThreadPoolExecutor(1) as pool:  # compiling happens in a process of its own
        builds = None if options.no_build else pool.submit(_builds, *_candidates(paths))
        for path in paths:
            row = rows[_label(path)] = _verified(path.read_text())
            print(f"{_label(path):42} {row['status']:8} {row.get('why', '')}", flush=True)
        for label, build in builds.result().items() if builds else ():
            rows[label].update(build)
            if build["spills"] or build["build"] != "built":
                print(f"{label:42} {build['spills']} bytes spilled; {build['build']}")
    counts = Counter(row["status"] for row in rows.values())
    print(f"{len(rows)} tasks: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    if not options.match or options.json:
        _write(rows, counts, options.json)


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _write(rows: dict[str, Row], counts: Counter[str], out: Path | None) -> None:
    from importlib.metadata import version

    from kernelwright.machine import describe
    from suite import machine_slug

    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": asdict(describe()),
        "versions": {name: version(name) for name in ("torch", "triton")},
        "architecture": "sm_90",
        "counts": dict(counts),
        "with_aten_calls": sum(bool(row.get("aten")) for row in rows.values()),
        "kernels": sum(row.get("kernels", 0) for row in rows.values()),
        "kernels_that_spill": sum(row.get("spilling", 0) for row in rows.values()),
        "tasks": rows,
    }
    out = out or ROOT / f"benchmarks/results/triton-{machine_slug()}.json"
    out.write_text(json.dumps(document, indent=1) + "\n")


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _verified(source: str) -> Row:
    """Interpret a task at small sizes and compare."""
    try:
        with _limit(SECONDS):
            divisor, model, args = _small(source)
            candidate = emit_triton(prepare(model, args))
            aten = [s.op for s in candidate.plan.steps if isinstance(s, AtenCall)] if candidate.plan else []
            row: Row = {"sizes_divided_by": divisor, "aten": aten}
            state = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
            got = load(candidate, model, state, interpreted=True)(*args)
            error = _error(model, args, got)
    except TimeoutError:
        return {"status": "slow", "why": f"the interpreter did not finish within {SECONDS} s"}
    except Exception as fault:  # whatever goes wrong is this task's row
        return {"status": "failed", "why": f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"}
    row["error"] = round(error, 4)
    return {"status": "right" if error <= 1 else "wrong", **row}


def _small(source: str) -> tuple[int, torch.nn.Module, tuple[Any, ...]]:
    """The model and its arguments, with the smallest sizes that it takes."""
    fault: Exception | None = None
    for divisor in DIVISORS:
        try:
            torch.manual_seed(0)
            model, args = _made(_SIZE.sub(lambda m, d=divisor: _divided(m, d), source))  # type: ignore[misc]
            with torch.no_grad():
                model(*args)
            return divisor, model, args
        except TimeoutError:
            raise
        except Exception as error:  # too small for the model
            fault = error
    assert fault is not None
    raise fault


def _divided(match: re.Match[str], divisor: int) -> str:
    size = int(match[2])
    return f"{match[1]} = {size if size < 16 else max(size // divisor, 4)}"


def _made(source: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["Model"](*names["get_init_inputs"]()).eval(), tuple(names["get_inputs"]())


def _error(model: torch.nn.Module, args: tuple[Any, ...], got: Any) -> float:
    """The largest error in units of what is allowed."""
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        want = double(*pytree.tree_map(lambda a: a.double() if _floating(a) else a, args))
        eager = model(*args)
    worst = 0.0
    for g, w, e in zip(*(_tensors(x) for x in (got, want, eager)), strict=True):
        if g.shape != e.shape or g.dtype != e.dtype:
            return float("inf")
        if not g.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(g, e) else float("inf"))
            continue
        finite = torch.isfinite(w)
        if not torch.equal(g.double()[~finite].nan_to_num(), w[~finite].nan_to_num()):
            return float("inf")
        if finite.any():
            own = float((e.double() - w)[finite].abs().max())
            allowed = TIMES * max(own, float(w[finite].abs().max()) * torch.finfo(g.dtype).eps)
            worst = max(worst, float((g.double() - w)[finite].abs().max()) / (allowed or 1.0))
    return worst


def _floating(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _tensors(value: object) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


# ── builds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _candidates(paths: list[Path]) -> tuple[list[str], list[Candidate]]:
    """Every task at its own sizes that the compiler takes; the others fail above, with their reason."""
    labels: list[str] = []
    candidates: list[Candidate] = []
    for path in paths:
        with suppress(Exception):
            candidates.append(emit_triton(prepare(*_made(path.read_text()))))
            labels.append(_label(path))
    return labels, candidates


def _builds(labels: list[str], candidates: list[Candidate]) -> dict[str, Row]:
    """Registers and spills of every task's kernels."""
    from kernelwright.targets.triton import reports

    rows: dict[str, Row] = {}
    for label, report in zip(labels, reports(candidates), strict=True):
        kernels = {(k.kernel, k.registers, k.spills) for k in report.kernels}
        rows[label] = {
            "build": report.fault or "built",
            "kernels": len(kernels),
            "registers": max((k.registers for k in report.kernels), default=0),
            "spills": report.spills,
            "spilling": sum(spills > 0 for _, _, spills in kernels),
        }
    return rows


if __name__ == "__main__":
    main()
