"""Times generated contractions against torch eager, oneDNN and (one thread) OpenBLAS, interleaved; writes JSON.

``python benchmarks/contraction.py [--threads N] [--match REGEX] [--out FILE]``. Every layer goes the way a user's does:
captured, lowered, printed, compiled, loaded; then checked against eager. Rivals take turns in short rounds, so that a
busy machine slows all alike; a ratio is the median over rounds, and one thread counts its own processor time only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stamp import stamp
from turns import ratios, shown, take_turns

ROOT = Path(__file__).resolve().parents[1]
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Ready:
    """A layer with its compiled kernel."""

    layer: Any
    ours: Callable[[], object]
    compile_seconds: float
    kernels: int


@dataclass(frozen=True)
class Row:
    """What is known about one layer. ``speedup``: rival's time over ours, [quartile, median, quartile]."""

    group: str
    case: str
    gflops: float
    peak_percent: float
    speedup: dict[str, list[float]]
    worst: float
    rounds: int
    compile_seconds: float
    kernels: int


def main() -> None:
    options = _options()
    _limit_threads(options.threads)
    import torch
    from layers import layers

    from kernelwright.machine import peaks

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    chosen = [x for x in layers() if re.search(options.match, f"{x.group} {x.label}")]
    measured = peaks()
    rows = []
    load = os.getloadavg()[0]
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(_build, chosen))  # before anything is timed
    with torch.no_grad():
        for ready in built:
            peak = (measured.bf16_core if "bfloat16" in ready.layer.label else measured.fp32_core) * options.threads
            rows.append(_measure(ready, peak, options))
            print(_line(rows[-1]), flush=True)
    print(_summary(rows))
    if options.out != Path("-"):
        document = {
            **stamp(),
            "threads": options.threads,
            "load": round(load, 2),
            "peaks": {"fp32_core": measured.fp32_core, "bf16_core": measured.bf16_core, "busy": measured.busy},
            "rows": [asdict(row) for row in rows],
        }
        out = options.out or ROOT / f"benchmarks/results/contraction-{_slug()}-{options.threads}t.json"
        out.write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--match", default="", help="keep cases whose 'group label' this regular expression finds")
    parser.add_argument("--seconds", type=float, default=1.0, help="for the rounds of one case")
    parser.add_argument("--out", type=Path, help="where to write ('-': nowhere)")
    return parser.parse_args()


def _limit_threads(count: int) -> None:
    """Libraries read these when they are loaded."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(count)))


def _build(layer: Any) -> Ready:
    """Capture one at a time (the exporter is not made for threads), compile beside others."""
    import torch

    from kernelwright.compiler import emit, prepare
    from kernelwright.targets import load

    with _LOCK, torch.no_grad():
        prepared = prepare(layer.fn, layer.args)
        candidate = emit(prepared)
    start = time.perf_counter()
    call = load(candidate, layer.fn, {})
    seconds = time.perf_counter() - start
    return Ready(layer, lambda: call(*layer.args), seconds, len(prepared.kernels))


def _measure(ready: Ready, peak: float, options: argparse.Namespace) -> Row:
    layer = ready.layer
    _check(ready)
    calls = {"ours": ready.ours, "eager": lambda: layer.fn(*layer.args), **layer.rivals}
    times = take_turns(calls, options.threads, options.seconds)
    work = _flops(layer)
    gflops = work / min(times["ours"]) / 1e9
    speedup = ratios(times, "ours")
    return Row(
        group=layer.group,
        case=layer.label,
        gflops=round(gflops, 1),
        peak_percent=round(100e9 * gflops / peak, 1),
        speedup=speedup,
        worst=min(s[1] for s in speedup.values()),
        rounds=len(times["ours"]),
        compile_seconds=round(ready.compile_seconds, 2),
        kernels=ready.kernels,
    )


def _check(ready: Ready) -> None:
    """Agreement with eager: a benchmark of a wrong kernel says nothing (the judge asks more)."""
    expected, got = ready.layer.fn(*ready.layer.args).float(), ready.ours().float()  # type: ignore[attr-defined]
    scale = float(expected.square().mean().sqrt())
    slack = 1e-4 if ready.layer.args[0].element_size() == 4 else 2e-2
    error = float((got - expected).abs().max()) / scale
    if not error < slack * 10:
        raise SystemExit(f"{ready.layer.group} {ready.layer.label}: differs from eager by {error:.2g} of its spread")


def _flops(layer: Any) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        layer.fn(*layer.args)
    return float(counter.get_total_flops()) or 2.0 * layer.args[0].numel()


def _line(row: Row) -> str:
    mark = "  <" if row.worst < 0.9 else ""
    return (
        f"{row.group:13s} {row.case:52s} {row.gflops:6.1f} GFLOP/s {row.peak_percent:5.1f}%  "
        f"{row.compile_seconds:4.2f} s/{row.kernels}  {shown(row.speedup)}{mark}"
    )


def _summary(rows: Sequence[Row]) -> str:
    if not rows:
        return "no case matches"
    compile_seconds = statistics.median(r.compile_seconds for r in rows)
    slow = sum(r.worst < 0.9 for r in rows)
    middle = statistics.geometric_mean(r.worst for r in rows)
    return (
        f"{len(rows)} cases: {middle:.2f}x the best rival (geometric mean), {slow} below 0.9; "
        f"compiled in {compile_seconds:.2f} s (median)"
    )


def _slug() -> str:
    from suite import machine_slug

    return machine_slug()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERNELWRIGHT_HOME"] = folder  # an empty cache: compilation is measured too
        main()
