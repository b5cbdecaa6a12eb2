"""A search killed at any point: the next one finishes with the right result and judges nothing a second time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from kernelwright.archive import Archive

TASK = """
import torch
from torch import nn

class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(torch.relu(x) * 2 - x.square(), dim=-1)

def get_inputs():
    return [torch.randn(256, 300)]

def get_init_inputs():
    return []
"""

# The rivals take longer than all the rest and have nothing to do with it.
COMMAND = """
import dataclasses, sys
from kernelwright.cli import run
from kernelwright.search import EFFORTS
EFFORTS["quick"] = dataclasses.replace(EFFORTS["quick"], rivals=(), glance=0.2, final=0.4)
sys.exit(run(sys.argv[1:]))
"""


def begin(home: Path, *arguments: str) -> subprocess.Popen[str]:
    home.mkdir(exist_ok=True)
    source = home / "task.py"
    source.write_text(TASK)
    command = [sys.executable, "-c", COMMAND, "generate", str(source), "--effort", "quick", "--budget", "300"]
    environment = {**os.environ, "KERNELWRIGHT_HOME": str(home)}
    process = subprocess.Popen(
        [*command, *arguments], env=environment, cwd=home, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    return process


def kill_after(home: Path, line: str, delay: float) -> None:
    """Kill the command some time after it said something; its workers must die with it."""
    process = begin(home)
    assert process.stderr is not None
    for said in process.stderr:
        if line in said:
            break
    else:
        raise AssertionError(f"it ended before it said {line!r}")
    time.sleep(delay)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stderr.close()
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_a_search_killed_again_and_again_goes_on_and_judges_nothing_twice(tmp_path: Path) -> None:
    home, rng = tmp_path / "home", random.Random()
    for line, longest in (("compiling candidates", 1.0), ("compiler: accepted", 0.5)):
        kill_after(home, line, rng.uniform(0.0, longest))
    process = begin(home, "--json", str(home / "result.json"))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    (row,) = json.loads((home / "result.json").read_text())["tasks"]
    assert row["status"] in ("won", "baseline")
    assert row["correct"]
    with Archive(home / "archive.sqlite") as archive:
        (task,) = archive.tasks()
        judged = Counter(row.candidate for row in archive.verdicts(task.digest))
        assert set(judged.values()) == {1}  # judged anew, a verdict would say other seconds
        assert len(archive.winners(task.digest)) == 1
