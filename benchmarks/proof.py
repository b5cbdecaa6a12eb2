"""Counts of how many of the suite's kernels the indices are proved; writes JSON.

``python benchmarks/proof.py [--match TEXT] [--seconds S] [--out FILE]``. Every task is captured, lowered and printed
with the first schedule of each kernel, and its source handed to the proof; nothing is compiled, run or judged.
Ctrl-C writes what is done.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import multiprocessing
import re
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "benchmarks/suite"
SPREAD = 12  # tasks are taken so that what an interrupted run has seen is spread over the suite


def main() -> None:
    options = _options()
    paths = [p for p in sorted(SUITE.glob("level*/*.py")) if options.match in f"{p.parent.name}/{p.stem}"]
    spread = [path for first in range(SPREAD) for path in paths[first::SPREAD]]
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(2) as pool, contextlib.suppress(KeyboardInterrupt):
        for row in pool.imap_unordered(functools.partial(_row, seconds=options.seconds), spread):
            rows.append(row)
            print(_line(row), flush=True)
    rows.sort(key=lambda row: str(row["task"]))
    totals = _totals(rows)
    print(json.dumps(totals, indent=1))
    if options.out == Path("-"):
        return
    from kernelwright.machine import describe, versions
    from suite import machine_slug

    machine = describe()
    document = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": asdict(machine),
        "versions": versions(),
        "limit_seconds": options.seconds,
        "complete": len(rows) == len(paths),
        "totals": totals,
        "rows": rows,
    }
    out = options.out or ROOT / f"benchmarks/results/proof-{machine_slug()}.json"
    out.write_text(json.dumps(document, indent=1, default=str) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="keep tasks whose level/name contains this")
    parser.add_argument("--seconds", type=float, default=3.0, help="limit of one proof")
    parser.add_argument("--out", type=Path, help="where to write ('-': nowhere)")
    return parser.parse_args()


def _row(path: Path, seconds: float) -> dict[str, Any]:
    """What is proved of one task's first candidate."""
    from kernelwright.compiler import capture, emit
    from kernelwright.compiler._pipeline import prepare_captured
    from kernelwright.compiler.proof import prove
    from kernelwright.task import from_source, load

    task = from_source(str(path))
    reference = load(task)
    captured = capture(reference.call, reference.draw(0, "given"), task.dynamic)
    candidate = emit(prepare_captured(captured))
    start = time.process_time()
    proof = prove(candidate, seconds)
    spent = time.process_time() - start
    found: dict[str, Any] = proof.to_json()["indices"]  # type: ignore[assignment]
    return {"task": f"{path.parent.name}/{path.stem}", "cpu_seconds": round(spent, 3), **found}


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    kernels = [k for row in rows for k in row["kernels"]]
    generated = [row for row in rows if row["kernels"] or "ATen" not in (row["why_not"] or "")]
    reasons = Counter(_reason(k["why_not"]) for k in kernels if not k["proved"])
    reasons.update(_reason(row["why_not"]) for row in generated if row["why_not"])
    times = [row["cpu_seconds"] for row in generated]
    return {
        "tasks": len(generated),
        "tasks_proved": sum(row["proved"] for row in generated),
        "tasks_proved_once": sum(row["once"] for row in generated),
        "kernels": len(kernels),
        "kernels_proved": sum(k["proved"] for k in kernels),
        "cpu_seconds_median": statistics.median(times) if times else 0.0,
        "cpu_seconds_max": max(times, default=0.0),
        "why_not": dict(reasons.most_common()),
    }


def _reason(text: str) -> str:
    """A reason without its line, names and numbers."""
    text = re.sub(r"\(it depends on .* that is only", "(it depends on a value that is only", text)
    text = re.sub(r"lines? \d+( and \d+)?", "a line", text)
    return re.sub(r"(reads|writes|of|element of) (arg|out|p_|b_|t|k)\w*", r"\1 a tensor", text)


def _line(row: dict[str, Any]) -> str:
    done = sum(k["proved"] for k in row["kernels"])
    why = next((k["why_not"] for k in row["kernels"] if not k["proved"]), row["why_not"] or "")
    return f"{row['task']:<44} {done:>3}/{len(row['kernels']):<3} {row['cpu_seconds']:6.2f} s  {why}"


if __name__ == "__main__":
    main()
