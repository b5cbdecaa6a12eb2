"""The family's sources: every schedule of every kernel is right, in both precisions, and reads as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kernelwright.bench.hpc import MODELS, Box, Cell, grade
from kernelwright.judge import stand
from kernelwright.kernels.hpc import KERNELS, Schedule, schedules, source


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if stand().missing:
        pytest.skip("the walls do not stand on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        with Box() as made:
            yield made


def _odd(kernel: str) -> Iterator[Schedule]:
    """Schedules whose every branch is taken on small sizes."""
    first = next(schedules(kernel, "float32"))
    yield replace(first, serial=8)
    if kernel == "gemv":
        yield Schedule(serial=8, narrow=32, large=100)
        yield Schedule(serial=8, rows=1, lanes=8)
    if kernel == "jacobi":
        yield Schedule(serial=8, block=2)


@pytest.mark.parametrize(("kernel", "schedule"), [(kernel, s) for kernel in KERNELS for s in _odd(kernel)])
def test_schedules_are_right(box: Box, kernel: str, schedule: Schedule) -> None:
    found = grade([source(kernel, schedule)], Cell(MODELS["cpp/openmp"], kernel), box)
    assert found.score == 1.0, found.outcomes


@pytest.mark.parametrize("kernel", KERNELS)
def test_sources_are_filled_in_and_differ_by_schedule(kernel: str) -> None:
    texts = [source(kernel, s) for dtype in ("float32", "float64") for s in schedules(kernel, dtype)]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert "@" not in text
        assert "#pragma omp" in text
    assert source(kernel) == source(kernel, next(schedules(kernel)))
