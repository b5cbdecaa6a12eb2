"""Times generated contractions against torch eager and oneDNN, interleaved, and writes the ratios as JSON.

Run ``python benchmarks/contraction.py [--threads N] [--out FILE]``. Every shape is compiled and checked against float64
first. Times are minima over interleaved rounds, so that a busy machine slows all rivals alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.compiler.contraction_lab import Case, Lab, check, convolution, einsum, weight_gradient  # noqa: E402

Rivals = dict[str, Callable[[], object]]


def _matmul(m: int, n: int, k: int) -> tuple[Case, Rivals]:
    a, w = torch.randn(m, k), torch.randn(n, k)
    linear = torch.ops.mkldnn._linear_pointwise
    rivals: Rivals = {
        "eager": lambda: torch.mm(a, w.t()),
        "onednn": lambda: linear(a, w, None, "none", [], ""),
    }
    return einsum("mk,nk->mn", a, w, label=f"matmul {m}x{n}x{k}"), rivals


def _einsum(spec: str, *shapes: tuple[int, ...]) -> tuple[Case, Rivals]:
    a, b = (torch.randn(*s) for s in shapes)
    return einsum(spec, a, b, label=f"{spec} {shapes[0]} {shapes[1]}"), {"eager": lambda: torch.einsum(spec, a, b)}


def _convolution(x: tuple[int, ...], w: tuple[int, ...], **options: int) -> tuple[Case, Rivals]:
    left, right = torch.randn(*x), torch.randn(*w)
    conv = (torch.conv1d, torch.conv2d, torch.conv3d)[len(x) - 3]
    return convolution(left, right, **options), {"eager": lambda: conv(left, right, None, **options)}  # type: ignore[arg-type]


def _weight_gradient(images: int, channels: int, size: int) -> tuple[Case, Rivals]:
    x, dy = torch.randn(images, channels, size, size), torch.randn(images, channels, size, size)
    grad = torch.nn.grad.conv2d_weight
    return weight_gradient(x, dy), {"eager": lambda: grad(x, (channels, channels, 3, 3), dy, padding=1)}


def shapes() -> Iterator[tuple[Case, Rivals]]:
    """What real networks do: square and skinny products, attention, vectors, and the layers of convolutional nets."""
    yield from (_matmul(n, n, n) for n in (512, 1024, 2048))
    yield _matmul(1024, 3072, 768)
    yield _matmul(16, 4096, 4096)
    yield _einsum("mk,kn->mn", (8192, 64), (64, 4096))
    yield _einsum("bmk,bnk->bmn", (96, 128, 64), (96, 128, 64))
    yield _einsum("bmk,bkn->bmn", (96, 128, 128), (96, 128, 64))
    yield _einsum("bmk,bkn->bmn", (2000, 16, 16), (2000, 16, 16))
    yield _einsum("mk,k->m", (4096, 4096), (4096,))
    yield _einsum("km,k->m", (4096, 4096), (4096,))
    yield _einsum("km,kn->mn", (60000, 64), (60000, 64))
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield _convolution((8, channels, size, size), (channels, channels, 3, 3), padding=1)
    yield _convolution((4, 3, 224, 224), (64, 3, 7, 7), padding=3, stride=2)
    yield _convolution((8, 64, 56, 56), (256, 64, 1, 1))
    yield _convolution((8, 128, 56, 56), (128, 128, 3, 3), padding=1, stride=2)
    yield _convolution((2, 16, 16, 32, 32), (32, 16, 3, 3, 3), padding=1)
    yield _convolution((4, 32, 4000), (64, 32, 5), padding=2)
    yield _convolution((8, 96, 56, 56), (96, 1, 7, 7), padding=3, groups=96)
    yield _convolution((8, 96, 56, 56), (96, 1, 3, 3), padding=1, groups=96)
    yield _convolution((8, 768, 7, 7), (768, 1, 7, 7), padding=3, groups=768)
    yield _convolution((2, 64, 56, 56), (64, 1, 31, 31), padding=15, groups=64)
    yield _weight_gradient(8, 64, 28)


def measure(calls: dict[str, Callable[[], object]], flops: float, threads: int, rounds: int) -> dict[str, float]:
    """Seconds per call of each rival; one thread counts its own processor time only."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    repeat = max(1, int(3e8 / flops))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            for _ in range(repeat):
                call()
            best[name] = min(best[name], (clock() - start) / repeat)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/contraction.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        lab, rivals = Lab(Path(folder)), []
        for case, others in shapes():
            lab.add(case)
            rivals.append(others)
        library = lab.build()
        for number, others in enumerate(rivals):
            check(lab, library, number)
            rows.append(_row(lab, number, {"ours": lab.call(library, number), **others}, options))
    model = next((x.split(": ")[1] for x in _cpuinfo() if x.startswith("model name")), platform.processor())
    result = {"machine": {"cpu": model, "threads": options.threads}, "torch": torch.__version__, "rows": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def _row(
    lab: Lab, number: int, calls: dict[str, Callable[[], object]], options: argparse.Namespace
) -> dict[str, object]:
    case = lab.cases[number]
    flops = 2.0
    for axis in (*case.reduce.axes, *case.reduce.raxes):
        flops *= int(axis.size)
    times = measure(calls, flops, options.threads, options.rounds)
    ratios = {name: round(t / times["ours"], 3) for name, t in times.items() if name != "ours"}
    print(f"{case.label:60s} {flops / times['ours'] / 1e9:7.1f} GFLOP/s  {ratios}", flush=True)
    return {"case": case.label, "gflops": round(flops / times["ours"] / 1e9, 1), "speedup": ratios}


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().replace("\t", "").splitlines() if path.exists() else []


if __name__ == "__main__":
    with torch.no_grad():
        main()
