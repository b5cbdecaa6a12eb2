"""Everything that a GPU should measure, in one command: ``python benchmarks/gpu.py [--seconds S] [--match REGEX]``.

Every case is compiled by our Triton generator, compared with float64 on the same GPU (it may be as wrong as eager is,
or a few roundings), then timed in turns with eager and ``torch.compile``: CUDA events, the L2 cache flushed before each
call, the device waited for at the end of a turn, outputs allocated anew. Several schedules are tried; the fastest right
one is compared. Results are written case by case to ``results/gpu-<device>.json``: a run that was stopped goes on where
it stopped, and one that is over its seconds stops after the case it is at. Without a GPU it says so, and that is all.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from turns import ratios, shown

import suite
from kernelwright.compiler import prepare
from kernelwright.machine import H200, find_gpu
from kernelwright.search._triton import TritonProposer
from kernelwright.targets import Candidate
from kernelwright.targets import load as load_candidate

RESULTS = Path(__file__).parent / "results"
TRIED = 5  # schedules of a case
ROUNDS = 25
FLUSH = 256 << 20  # bytes: more than the L2 cache of any GPU
ROUNDINGS = 16  # of the result's dtype, relative to its largest magnitude, that are no error
UNIT = {torch.float32: 2.0**-23, torch.float64: 2.0**-52, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """``make`` builds a module and its inputs, on the CPU; ``flops`` and ``bytes`` of one call where they are known."""

    label: str
    make: Callable[[], tuple[torch.nn.Module, tuple[Any, ...]]]
    flops: float = 0.0
    bytes: float = 0.0


class Apply(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


def cases() -> Iterator[Case]:
    """Products, what memory bounds, and our suite."""
    for dtype, side in ((torch.bfloat16, 8192), (torch.float16, 4096), (torch.float32, 2048)):
        yield Case(f"matmul {dtype} {side}", _product(dtype, side), flops=2.0 * side**3)
    element = 8192 * 8192 * 4
    for label, function, count in (
        ("copy", lambda x: x + 1, 2), ("row softmax", lambda x: torch.softmax(x, -1), 2),
        ("row sum", lambda x: x.sum(-1), 1), ("layer norm", lambda x: torch.layer_norm(x, (8192,)), 2),
        ("transpose", lambda x: x.t().contiguous(), 2),
    ):  # fmt: skip
        yield Case(f"memory {label}", _on_square(function), bytes=float(count * element))
    for path in suite.task_files():
        yield Case(f"suite {path.parent.name}/{path.stem}", lambda path=path: _task(path))


def _product(dtype: torch.dtype, side: int) -> Callable[[], tuple[torch.nn.Module, tuple[Any, ...]]]:
    return lambda: (Apply(torch.matmul), tuple(torch.randn(side, side).to(dtype) for _ in range(2)))


def _on_square(function: Callable[..., Any]) -> Callable[[], tuple[torch.nn.Module, tuple[Any, ...]]]:
    return lambda: (Apply(function), (torch.randn(8192, 8192),))


def _task(path: Path) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    module = suite.load(path)
    return suite.build(module), tuple(suite.draw(module, 1))


# ── one case ──


def run(case: Case) -> dict[str, Any]:
    """The row of one case; what fails says why."""
    model, inputs = case.make()
    proposer = TritonProposer(prepare(model, inputs), case.label)
    candidates = proposer.propose(TRIED)
    model, inputs = model.cuda(), _moved(inputs, lambda x: x.cuda())
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        calls = {c.label: _call(c, model, state, inputs) for c in candidates}
        right = {name: call for name, call in calls.items() if _is_right(call, model, inputs)}
        if not right:
            return {"case": case.label, "status": "wrong" if calls else "not lowered", "tried": len(calls)}
        glance = {name: statistics.median(times) for name, times in _timed(right, 5).items()}
        best = min(glance, key=lambda name: glance[name])
        compiled = torch.compile(model, dynamic=False)
        rivals = {"eager": lambda: model(*inputs), "compile": lambda: compiled(*inputs)}
        times = _timed({"kernelwright": right[best], **rivals}, ROUNDS)
    row = {"case": case.label, "status": "right", "schedule": best, "tried": len(calls), "right": len(right)}
    row["microseconds"] = round(statistics.median(times["kernelwright"]) * 1e6, 2)
    row["speedup"] = ratios(times, "kernelwright")
    if case.bytes:
        row["of_bandwidth"] = round(case.bytes / min(times["kernelwright"]) / H200.bandwidth, 3)
    if case.flops:
        row["teraflops"] = round(case.flops / min(times["kernelwright"]) / 1e12, 1)
    return row


def _call(
    candidate: Candidate, model: torch.nn.Module, state: dict[str, torch.Tensor], inputs: tuple[Any, ...]
) -> Call:
    function = load_candidate(candidate, model, state)
    return lambda: function(*inputs)


def _is_right(call: Call, model: torch.nn.Module, inputs: tuple[Any, ...]) -> bool:
    """No further from float64 than twice eager, or a few roundings of the result's own dtype."""
    got, eager = (torch.utils._pytree.tree_leaves(result) for result in (call(), model(*inputs)))
    wide = [p.data for p in (*model.parameters(), *model.buffers())]
    model.double()
    try:
        exact = model(*_moved(inputs, lambda x: x.double() if x.is_floating_point() else x))
    finally:
        for tensor, before in zip((*model.parameters(), *model.buffers()), wide, strict=True):
            tensor.data = before
    for mine, theirs, truth in zip(got, eager, torch.utils._pytree.tree_leaves(exact), strict=True):
        if not truth.is_floating_point():
            if not torch.equal(mine, theirs):
                return False
            continue
        allowed = 2 * (theirs - truth).abs().max() + ROUNDINGS * UNIT[mine.dtype] * truth.abs().max()
        if not bool((mine - truth).abs().max() <= allowed):
            return False
    return True


