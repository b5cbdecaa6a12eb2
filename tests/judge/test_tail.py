"""Faults that come late or seldom, and honest kernels that are called thousands of times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelwright.judge import Session, Verdict
from kernelwright.judge._walls import stand
from kernelwright.targets import Candidate
from kernelwright.task import from_source

from .kernels import make_task

pytestmark = pytest.mark.skipif(bool(stand().missing), reason=f"walls do not stand here: {stand().missing}")


def python(body: str, arguments: str = "x, bias", top: str = "") -> Candidate:
    lines = "\n".join("        " + line for line in body.splitlines())
    text = f"import os\nimport torch\nfrom torch import nn\n{top}\nclass ModelNew(nn.Module):\n    calls = 0\n"
    return Candidate("python", "submission", f"{text}    def forward(self, {arguments}):\n{lines}\n", None)


@pytest.fixture(scope="module")
def session(home: None) -> Iterator[Session]:
    with Session(make_task(), time_limit=10.0, memory_limit=512 << 20, untrusted=True) as session:
        yield session


def calls(verdict: Verdict) -> int:
    return int(next(n for n in verdict.notes if "more calls" in n).split()[0])


def test_a_right_kernel_is_called_hundreds_of_times(session: Session) -> None:
    verdict = session.verify(python("return torch.relu(x + bias)"))
    assert verdict.accepted, verdict.reason
    assert calls(verdict) >= 64
    assert verdict.deterministic
    assert verdict.repeated >= 32


@pytest.mark.parametrize("after", [45, 60])
def test_right_for_a_while_is_wrong(session: Session, after: int) -> None:
    body = f"self.calls += 1\ny = torch.relu(x + bias)\nreturn y if self.calls < {after} else torch.zeros_like(y)"
    verdict = session.verify(python(body))
    assert (verdict.status, verdict.category) == ("rejected", "value")
    assert "more calls" in verdict.reason


def test_a_fault_in_one_element_of_one_call_in_twenty_is_found(session: Session) -> None:
    body = "y = torch.relu(x + bias)\nif os.urandom(1)[0] < 13:\n    y.view(-1)[-1] += 0.5\nreturn y"
    assert session.verify(python(body)).status == "rejected"


def test_a_result_that_differs_only_in_rounding_is_right(session: Session) -> None:
    body = "s = 1.0 + (os.urandom(1)[0] & 1) * 2.0**-23\nreturn torch.relu(x + bias) * s"
    verdict = session.verify(python(body))
    assert verdict.accepted, verdict.reason
    assert calls(verdict) >= 16
    assert verdict.deterministic is False


def test_a_form_that_changes_late_is_wrong(session: Session) -> None:
    body = "self.calls += 1\ny = torch.relu(x + bias)\nreturn y if self.calls < 50 else y[:1]"
    assert session.verify(python(body)).status == "rejected"


def test_a_task_with_running_statistics_is_called_one_by_one(home: None) -> None:
    task = from_source(str(Path(__file__).resolve().parents[2] / "attacks" / "tasks" / "batch_norm.py"))
    top = (
        "class Base(nn.Module):\n    def __init__(self, features):\n"
        "        super().__init__()\n        self.norm = nn.BatchNorm1d(features)\n"
    )
    text = python("return self.norm(x)", "x", top).source.replace("class ModelNew(nn.Module)", "class ModelNew(Base)")
    with Session(task, time_limit=10.0, memory_limit=512 << 20, untrusted=True) as session:
        verdict = session.verify(Candidate("python", "submission", text, None))
    assert verdict.accepted, verdict.reason
    assert calls(verdict) >= 2
