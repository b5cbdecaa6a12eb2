"""A real bundle of a small task: printed by our compiler, judged and measured once for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelwright.compiler import capture, emit, prepare_captured
from kernelwright.evidence import Bundle, gather
from kernelwright.judge import Measurement, Session, Verdict
from kernelwright.machine import versions
from kernelwright.targets import Candidate
from kernelwright.task import Task, from_source, load

TEXT = """
import torch
from torch import nn

rows = 12


class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x, scale):
        return torch.softmax(self.linear(x) * scale, -1)


def get_inputs():
    return [torch.randn(rows, 16), 0.5]


def get_init_inputs():
    return [16, 9]
"""
EAGER = Candidate("eager", "baseline", "", None, "eager")
LIMIT = 1 << 30


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "scaled.py"
    path.write_text(TEXT)
    return path


def printed(task: Task) -> Candidate:
    """What our compiler prints for a task, by its first guess."""
    reference = load(task)
    captured = capture(reference.call, reference.draw(0, "given"), task.dynamic)
    return emit(prepare_captured(captured), title=task.name)


@pytest.fixture(scope="session")
def judged(task_file: Path, home: None) -> tuple[Task, Candidate, Verdict, Measurement]:
    task = from_source(str(task_file))
    candidate = printed(task)
    with Session(task, memory_limit=LIMIT) as session:
        verdict = session.verify(candidate)
        return task, candidate, verdict, session.measure(candidate, [EAGER], seconds=0.2)


@pytest.fixture(scope="session")
def bundle(judged: tuple[Task, Candidate, Verdict, Measurement]) -> Bundle:
    return gather(*judged, versions())


@pytest.fixture
def file(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "scaled.zip"
    bundle.write(path)
    return path
