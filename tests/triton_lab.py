"""Runs Triton candidates in the interpreter, in a process that can do nothing else with Triton afterwards."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch

from kernelwright.targets import Candidate, load

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed; it has no wheel for every platform"
)


def interpret(candidate: Candidate, *args: Any, state: Mapping[str, torch.Tensor] | None = None) -> Any:
    """What the candidate returns for these arguments; faults of the process are raised here."""
    return _process().submit(_run, candidate, args, dict(state or {})).result(timeout=120)


def _run(candidate: Candidate, args: tuple[Any, ...], state: dict[str, torch.Tensor]) -> Any:
    return load(candidate, lambda: None, state, allocate=_poisoned, interpreted=True)(*args)


def _poisoned(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Memory whose every element is visibly wrong until written."""
    found = torch.empty_strided(shape, strides, dtype=dtype)
    return found.fill_(float("nan") if dtype.is_floating_point else 1 if dtype == torch.bool else 77)


@functools.cache
def _process() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    atexit.register(pool.shutdown)
    return pool
