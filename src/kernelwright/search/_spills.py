"""Schedules whose registers do not spill: kernels that do get another schedule each, as long as they have one left.

Kernels do not share registers, so all that spill are changed at once; what each did under each schedule is remembered,
and in the end every kernel has the schedule under which it spilled least.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ..targets import Candidate
from ..targets.triton import BuildReport

Emit = Callable[[Mapping[int, int]], Candidate]
Reports = Callable[[Sequence[Candidate]], list[BuildReport]]
_NUMBER = re.compile(r"k(\d+)_")  # the generators call the kernels of the n-th group so


def settle(
    candidate: Candidate, build: BuildReport, schedules: Mapping[int, int], emit: Emit, reports: Reports
) -> tuple[Candidate, BuildReport]:
    """The candidate, whose kernels have their first schedules, or one that spills less.

    ``schedules`` says how many there are for each kernel.
    """
    now: dict[int, int] = {}
    least = {number: (spills, 0) for number, spills in spilling(build).items()}
    while True:
        again = [n for n, spills in spilling(build).items() if spills and now.get(n, 0) + 1 < schedules.get(n, 1)]
        if not again or build.fault:
            break
        now |= {n: now.get(n, 0) + 1 for n in again}
        candidate = emit(now)
        build = reports([candidate])[0]
        for number, spills in spilling(build).items():
            if number in again and spills < least[number][0]:
                least[number] = spills, now[number]
    choice = {number: position for number, (_, position) in least.items() if position}
    if choice == {n: p for n, p in now.items() if p}:
        return candidate, build
    candidate = emit(choice)
    return candidate, reports([candidate])[0]


def spilling(build: BuildReport) -> dict[int, int]:
    """Bytes that the kernels of each group spill."""
    found: dict[int, int] = {}
    for kernel in build.kernels:
        name = _NUMBER.match(kernel.kernel)
        if name is not None:
            found[int(name[1])] = found.get(int(name[1]), 0) + kernel.spills
    return found


__all__ = ["settle", "spilling"]
