"""Times what memory bounds, as a share of this machine's bandwidth, and what a call on a few elements costs.

``python benchmarks/memory.py [--threads N] [--match REGEX] [--seconds S] [--out FILE]``. Large cases touch at least
64 MiB; 100 % is what copying and reading reach on this machine, with every input and result counted once (copying is
also timed between the rounds: the better counts). Rivals (eager and ``torch.compile``) take turns with the kernel in
short rounds, so that a busy machine slows all alike; ratios are medians over rounds. Small cases call the served
object, as a user does. Writes ``memory-<machine>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stamp import stamp
from turns import Call, ratios, shown, take_turns

ROOT = Path(__file__).resolve().parents[1]
COPIED = 64 << 20  # bytes that the copy between the rounds reads, and writes


@dataclass(frozen=True)
class Case:
    """``make`` draws the arguments: large ones live one case at a time."""

    group: str
    label: str
    fn: Callable[..., Any]
    make: Callable[[], tuple[Any, ...]]


@dataclass(frozen=True)
class Row:
    """What is known about one case. ``roofline`` is empty for small cases; ``speedup`` is a rival's time over ours,
    [quartile, median, quartile]."""

    group: str
    case: str
    microseconds: float
    gigabytes_per_second: float
    roofline: float | None
    speedup: dict[str, list[float]]
    rounds: int
    compile_seconds: float


def large() -> list[Case]:
    """Every kind of kernel that does little with much, on more than the last cache holds."""
    import torch
    import torch.nn.functional as F

    def drawn(*shape: int) -> Callable[[], tuple[Any, ...]]:
        return lambda: (torch.randn(*shape),)

    def labelled(rows: int, classes: int) -> tuple[Any, ...]:
        return torch.randn(rows, classes), torch.randint(classes, (rows,))

    def rms(x: Any) -> Any:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

    def softmax(x: Any) -> Any:
        return torch.softmax(x, -1)

    def layer_norm(x: Any) -> Any:
        return F.layer_norm(x, x.shape[-1:])

    cases: list[tuple[str, Callable[..., Any], Callable[[], tuple[Any, ...]]]] = [
        ("pointwise chain", lambda x: F.silu(x * 2 + 1), drawn(4096, 4096)),
        ("copy with cast to bfloat16", lambda x: x.to(torch.bfloat16), drawn(4096, 8192)),
        ("transpose", lambda x: x.t().contiguous(), drawn(4096, 4096)),
        ("row sum", lambda x: x.sum(1), drawn(4096, 8192)),
        ("column sum", lambda x: x.sum(0), drawn(4096, 8192)),
        ("softmax, rows of 1024", softmax, drawn(16384, 1024)),
        ("softmax, rows of 393216", softmax, drawn(64, 393216)),
        ("softmax, one row", softmax, drawn(1, 1 << 24)),
        ("logsumexp of everything", lambda x: x.flatten().logsumexp(0), drawn(4096, 8192)),
        ("layer norm, rows of 1024", layer_norm, drawn(16384, 1024)),
        ("layer norm, rows of 393216", layer_norm, drawn(64, 393216)),
        ("RMS norm, rows of 4096", rms, drawn(4096, 4096)),
        ("RMS norm, rows of 393216", rms, drawn(64, 393216)),
        ("Frobenius norm", lambda x: x / x.norm(), drawn(4096, 4096)),
        ("cumulative sum", lambda x: x.cumsum(1), drawn(4096, 4096)),
        ("cross entropy", lambda x, t: F.cross_entropy(x, t), lambda: labelled(8192, 4096)),
        ("max pool", lambda x: F.max_pool2d(x, 2), drawn(16, 64, 128, 128)),
    ]
    return [Case("large", label, fn, make) for label, fn, make in cases]


def small() -> list[Case]:
    """Calls in which little is computed: what is timed is the way to the kernel."""
    import torch

    def drawn(count: int, inputs: int) -> Callable[[], tuple[Any, ...]]:
        return lambda: tuple(torch.randn(count) for _ in range(inputs))

    kinds: list[tuple[str, Callable[..., Any], int]] = [
        ("add", lambda x, y: x + y, 2),
        ("relu", lambda x: x.relu(), 1),
        ("multiply, add", lambda x, y, z: x * y + z, 3),
        ("softmax", lambda x: torch.softmax(x, -1), 1),
    ]
    return [
        Case("small", f"{label} of {count}", fn, drawn(count, inputs))
        for label, fn, inputs in kinds
        for count in (1, 16, 128, 1024)
    ]


def served(case: Case, args: tuple[Any, ...]) -> tuple[Any, float]:
    """The compiler's best guess as the object that a user would call, and the seconds its compilation took."""
    from kernelwright.compiler import emit, prepare
    from kernelwright.search import Kernel, Outcome
    from kernelwright.task import from_callable

    candidate = emit(prepare(case.fn, args))
    task = from_callable(case.fn, args, name=case.label)
    start = time.perf_counter()
    kernel = Kernel(Outcome(task, "won", candidate, None, None, (), 0.0, "", False, None), case.fn, {})
    return kernel, time.perf_counter() - start


