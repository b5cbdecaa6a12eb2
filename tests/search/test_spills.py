"""Kernels whose registers spill get other schedules; what was found best for each is put together in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kernelwright.search._spills import settle
from kernelwright.targets import Candidate
from kernelwright.targets.triton import BuildReport, KernelBuild


def emit(choice: Mapping[int, int]) -> Candidate:
    return Candidate("triton", "test", "", None, label=",".join(f"{n}={p}" for n, p in sorted(choice.items()) if p))


def choice_of(candidate: Candidate) -> dict[int, int]:
    return {int(n): int(p) for n, _, p in (pair.partition("=") for pair in candidate.label.split(",") if pair)}


class Compiler:
    """Says how much each kernel spills under each of its schedules."""

    def __init__(self, table: Mapping[int, Sequence[int]]) -> None:
        self.table, self.asked = table, 0

    def __call__(self, candidates: Sequence[Candidate]) -> list[BuildReport]:
        self.asked += 1
        return [self.report(choice_of(candidate)) for candidate in candidates]

    def report(self, choice: Mapping[int, int]) -> BuildReport:
        kernels = [
            KernelBuild(f"k{n}_kernel", (1,), 4, 3, 255, spills[choice.get(n, 0)], 0, 1, 0.5)
            for n, spills in self.table.items()
        ]
        return BuildReport("sm_90", tuple(kernels), 0.0)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ({0: [0, 8], 1: [72, 0]}, {1: 1}),
        ({0: [8, 40, 0], 1: [16, 0, 99]}, {0: 2, 1: 1}),
        ({0: [64, 32, 48], 3: [0]}, {0: 1}),  # the least, where none does without
        ({0: [8, 16]}, {}),
        ({0: [8]}, {}),
    ],
)
def test_every_kernel_ends_with_the_schedule_that_spills_least(
    table: dict[int, list[int]], wanted: dict[int, int]
) -> None:
    compiler = Compiler(table)
    schedules = {n: len(spills) for n, spills in table.items()}
    first = emit({})
    found, build = settle(first, compiler([first])[0], schedules, emit, compiler)
    assert choice_of(found) == wanted
    assert build == compiler.report(wanted)
    assert compiler.asked <= 1 + max(schedules.values())


def test_nothing_is_compiled_again_where_nothing_spills() -> None:
    compiler = Compiler({0: [0, 0], 2: [0, 0]})
    settle(emit({}), compiler([emit({})])[0], {0: 2, 2: 2}, emit, compiler)
    assert compiler.asked == 1
