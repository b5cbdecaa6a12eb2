"""Times products with low-bit weights against what a user would otherwise run, by bits and by rows of activations.

``python benchmarks/lowbit.py [--threads N] [--seconds S] [--out FILE]``. Weights take turns among several copies that
together are larger than the last cache, as the layers of a model do; the floor is reading the weight's bytes at the
bandwidth that this machine reaches (measured between the rounds, 64 MiB). Rivals: torch's linear layer in float32 and
bfloat16, and MatMulNBits of onnxruntime where it and onnx are installed. Writes ``lowbit-<machine>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from stamp import stamp
from turns import ratios, shown, take_turns

ROOT = Path(__file__).resolve().parents[1]
READ = 64 << 20
SHAPES = ((4096, 4096), (12288, 4096), (4096, 11008))
BITS = ("i2", "i3", "i4", "i8")
ROWS = (1, 2, 4, 16, 64, 128)
HELD = 96 << 20  # bytes of copies of a weight: three times the last cache of the machine this was written on


@dataclass(frozen=True)
class Row:
    """One weight at one number of rows. ``floor``: the share of the time that reading the weight alone takes."""

    kind: str
    outputs: int
    inputs: int
    rows: int
    microseconds: float
    megabytes: float
    floor: float
    speedup: dict[str, list[float]]


def turning(calls: list[Callable[[], Any]]) -> Callable[[], Any]:
    """One call after the other, so that no weight is still in a cache when its turn comes."""
    turn = cycle(calls)
    return lambda: next(turn)()


def rivals(outputs: int, inputs: int, x: Any, threads: int) -> dict[str, Callable[[], Any]]:
    """What a user would otherwise run on weights of the same shape."""
    import torch
    import torch.nn.functional as F

    made: dict[str, Callable[[], Any]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        count = max(2, HELD // (outputs * inputs * dtype.itemsize))
        weights = [torch.randn(outputs, inputs).to(dtype) for _ in range(count)]
        low = x.to(dtype)
        made[str(dtype).removeprefix("torch.")] = turning([lambda w=w, low=low: F.linear(low, w) for w in weights])
    found = onnx_product(outputs, inputs, x, threads)
    return {**made, **({"onnxruntime int4": found} if found else {})}


def onnx_product(outputs: int, inputs: int, x: Any, threads: int) -> Callable[[], Any] | None:
    """MatMulNBits of onnxruntime, 4 bits in blocks of 128, or None where it is not installed."""
    try:
        import numpy as np
        import onnx
        import onnxruntime as ort
        from onnx import TensorProto, helper
    except ImportError:
        return None
    rng = np.random.default_rng(0)

    def session() -> Any:
        codes = rng.integers(0, 256, (outputs, inputs // 128, 64), dtype=np.uint8)
        scales = rng.random(outputs * inputs // 128, dtype=np.float32)
        about = {"K": inputs, "N": outputs, "bits": 4, "block_size": 128, "domain": "com.microsoft"}
        node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], **about)
        graph = helper.make_graph(
            [node], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (x.shape[0], outputs))],
            [onnx.numpy_helper.from_array(codes, "w"), onnx.numpy_helper.from_array(scales, "s")],
        )  # fmt: skip
        domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve whoever is next
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    feed = {"x": x.numpy()}
    sessions = [session() for _ in range(max(2, HELD // (outputs * inputs // 2)))]
    return turning([lambda s=s: s.run(None, feed) for s in sessions])


def measure(outputs: int, inputs: int, rows: int, threads: int, seconds: float) -> list[Row]:
    """All widths and all rivals in one run."""
    import torch

    from kernelwright.kernels.lowbit import Product, QuantTensor, tile
    from kernelwright.ops import prepare

    x = torch.randn(rows, inputs)
    calls, sizes = {}, {}
    for kind in BITS:
        bits = int(kind[1])
        size = outputs * inputs * bits // 8
        laid = []
        for _ in range(max(2, HELD // size)):
            codes = torch.randint(0, 2**bits, (outputs, inputs), dtype=torch.uint8)
            laid.append(tile(QuantTensor.of_codes(codes, torch.rand(outputs, inputs // 128) + 0.5, None, kind)))
        product = Product.of(laid[0], x.dtype, False, None)
        kernel = prepare(product)
        if kernel.outcome.winner is None or kernel.outcome.winner.label != "lowbit":
            raise SystemExit(f"{kind} {outputs}x{inputs}: {kernel.outcome.reason}")
        arguments = [product.arguments(x, weight, None) for weight in laid]
        calls[kind] = turning([lambda a=a, k=kernel: k(*a) for a in arguments])
        sizes[kind] = sum(part.numel() * part.element_size() for part in (laid[0].codes, laid[0].scale))
    block = torch.randint(0, 2**62, (READ // 8,))
    calls["read"] = lambda: block.sum()
    with torch.no_grad():
        times = take_turns({**calls, **rivals(outputs, inputs, x, threads)}, threads, seconds)
    pace = min(times["read"]) / READ
    made = []
    for kind in BITS:
        others = {name: each for name, each in times.items() if name != "read"}
        took = statistics.median(times[kind])
        speedup = ratios(others, kind)
        made.append(Row(kind, outputs, inputs, rows, took * 1e6, sizes[kind] / 1e6, sizes[kind] * pace / took, speedup))
    return made


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each shape and number of rows")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    made: list[Row] = []
    for outputs, inputs in SHAPES:
        for rows in ROWS if (outputs, inputs) == SHAPES[0] else (1,):
            for row in measure(outputs, inputs, rows, options.threads, options.seconds):
                made.append(row)
                print(
                    f"{row.kind} {row.outputs}x{row.inputs} rows {row.rows:<4} {row.microseconds:9.1f} us "
                    f"{row.floor:5.0%} of the floor  {shown(row.speedup)}",
                    flush=True,
                )
    from suite import machine_slug

    out = options.out or ROOT / f"benchmarks/results/lowbit-{machine_slug()}.json"
    out.write_text(json.dumps({**stamp(), "threads": options.threads, "rows": [asdict(row) for row in made]}, indent=1))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
