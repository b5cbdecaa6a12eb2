"""A command line in this process, with a home of its own and a search that a test scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import made

from kernelwright.cli import run
from kernelwright.cli._facts import Facts
from kernelwright.machine import Peaks


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """Standard error, which must be exactly one line."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is read from or written to the user's own folders; the peaks are not measured."""
    folder = tmp_path / "home"
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(folder))
    monkeypatch.delenv("KERNELWRIGHT_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables must not be cut to the width of whoever runs the tests
    peaks = Peaks(28.0, 30.0, 0, 0, 0, 1.1e11, 5e10, 2e11, 2.2e11, 1e11, 4e11, "test")
    machine = {"cpu": "test", "cores": 2, "memory": 8 << 30, "compiler": "gcc 12", "fingerprint": "f", "peaks": {}}
    facts = Facts(machine, {"kernelwright": "0.1.0", "torch": "2"}, peaks)
    monkeypatch.setattr("kernelwright.cli._facts.gather", lambda **options: facts)
    return folder


@pytest.fixture
def kw(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command line."""

    def call(*arguments: object) -> Ended:
        capfd.readouterr()
        code = run([str(a) for a in arguments])
        return Ended(code, *capfd.readouterr())

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A task file."""
    path = tmp_path / "task.py"
    path.write_text(made.REFERENCE)
    return path


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Script the search: give what it returns, or a function of its arguments; get the calls it received."""

    def script(result: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def fake(task: Any, **options: Any) -> Any:
            calls.append({"task": task, **options})
            return result(task, **options) if callable(result) else result

        monkeypatch.setattr("kernelwright.search.generate_task", fake)
        return calls

    return script
