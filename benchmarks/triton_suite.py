"""How much of our suite a GPU target expresses, whether that is right, and what its kernels need: without a GPU.

Every task of ``benchmarks/suite`` becomes a candidate. At small sizes (every size constant of the file divided by up to
16) the judge verifies it, interpreted or emulated: its cases and structures, guard bands, poisoned outputs, its bounds.
At its own sizes it is compiled ahead of time to sm_90, which tells registers and spills. Nothing is timed. Writes
``<target>-<machine>.json``.

    python benchmarks/triton_suite.py [--target triton|cuda] [--match TEXT] [--json FILE] [--no-build] [--no-judge]
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from kernelwright.compiler import capture, prepare_captured
from kernelwright.compiler.capture import Captured
from kernelwright.judge import OutOfTime, Session
from kernelwright.search import Proposer
from kernelwright.search._ahead import AheadProposer
from kernelwright.search._cuda import cuda_proposer
from kernelwright.search._memory import toolchain_of
from kernelwright.search._triton import TritonProposer
from kernelwright.search._unmeasured import compiles_ahead
from kernelwright.targets import AtenCall
from kernelwright.task import Task, from_source, load

ROOT = Path(__file__).parents[1]
DIVISORS = (16, 8, 4, 2, 1)
SECONDS = 150.0  # for one task, in the judge

Row = dict[str, Any]
_SIZE = re.compile(r"^(\w+) = (\d+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--target", default="triton", choices=("triton", "cuda"), help="what generates the kernels")
    parser.add_argument("--match", default="", help="only tasks whose level/name contains this text")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--no-build", action="store_true", help="do not compile ahead of time")
    parser.add_argument("--no-judge", action="store_true", help="do not verify")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    paths = [p for p in sorted((ROOT / "benchmarks/suite").glob("level*/*.py")) if options.match in _label(p)]
    rows: dict[str, Row] = {_label(path): {} for path in paths}
    if not options.no_judge:
        _judge(paths, rows, options.target)
    if not options.no_build:
        _build(paths, rows, options.target)
    counts = Counter(row.get("status", "unjudged") for row in rows.values())
    print(f"{len(rows)} tasks: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    if not options.match or options.json:
        _write(rows, counts, options.json, options.target)


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _write(rows: dict[str, Row], counts: Counter[str], out: Path | None, target: str) -> None:
    from importlib.metadata import version

    from kernelwright.machine import describe
    from suite import machine_slug

    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": asdict(describe()),
        "versions": {"torch": version("torch"), target: toolchain_of(target)},
        "architecture": "sm_90",
        "counts": dict(counts),
        "with_aten_calls": sum(bool(row.get("aten")) for row in rows.values()),
        "kernels": sum(row.get("kernels", 0) for row in rows.values()),
        "kernels_that_spill": sum(len(row.get("spilling", ())) for row in rows.values()),
        "tasks": rows,
    }
    out = out or ROOT / f"benchmarks/results/{target}-{machine_slug()}.json"
    out.write_text(json.dumps(document, indent=1) + "\n")


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge(paths: list[Path], rows: dict[str, Row], target: str) -> None:
    """One session with its two processes for all tasks: starting them takes longer than most verdicts."""
    session: Session | None = None
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            start = time.monotonic()
            try:
                divisor, file = _small(path, Path(folder))
                task = from_source(str(file))
                if session is None:
                    session = Session(task, time_limit=SECONDS)
                else:
                    session.turn_to(task)
                session.deadline = time.monotonic() + SECONDS
                row = {"sizes_divided_by": divisor, **_verdict(session, task, target)}
            except OutOfTime:
                row = {"status": "slow", "why": f"it was not judged within {SECONDS:g} s"}
            except Exception as fault:  # whatever goes wrong is this task's row
                row = {"status": "failed", "why": f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"}
            rows[_label(path)] |= {**row, "seconds": round(time.monotonic() - start, 1)}
            print(f"{_label(path):42} {row['status']:9} {row.get('why', '')}", flush=True)
    if session is not None:
        session.close()


def _proposer(captured: Captured, title: str, target: str) -> Proposer:
    """What proposes where nothing is timed, whether there is a GPU or not."""
    if target == "cuda":
        return cuda_proposer(captured, title, timed=False)
    return TritonProposer(prepare_captured(captured), title)


def _verdict(session: Session, task: Task, target: str) -> Row:
    """What the judge says about the proposer's first candidate."""
    reference = load(task)
    captured = capture(reference.call, reference.draw(0, "given"), task.dynamic)
    batch = _proposer(captured, task.name, target).propose(1)
    if not batch:
        return {"status": "failed", "why": "nothing of it could be lowered"}
    if session.unscored:
        return {"status": "unscored", "why": session.unscored}
    verdict = session.verify(batch[0])
    steps = batch[0].plan.steps if batch[0].plan else ()
    errors = [check.error for check in verdict.checks if check.error == check.error]
    row: Row = {"aten": [s.op for s in steps if isinstance(s, AtenCall)], "checks": len(verdict.checks)}
    row["error"] = round(max(errors, default=0.0), 4)  # in units of the judge's bounds
    if not verdict.accepted:
        row["why"] = f"{verdict.category}: {verdict.reason}"
    return {"status": verdict.status, **row}


