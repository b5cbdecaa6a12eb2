"""The metric: sets of suggestions to levels."""

from __future__ import annotations

from itertools import product

import pytest

from kernelwright.bench.hpc import LEVELS, MODELS, Cell, Outcome, Proficiency, score

R, W, M, N, A = "right", "wrong", "other", "none", "again"


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], 0.0), ([N], 0.0), ([W], 0.0), ([M], 0.0), ([N, N, W], 0.0), ([W, W, W], 0.0), ([M, M], 0.0),
        ([W, M], 0.0), ([N, M, W], 0.0),
        ([R], 1.0), ([R, N], 1.0), ([N, N, R], 1.0), ([R, A], 1.0), ([R, A, A, N], 1.0),
        ([R, R], 0.75), ([R, R, R], 0.75), ([R] * 10, 0.75), ([R, R, N], 0.75), ([R, A, R], 0.75),
        ([R, W], 0.5), ([W, R], 0.5), ([R, R, W], 0.5), ([R] + [W] * 9, 0.5), ([R, W, N, A], 0.5),
        ([R, M], 0.25), ([M, R], 0.25), ([R, R, M], 0.25), ([R, W, M], 0.25), ([R] * 9 + [M], 0.25),
    ],
)  # fmt: skip
def test_sets_have_the_papers_levels(kinds: list[str], expected: float) -> None:
    assert score(kinds) == expected
    assert expected in LEVELS


def test_right_for_wrong_never_lowers_a_grade_except_from_expert() -> None:
    for kinds in product((R, W, M, N), repeat=4):
        for place, kind in enumerate(kinds):
            if kind == W:
                better = [*kinds[:place], R, *kinds[place + 1 :]]
                assert score(better) >= score(kinds)


def test_order_does_not_matter() -> None:
    for kinds in product((R, W, M), repeat=3):
        assert score(kinds) == score(sorted(kinds))


def test_chances_beside_the_grade() -> None:
    cell = Cell(MODELS["cpp/openmp"], "axpy")
    outcomes = tuple(Outcome(str(i), kind) for i, kind in enumerate((R, W, W, W)))
    graded = Proficiency(cell, 0.5, outcomes)
    assert graded.pass_at(1) == 0.25
    assert graded.pass_at(10) == 1.0
    assert Proficiency(cell, 0.0, ()).pass_at(1) is None
    assert Proficiency(cell, None, outcomes).level == "not run"
