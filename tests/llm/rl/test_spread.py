"""Rewards on a local Ray cluster: the same as here, in order, and none is lost with a worker."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading

import pytest

from kernelwright.judge import stand
from kernelwright.llm.rl import Spread, draw_specs, render
from tests.triton_lab import needs_triton

pytestmark = [
    needs_triton,
    pytest.mark.slow,
    pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


def test_a_worker_killed_in_the_middle_of_a_batch_loses_no_sample() -> None:
    specs = draw_specs(0, 3, (1, 2))
    tasks = [s.task() for s in specs]
    items, expected = [], []
    for k in range(24):  # comments make them different texts, each of which is run
        spec, task = specs[k % 3], tasks[k % 3]
        items.append((task.name, render(spec.program() if k % 2 else spec.delegating()) + f"# {k}\n"))
        expected.append(float(k % 2))
    with Spread(tasks, 2) as spread:
        victim = spread.processes[0]
        killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        killer.start()
        assert spread.score(items) == expected
        killer.join()
        assert victim not in spread.processes
        assert spread.score(items[:4], rules=False) == [1.0] * 4
