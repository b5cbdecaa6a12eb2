"""Recorded spaces of real kernels: how many candidates must be graded until one is near the best of all."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest

SEEDS = range(10)


def _benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "features.py"
    spec = importlib.util.spec_from_file_location("features_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


features = _benchmark()
TABLES = features.read_tables()


def test_there_are_three_spaces() -> None:
    assert len(TABLES) == 3
    assert all(len(table.seconds) > 40 for table in TABLES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_features_find_the_best_in_half_the_evaluations_of_chance(table: object) -> None:
    ours = statistics.median(features.feature_search(table, seed) for seed in SEEDS)
    chance = statistics.median(features.random_search(table, seed) for seed in SEEDS)
    assert ours <= chance / 2, f"{ours} evaluations, {chance} by chance"