def check(case: Case, found: Any, wanted: Any) -> None:
    """Agreement with eager: a benchmark of a wrong kernel says nothing (the judge asks more)."""
    spread = float(wanted.float().square().mean().sqrt())
    error = float((found.float() - wanted.float()).abs().max()) / max(spread, 1e-30)
    if found.shape != wanted.shape or not error < 2e-2:
        raise SystemExit(f"{case.label}: differs from eager by {error:.2g} of its spread")


def least_seconds(read: int, written: int, copy: float, reading: float) -> float:
    """The roofline: as much as can be moves at the rate of copying, further reads at the rate of reading."""
    paired = min(read, written)
    return (2 * paired + max(0, written - read)) / copy / 1e9 + max(0, read - written) / reading / 1e9


def measure(case: Case, copy: float, reading: float, options: argparse.Namespace) -> Row:
    import torch

    args = case.make()
    kernel, compiled = served(case, args)
    wanted = case.fn(*args)
    check(case, kernel(*args), wanted)
    read, written = sum(a.nbytes for a in args), wanted.nbytes
    del wanted
    calls: dict[str, Call] = {"ours": lambda: kernel(*args), "eager": lambda: case.fn(*args)}
    if case.group == "large":
        torch._dynamo.reset()
        inductor = torch.compile(case.fn, dynamic=False)
        calls["torch.compile"] = lambda: inductor(*args)
        source, target = torch.ones(COPIED // 4), torch.ones(COPIED // 4)
        calls["copy"] = lambda: target.copy_(source)
    times = take_turns(calls, options.threads, options.seconds if case.group == "large" else options.seconds / 4)
    best = min(times["ours"])
    if case.group == "large":
        copy = max(copy, 2 * COPIED / min(times.pop("copy")) / 1e9)
    return Row(
        group=case.group,
        case=case.label,
        microseconds=round(1e6 * best, 2),
        gigabytes_per_second=round((read + written) / best / 1e9, 3),
        roofline=round(least_seconds(read, written, copy, max(copy, reading)) / best, 3)
        if case.group == "large"
        else None,
        speedup=ratios(times, "ours"),
        rounds=len(times["ours"]),
        compile_seconds=round(compiled, 2),
    )


def line(row: Row) -> str:
    share = f"{row.roofline:7.0%}" if row.roofline is not None else " " * 7
    return f"{row.case:28s} {row.microseconds:10.2f} us {share}  {row.compile_seconds:4.2f} s  {shown(row.speedup)}"


def summary(rows: list[Row]) -> str:
    shares = [r.roofline for r in rows if r.roofline is not None]
    parts = [f"compiled in {statistics.median(r.compile_seconds for r in rows):.2f} s (median)"]
    if shares:
        parts.insert(0, f"{statistics.median(shares):.0%} of the roofline (median of {len(shares)} large cases)")
    calls = [r.speedup["eager"][1] for r in rows if r.group == "small"]
    if calls:
        parts.insert(-1, f"small calls {statistics.geometric_mean(calls):.2f}x eager (geometric mean)")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--match", default="", help="keep cases whose 'group label' this regular expression finds")
    parser.add_argument("--seconds", type=float, default=2.0, help="for the rounds of one large case")
    parser.add_argument("--out", type=Path, help="where to write ('-': nowhere)")
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(options.threads)))
    import torch

    from kernelwright.machine import peaks
    from suite import machine_slug

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    load, measured = os.getloadavg()[0], peaks()
    rows = []
    with torch.no_grad():
        for case in (*large(), *small()):
            if re.search(options.match, f"{case.group} {case.label}"):
                rows.append(measure(case, measured.copy, measured.read, options))
                print(line(rows[-1]), flush=True)
    if not rows:
        raise SystemExit("no case matches")
    print(summary(rows))
    if options.out != Path("-"):
        document = {
            **stamp(),
            "threads": options.threads,
            "load": round(load, 2),
            "peaks": {"copy": measured.copy, "read": measured.read, "busy": measured.busy},
            "rows": [asdict(row) for row in rows],
        }
        out = options.out or ROOT / f"benchmarks/results/memory-{machine_slug()}.json"
        out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERNELWRIGHT_HOME"] = folder  # an empty cache: compilation and peaks are measured too
        main()