def _small(path: Path, folder: Path) -> tuple[int, Path]:
    """A file of the task with the smallest sizes that its model takes."""
    source = path.read_text()
    fault: Exception | None = None
    for divisor in DIVISORS:
        text = _SIZE.sub(lambda m, d=divisor: _divided(m, d), source)  # type: ignore[misc]
        try:
            torch.manual_seed(0)
            model, args = _made(text)
            with torch.no_grad():
                model(*args)
        except Exception as error:  # too small for the model
            fault = error
            continue
        file = folder / f"{path.stem}_{divisor}.py"
        file.write_text(text)
        return divisor, file
    assert fault is not None
    raise fault


def _divided(match: re.Match[str], divisor: int) -> str:
    size = int(match[2])
    return f"{match[1]} = {size if size < 16 else max(size // divisor, 4)}"


def _made(source: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["Model"](*names["get_init_inputs"]()).eval(), tuple(names["get_inputs"]())


# ── builds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _proposers(paths: list[Path], target: str = "triton") -> dict[str, AheadProposer]:
    """Of every task at its own sizes that the compiler takes; the others fail above, with their reason."""
    found: dict[str, AheadProposer] = {}
    for path in paths:
        with suppress(Exception):
            proposer = _proposer(capture(*_made(path.read_text()), ()), path.stem, target)
            if isinstance(proposer, AheadProposer):
                found[_label(path)] = proposer
    return found


def _build(paths: list[Path], rows: dict[str, Row], target: str) -> None:
    """Registers and spills of every task's kernels, as the search settles them."""
    reports = compiles_ahead(target)
    proposers = _proposers(paths, target)
    first = {label: candidate for label, proposer in proposers.items() for candidate in proposer.propose(1)}
    for (label, candidate), built in zip(first.items(), reports(list(first.values())), strict=True):
        _, report = proposers[label].settle(candidate, built, reports)
        kernels = {(k.kernel, k.registers, k.spills) for k in report.kernels}
        spilling = sorted(f"{name}: {spills} bytes" for name, _, spills in kernels if spills)
        rows[label] |= {
            "build": report.fault or "built",
            "kernels": len(kernels),
            "settled": report is not built,  # other schedules than the first guess, because registers spilled
            "registers": max((k.registers for k in report.kernels), default=0),
            "spills": report.spills,
            "spilling": spilling,
        }
        if spilling or report.fault:
            print(f"{label:42} {', '.join(spilling)} {report.fault}", flush=True)


if __name__ == "__main__":
    main()