def _moved(inputs: tuple[Any, ...], move: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, ...]:
    return torch.utils._pytree.tree_map_only(torch.Tensor, move, inputs)


def _timed(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds by rival and round, in turns."""
    flush = torch.empty(FLUSH, dtype=torch.uint8, device="cuda")
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for _ in range(rounds):
        names = names[1:] + names[:1]
        for name in names:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            begin.record()
            calls[name]()
            end.record()
            torch.cuda.synchronize()
            times[name].append(begin.elapsed_time(end) / 1e3)
    return times


# ── the run ──


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--match", default="")
    options = parser.parse_args()
    device = find_gpu()
    if not device:
        print("There is no GPU here that torch can use: nothing was measured.")
        return 0
    out = RESULTS / f"gpu-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.json"
    known = json.loads(out.read_text())["rows"] if out.exists() else []
    rows = {row["case"]: row for row in known}
    end = time.monotonic() + options.seconds
    for case in cases():
        if case.label in rows or not re.search(options.match, case.label) or time.monotonic() > end:
            continue
        try:
            row = run(case)
        except Exception as error:  # one case must not cost the others their measurement
            row = {"case": case.label, "status": "failed", "reason": f"{type(error).__name__}: {str(error)[:300]}"}
        rows[case.label] = row
        versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
        out.write_text(
            json.dumps({"device": device, "versions": versions, "rows": list(rows.values())}, indent=1) + "\n"
        )
        print(_line(row), flush=True)
        torch._dynamo.reset()
    print(_summary(list(rows.values())))
    return 0


def _line(row: dict[str, Any]) -> str:
    if row["status"] != "right":
        return f"{row['case']:44} {row['status']} {row.get('reason', '')}"
    extra = "".join(f"  {row[key]} {key}" for key in ("of_bandwidth", "teraflops") if key in row)
    return f"{row['case']:44} {row['microseconds']:10.1f} us  {shown(row['speedup'])}{extra}"


def _summary(rows: list[dict[str, Any]]) -> str:
    right = [row for row in rows if row["status"] == "right"]
    lines = [f"{len(right)} of {len(rows)} cases are right."]
    for rival in ("eager", "compile"):
        found = [row["speedup"][rival][1] for row in right]
        if found:
            lines.append(f"geometric mean against {rival}: {statistics.geometric_mean(found):.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
