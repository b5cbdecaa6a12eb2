"""What is known of where a kernel's time goes, in sentences for a prompt."""

from __future__ import annotations

from ..judge import Measurement
from ..machine import Machine, Peaks
from ..task import Cost

_NEAR = 0.7  # of the roofline: from here on little is left to gain


def machine_facts(machine: Machine, peaks: Peaks | None) -> list[str]:
    """What a kernel must know of the machine, one fact a line."""
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads",
        f"vectors of {machine.simd_bits} bits ({machine.simd_bits // 32} float lanes); {' '.join(machine.isa)}",
        f"caches: {machine.l1d >> 10} KiB L1 and {machine.l2 >> 10} KiB L2 for each core, {machine.l3 >> 20} MiB L3",
    ]
    if peaks is not None:
        lines.append(
            f"measured peaks: {peaks.copy:.0f} GB/s to and from memory, {peaks.l2:.0f} GB/s from L2, "
            f"{peaks.fp32_core / 1e9:.0f} GFLOP/s in float32 on a core"
        )
    return lines


def work_facts(cost: Cost | None, machine: Machine, peaks: Peaks | None, dtype: str) -> list[str]:
    """How much there is to do, and what bounds it."""
    if cost is None or cost.bytes <= 0:
        return []
    lines = [f"one call takes {cost.flops:.3g} floating point operations and moves at least {cost.bytes:.3g} bytes"]
    fits = next((n for n, s in (("L1", machine.l1d), ("L2", machine.l2), ("L3", machine.l3)) if cost.bytes <= s), "")
    lines.append(f"all of its data fits into {fits}" if fits else "its data does not fit into any cache")
    if peaks is not None:
        moving, computing = cost.bytes / (peaks.copy * 1e9), cost.flops / peaks.flops(dtype)
        bound = "memory" if moving > computing else "arithmetic"
        lines.append(f"it is bound by {bound}: the roofline allows {max(moving, computing) * 1e6:.3g} us at best")
    return lines


def time_facts(measurement: Measurement | None) -> list[str]:
    """How fast a kernel was, and how far from what the machine allows."""
    if measurement is None:
        return []
    lines = [f"{measurement.seconds * 1e6:.4g} us a call, with {'cold' if measurement.cold else 'warm'} caches"]
    for rival, ratio in measurement.speedup.items():
        lines.append(f"{ratio.median:.2f} times as fast as {rival} (between {ratio.lo:.2f} and {ratio.hi:.2f})")
    if measurement.roofline is not None:
        share = measurement.roofline
        lines.append(
            f"{share:.0%} of the roofline: "
            + ("little is left but overhead" if share >= _NEAR else "most of the time goes elsewhere")
        )
    return lines
