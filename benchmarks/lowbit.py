"""Times products with low-bit weights against what a user would otherwise run, by bits and by rows of activations.

``python benchmarks/lowbit.py [--threads N] [--seconds S] [--out FILE]``. Integers are multiplied by their digits ("i4")
or looked up ("i2 tables"), sign planes looked up ("2 planes"). Weights take turns among several copies that together
are larger than the last cache, as the layers of a model do; the floor is reading the weight's bytes at the bandwidth
that this machine reaches (measured between the rounds, 64 MiB). Rivals: torch's linear layer in float32 and bfloat16,
and MatMulNBits of onnxruntime where it and onnx are installed.

Kernels are judged on small weights first: their sources name no size, so that those judged are those timed. Writes
``lowbit-<machine>.json`` after each number of rows; what is there already, of the same kernels and versions, is not
measured again. Judging and the numbers of rows (``--seconds`` each) take most of a run, laying weights out the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from stamp import stamp
from turns import ratios, shown, take_turns

ROOT = Path(__file__).resolve().parents[1]
READ = 64 << 20
SHAPES = ((4096, 4096), (12288, 4096), (4096, 11008))
BITS = ("i2", "i3", "i4", "i8")
LOOKED_UP = ("i1", "i2")
PLANES = (1, 2, 3, 4)
GROUP = 128
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


def weights_of(outputs: int, inputs: int) -> dict[str, tuple[Any, Any]]:
    """Every way to compute, by name: its product, and one weight laid out for it."""
    import torch

    from kernelwright.kernels.lowbit import BinaryTensor, LutProduct, Product, QuantTensor, tile, tile_binary

    groups = inputs // GROUP
    made: dict[str, tuple[Any, Any]] = {}
    for kind in dict.fromkeys((*BITS, *LOOKED_UP)):
        codes = torch.randint(0, 2 ** int(kind[1]), (outputs, inputs), dtype=torch.uint8)
        laid = tile(QuantTensor.of_codes(codes, torch.rand(outputs, groups) + 0.5, None, kind))
        for name in [kind] * (kind in BITS) + [f"{kind} tables"] * (kind in LOOKED_UP):
            made[name] = Product.of(laid, torch.float32, False, None), laid
    for count in PLANES:
        planes = torch.randint(0, 256, (count, outputs, inputs // 8), dtype=torch.uint8)
        binary = tile_binary(
            BinaryTensor(planes, torch.rand(count, outputs, groups) + 0.5, None, (outputs, inputs), GROUP)
        )
        made[f"{count} planes"] = LutProduct.of(binary, torch.float32), binary
    return made


def candidate_of(name: str, product: Any) -> Any:
    """The candidate that computes a product in the way of that name."""
    from kernelwright.kernels.lowbit import LutProduct, candidate, counts_candidate, lut_candidate

    if isinstance(product, LutProduct):
        return lut_candidate(product)
    return counts_candidate(product) if name.endswith("tables") else candidate(product)


def judge_all() -> None:
    """Every source once, on a small weight: what is not accepted is not timed."""
    from kernelwright.judge import Session
    from kernelwright.task import DynamicSize, from_callable

    for name, (product, _) in weights_of(48, 2 * GROUP).items():
        start = time.perf_counter()
        task = from_callable(product, product.example(1), name=name, dynamic=(DynamicSize(0, 0, 1, 512),))
        with Session(replace(task, key=repr(product))) as session:
            session.start()
            verdict = session.verify(candidate_of(name, product))
        if not verdict.accepted:
            raise SystemExit(f"{name}: {verdict.reason}")
        print(f"{name}: accepted after {time.perf_counter() - start:.0f} s", flush=True)


def own_calls(outputs: int, inputs: int) -> tuple[dict[str, Callable[[Any], Callable[[], Any]]], dict[str, int]]:
    """For each way, what makes its calls for given activations; and the bytes that it must read."""
    from kernelwright.targets import load

    calls: dict[str, Callable[[Any], Callable[[], Any]]] = {}
    sizes: dict[str, int] = {}
    for name, (product, laid) in weights_of(outputs, inputs).items():
        kernel = load(candidate_of(name, product), product, {})
        scale = laid.alpha if hasattr(laid, "alpha") else laid.scale
        sizes[name] = sum(part.numel() * part.element_size() for part in (laid.codes, scale))
        copies = [replace(laid, codes=laid.codes.clone()) for _ in range(max(2, HELD // sizes[name]))]

        def make(x: Any, product: Any = product, kernel: Any = kernel, copies: list[Any] = copies) -> Callable[[], Any]:
            arguments = [product.arguments(x, weight, None) for weight in copies]
            return turning([lambda a=a: kernel(*a) for a in arguments])

        calls[name] = make
    return calls, sizes


def rivals(outputs: int, inputs: int, threads: int) -> dict[str, Callable[[Any], Callable[[], Any]]]:
    """What a user would otherwise run on weights of the same shape."""
    import torch
    import torch.nn.functional as F

    made: dict[str, Callable[[Any], Callable[[], Any]]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        count = max(2, HELD // (outputs * inputs * dtype.itemsize))
        weights = [torch.randn(outputs, inputs).to(dtype) for _ in range(count)]

        def make(x: Any, weights: list[Any] = weights, dtype: Any = dtype) -> Callable[[], Any]:
            low = x.to(dtype)
            return turning([lambda w=w: F.linear(low, w) for w in weights])

        made[str(dtype).removeprefix("torch.")] = make
    found = onnx_product(outputs, inputs, threads)
    return {**made, **({"onnxruntime int4": found} if found else {})}


def onnx_product(outputs: int, inputs: int, threads: int) -> Callable[[Any], Callable[[], Any]] | None:
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
        codes = rng.integers(0, 256, (outputs, inputs // GROUP, GROUP // 2), dtype=np.uint8)
        scales = rng.random(outputs * inputs // GROUP, dtype=np.float32)
        about = {"K": inputs, "N": outputs, "bits": 4, "block_size": GROUP, "domain": "com.microsoft"}
        node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], **about)
        graph = helper.make_graph(
            [node], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("m", inputs))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("m", outputs))],
            [onnx.numpy_helper.from_array(codes, "w"), onnx.numpy_helper.from_array(scales, "s")],
        )  # fmt: skip
        domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve whoever is next
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    sessions = [session() for _ in range(max(2, HELD // (outputs * inputs // 2)))]

    def make(x: Any) -> Callable[[], Any]:
        feed = {"x": x.numpy()}
        return turning([lambda s=s: s.run(None, feed) for s in sessions])

    return make


def measure(outputs: int, inputs: int, rows: Iterable[int], threads: int, seconds: float) -> Iterator[list[Row]]:
    """All ways and all rivals in one run for each number of rows."""
    import torch

    own, sizes = own_calls(outputs, inputs)
    makers = {**own, **rivals(outputs, inputs, threads)}
    block = torch.randint(0, 2**62, (READ // 8,))
    for count in rows:
        x = torch.randn(count, inputs)
        calls = {"read": lambda: block.sum(), **{name: make(x) for name, make in makers.items()}}
        with torch.no_grad():
            times = take_turns(calls, threads, seconds)
        pace = min(times.pop("read")) / READ
        made = []
        for name in own:
            took = statistics.median(times[name])
            floor = sizes[name] * pace / took
            made.append(Row(name, outputs, inputs, count, took * 1e6, sizes[name] / 1e6, floor, ratios(times, name)))
        yield made


def known(out: Path, about: dict[str, Any]) -> list[Row]:
    """The rows of an earlier run with the same kernels, machine, versions and threads."""
    if not out.exists():
        return []
    held = json.loads(out.read_text())
    same = all(held.get(name) == about[name] for name in ("machine", "versions", "threads", "sources"))
    return [Row(**row) for row in held["rows"]] if same else []


def sources() -> str:
    """What says which kernels were timed."""
    from kernelwright.targets.cpu import toolchain

    texts = [candidate_of(name, product).source for name, (product, _) in weights_of(48, 2 * GROUP).items()]
    return hashlib.sha256("\0".join((toolchain(), *texts)).encode()).hexdigest()[:16]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each shape and number of rows")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    from suite import machine_slug

    out = options.out or ROOT / f"benchmarks/results/lowbit-{machine_slug()}.json"
    about = json.loads(json.dumps({**stamp(), "threads": options.threads, "sources": sources()}))
    made = known(out, about)
    begun = time.perf_counter()
    judge_all()
    print(f"judging took {time.perf_counter() - begun:.0f} s", flush=True)
    for outputs, inputs in SHAPES:
        done = {row.rows for row in made if (row.outputs, row.inputs) == (outputs, inputs)}
        left = [rows for rows in (ROWS if (outputs, inputs) == SHAPES[0] else (1,)) if rows not in done]
        for rows in measure(outputs, inputs, left, options.threads, options.seconds) if left else ():
            made += rows
            for row in rows:
                print(
                    f"{row.kind:<9} {row.outputs}x{row.inputs} rows {row.rows:<4} {row.microseconds:9.1f} us "
                    f"{row.floor:5.0%} of the floor  {shown(row.speedup)}",
                    flush=True,
                )
            out.write_text(json.dumps({**about, "rows": [asdict(row) for row in made]}, indent=1))
    print(f"written to {out} after {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
