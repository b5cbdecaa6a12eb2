"""Times sums over pairs against PyKeOps and against torch in blocks, and holds their errors against a derived bound.

``python benchmarks/pairwise.py [--depth D ...] [--points N] [--rounds R] [--threads T] [--memory] [--out FILE]``.
Points are normal, the bandwidth is the square root of their coordinates, so that exponents are of the order of one.
Rivals take turns with ours in every round, the best turn of each counts (ours are short and have several); on one
thread it is processor time, so that other programs cost nobody anything. Torch in blocks is what a careful user would
write: norms, a matrix product and an exponential, in place, for so many rows at a time; and as most would, with
``cdist``. PyKeOps takes part where it is installed, up to 64 coordinates (it needs minutes for 784). Rows of other
depths stay in ``pairwise-<machine>.json``.

The bound, in units of ``sum_j |v_j|`` (every weight is at most 1): a sum of m terms in blocks of 48 rounds at most
``48 + m / 48 + 16`` times, an exponential is off by a unit, and its exponent s, of d squares, by ``(d + 4) eps s``
(times 16 where the distance comes from norms, kw/pairwise.h); ``s e^-s`` is at most ``1 / e``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stamp import stamp

ROOT = Path(__file__).resolve().parents[1]
DEPTHS = (3, 16, 64, 784)
_BLOCKS = (500, 2000)
_KEOPS_DEPTH = 64
_TURNS = 8
_FLOPS = 22  # of an exponential and of adding its product, two for a multiply-add
_MEMORY_POINTS = 20000
_MANY = 16  # coordinates from which kw/pairwise.h goes through norms


@dataclass(frozen=True)
class Row:
    """One sum. ``peak``: the share of the time that its floating-point operations take at the machine's peak.

    ``speedup``: the others' best time over this one's.
    """

    case: str
    depth: int
    points: int
    threads: int
    seconds: float
    pairs_per_second: float
    peak: float
    error: float
    bound: float
    speedup: dict[str, float]


def in_blocks(x: Any, z: Any, v: Any, scale: float, rows: int) -> Any:
    """The sum as a user of torch would write it, so many rows at a time."""
    import torch

    lengths, parts = z.square().sum(1), []
    for part in x.split(rows):
        square = (part.square().sum(1, keepdim=True) + lengths).addmm_(part, z.T, alpha=-2)
        parts.append(square.mul_(-scale).exp_() @ v)
    return torch.cat(parts)


def keops(x: Any, z: Any, v: Any, scale: float) -> Callable[[], Any] | None:
    """The sum by PyKeOps; None where it is not installed."""
    try:
        from pykeops.torch import LazyTensor
    except ImportError:
        return None
    left, right = LazyTensor(x[:, None, :].contiguous()), LazyTensor(z[None].contiguous())
    return lambda: (-((left - right) ** 2).sum(-1) * scale).exp() @ v


def measure(depth: int, points: int, rounds: int, threads: int, peak: float) -> list[Row]:
    """Two sets of points against the rivals, and one set (half the work) against two."""
    import torch

    from kernelwright.ops import gaussian

    x, z, v = torch.randn(points, depth), torch.randn(points, depth), torch.randn(points, 1)
    width, scale = depth**0.5, 0.5 / depth
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: gaussian(x, z, width) @ v,
        "ours, one set": lambda: gaussian(x, x, width) @ v,
    }
    for rows in _BLOCKS:
        calls[f"torch, {rows} rows"] = lambda rows=rows: in_blocks(x, z, v, scale, rows)
    if depth <= _KEOPS_DEPTH and keops(x[:9], z[:9], v[:9], scale) is not None:
        calls["pykeops"] = lambda: keops(x, z, v, scale)()  # type: ignore[misc]
        keops(x[:99], z[:99], v[:99], scale)()  # type: ignore[misc]
    if depth <= _KEOPS_DEPTH:
        calls["torch, cdist"] = lambda: torch.cat([(torch.cdist(a, z) ** 2 * -scale).exp() @ v for a in x.split(2000)])
    in_blocks(x[:4000], z[:4000], v[:4000], scale, 500)
    for name in ("ours", "ours, one set"):
        calls[name]()
    clock = time.thread_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(_TURNS if name.startswith("ours") and depth <= _KEOPS_DEPTH else 1):
                start = clock()
                call()
                times[name].append(clock() - start)
    best = {name: min(each) for name, each in times.items()}
    made = []
    for name, other in (("ours", z), ("ours, one set", x)):
        flops = (2 * depth + _FLOPS) * points**2 / (1 if name == "ours" else 2)
        speedup = {rival: round(best[rival] / best[name], 2) for rival in calls if rival != name}
        error, bound = error_of(calls[name](), x, other, v, scale), bound_of(points, depth)
        share = flops / peak / best[name]
        made.append(Row(name, depth, points, threads, best[name], points**2 / best[name], share, error, bound, speedup))
        print(
            f"d {depth:<4} {name}: {best[name]:.3f} s, {points**2 / best[name] / 1e9:.3f} G pairs/s, "
            f"{share:.0%} of the peak, error {error:.1e} (bound {bound:.1e}), times as fast as {speedup}",
            flush=True,
        )
    return made


def error_of(made: Any, x: Any, z: Any, v: Any, scale: float) -> float:
    """The largest error of a sample of rows, in units of the sum of |v|."""
    import torch

    chosen = torch.arange(0, len(x), max(1, len(x) // 64))
    exact = torch.exp(-scale * torch.cdist(x[chosen].double(), z.double()) ** 2) @ v.double()
    return float((made[chosen].double() - exact).abs().max() / v.double().abs().sum())


def bound_of(m: int, depth: int) -> float:
    """How large the error may be in those units (above)."""
    exponent = (depth + 4) * (16 if depth >= _MANY else 1) / 2.718281828
    return 2.0**-24 * (48 + m / 48 + 16 + 2 + exponent)


def memory(kind: str) -> int:
    """KiB by which the process grows for one sum of 20 000 by 20 000 pairs, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--grow", kind], capture_output=True, text=True, check=True, env=os.environ
    )
    return int(done.stdout.split()[-1])


