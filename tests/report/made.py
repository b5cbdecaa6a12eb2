"""Outcomes made by hand, of every status, for the tests of whatever shows them."""

from __future__ import annotations

from kernelwright.judge._verdict import Check, Measurement, Ratio, Verdict
from kernelwright.search._outcome import Outcome, Trial, Unmeasured
from kernelwright.targets.plan import Candidate, EntryCall, InputSpec, Plan, TensorSpec
from kernelwright.targets.triton import BuildReport, KernelBuild
from kernelwright.task._task import Cost, Task

REFERENCE = '''import torch
import torch.nn as nn


class Model(nn.Module):
    """Linear layer, GELU and a residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + nn.functional.gelu(self.linear(x))


def get_inputs():
    return [torch.randn(64, 512)]


def get_init_inputs():
    return [512]
'''

SOURCE = """#include "kw/base.h"
// one pass over the rows: product, bias, GELU and residual stay in registers
extern "C" int kernel_0(const float* __restrict x, const float* __restrict w, float* __restrict out, int64_t rows) {
  kw::parallel_for(rows, [=](int64_t row) {
    const float* a = x + row * 512;
    for (int64_t j = 0; j < 512; j += kw::W) {
      auto acc = kw::splat(0.0f);
      for (int64_t k = 0; k < 512; ++k) acc += a[k] * kw::load(w + k * 512 + j);
      kw::store(out + row * 512 + j, kw::load(a + j) + kw::gelu(acc));
    }
  });
  return 0;
}
"""


def task(name: str = "linear_gelu_residual", **changes: object) -> Task:
    """A task in the file format."""
    return Task(**{"name": name, "kind": "kernelbench", "text": REFERENCE, **changes})  # type: ignore[arg-type]


def plan() -> Plan:
    """A plan with one call."""
    x = TensorSpec("x", (64, 512), "float32", (512, 1))
    out = TensorSpec("out", (64, 512), "float32", (512, 1))
    return Plan((InputSpec(("arg", 0), x),), (out,), (EntryCall("kernel_0", ("x", "out")),), ("out",))


def measurement(seconds: float, eager: float = 8e-4, compiled: float = 5.2e-4) -> Measurement:
    """Times with an interval of 4 % around each ratio."""
    rivals = {"eager": eager, "compile": compiled}
    speedup = {k: Ratio(t / seconds, 0.98 * t / seconds, 1.02 * t / seconds) for k, t in rivals.items()}
    return Measurement(seconds, rivals, speedup, 0.58, rounds=60, cold=False)


def accepted(error: float = 0.21) -> Verdict:
    """Three checks passed."""
    return Verdict("accepted", checks=tuple(Check(s, 1, error) for s in ("random", "large", "sparse")), seconds=0.4)


def generated(label: str, source: str = SOURCE) -> Candidate:
    """A candidate of the compiler."""
    return Candidate("cpu", "compiler", source, plan(), label=label, notes=("aten.roll stayed an ATen call",))


def won(name: str = "linear_gelu_residual", seconds: float = 2.9e-4, **changes: object) -> Outcome:
    """A search with baselines, losers of three kinds and a winner."""
    best = generated("compiler/tile=64x128", SOURCE + "// 64x128\n")
    slow = generated("compiler/tile=16x32")
    wrong = Verdict(
        "rejected", "On large inputs 12 of 32768 elements are off by 3.1 bounds.", "value", (Check("large", 1, 3.1),)
    )
    broken = Verdict("rejected", "The compiler rejected the source: no member named 'fma16'.", "build")
    trials = (
        Trial(Candidate("eager", "baseline", "", None, "eager"), accepted(0.1), measurement(8e-4), 0.9),
        Trial(Candidate("compile", "baseline", "", None, "torch.compile"), accepted(0.1), measurement(5.2e-4), 4.1),
        Trial(slow, accepted(), measurement(4.4e-4), 5.6),
        Trial(generated("compiler/bf16", "// a\n"), wrong, None, 6.3),
        Trial(best, accepted(), measurement(seconds), 8.2),
        Trial(generated("compiler/unroll=16", "// b\n"), broken, None, 8.9),
        Trial(generated("compiler/tile=8x8", "// c\n"), accepted(), measurement(6.1e-4), 10.4),
    )
    fields: dict[str, object] = {
        "task": task(name),
        "status": "won",
        "winner": best,
        "verdict": accepted(),
        "measurement": measurement(seconds),
        "candidates": trials,
        "seconds": 11.2,
        "reason": "",
        "from_archive": False,
        "cost": Cost(2 * 64 * 512 * 512, 4 * (2 * 64 * 512 + 512 * 512)),
    }
    return Outcome(**{**fields, **changes})  # type: ignore[arg-type]