def grow(kind: str) -> None:
    """Print by how many KiB the largest resident set grows."""
    import torch

    from kernelwright.ops import gaussian

    x, z, v = torch.randn(_MEMORY_POINTS, 16), torch.randn(_MEMORY_POINTS, 16), torch.randn(_MEMORY_POINTS, 1)
    gaussian(x[:64], z[:64]).prepare()
    gaussian(x[:4096], z[:4096]) @ v[:4096]
    in_blocks(x[:64], z[:64], v[:64], 0.5, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _ = gaussian(x, z) @ v if kind == "ours" else in_blocks(x, z, v, 0.5, _MEMORY_POINTS)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20000)
    parser.add_argument("--depth", type=int, nargs="*", default=DEPTHS, help="coordinates of the points")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory", action="store_true", help="also measure memory (2 GB for the dense matrix)")
    parser.add_argument("--grow", choices=("ours", "dense"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.grow:
        grow(options.grow)
        return
    import torch

    from kernelwright.machine import peaks

    torch.set_num_threads(options.threads)
    peak = peaks().flops("float32") * options.threads / (os.cpu_count() or 1)
    made = [row for d in options.depth for row in measure(d, options.points, options.rounds, options.threads, peak)]
    grown = {kind: memory(kind) for kind in ("ours", "dense")} if options.memory else {}
    if grown:
        print(f"memory: {grown['ours']} KiB, the dense matrix {grown['dense']} KiB")
    from suite import machine_slug

    out = options.out or ROOT / f"benchmarks/results/pairwise-{machine_slug()}.json"
    before = json.loads(out.read_text()) if out.exists() else {"rows": [], "kib": {}}
    anew = {(row.depth, row.threads) for row in made}
    rows = [row for row in before["rows"] if (row["depth"], row["threads"]) not in anew] + [asdict(row) for row in made]
    about = {**stamp(), "peak_flops": peak, "kib": grown or before["kib"]}
    out.write_text(
        json.dumps({**about, "rows": sorted(rows, key=lambda row: (row["threads"], row["depth"]))}, indent=1) + "\n"
    )
    print(f"written to {out}")


if __name__ == "__main__":
    main()