def baseline(name: str = "gather", winner: str = "eager") -> Outcome:
    """The user's own program is served."""
    served = Candidate(winner, "baseline", "", None, winner)
    reason = "No part of the task can be lowered."
    trials = (Trial(served, accepted(), measurement(8e-4), 1.0),)
    return Outcome(task(name), "baseline", served, accepted(), measurement(8e-4), trials, 3.0, reason, False, None)


def unscored(name: str = "zeros") -> Outcome:
    """The judge found that anything passes."""
    reason = "A candidate that returns zeros passes, so this task cannot tell right from wrong."
    return Outcome(task(name), "unscored", None, None, None, (), 2.0, reason, False, None)


def unmeasured(name: str = "on-a-gpu") -> Outcome:
    """A kernel for a machine that is not this one: proven, compiled, never timed."""
    kernel = KernelBuild("k0_kernel", (8, 2), 4, 3, 40, 0, 2048, 12, 0.75)
    candidate = Candidate("triton", "compiler", "import triton\n", None, "compiler")
    found = Unmeasured(candidate, Verdict("accepted"), BuildReport("sm_90", (kernel,), 0.5), 2e-6)
    return Outcome(task(name), "unmeasured", None, found.verdict, None, (), 3.0, "", False, None, unmeasured=found)


def failed(name: str = "raises") -> Outcome:
    """The reference raised."""
    return Outcome(task(name), "failed", None, None, None, (), 0.5, "The reference raised ValueError: no.", False, None)


def assert_shape(document: dict) -> None:
    """A document has exactly the documented keys and types, at every level."""
    assert set(document) == {"machine", "versions", "tasks", "summary"}
    assert set(document["summary"]) == {"correct", "fast_1", "fast_2", "geomean"}
    assert set(document["summary"]["geomean"]) == {"eager", "compile"}
    assert all(0 <= document["summary"][key] <= 1 for key in ("correct", "fast_1", "fast_2"))
    for row in document["tasks"]:
        simple = {"task": str, "status": str, "correct": bool, "candidates": int, "seconds": float, "reason": str}
        times = {"first_winner_seconds", "compile_seconds"}
        assert set(row) == {*simple, *times, "speedup", "interval", "roofline", "proposer", "shrunk", "build"}
        assert row["first_winner_seconds"] is None or row["first_winner_seconds"] > 0
        assert all(seconds > 0 for seconds in row["compile_seconds"])
        for key, kind in simple.items():
            assert isinstance(row[key], kind), key
        assert row["status"] in ("won", "baseline", "unmeasured", "unscored", "failed")
        assert (row["build"] is not None) == (row["status"] == "unmeasured")
        assert set(row["speedup"]) == set(row["interval"]) == {"eager", "compile"}
        for rival, ratio in row["speedup"].items():
            assert ratio is None or ratio > 0
            pair = row["interval"][rival]
            assert pair is None or (len(pair) == 2 and pair[0] <= ratio <= pair[1])
        assert row["roofline"] is None or isinstance(row["roofline"], float)
        assert row["proposer"] is None or isinstance(row["proposer"], str)
        assert all(set(size) == {"argument", "dim", "from", "to"} for size in row["shrunk"])
