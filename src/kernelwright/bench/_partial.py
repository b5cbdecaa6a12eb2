"""What a suite's run has finished so far, on disk, so that a second run with the same arguments continues."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kernelwright.bench._suite import SuiteTask
from kernelwright.errors import OutputUnwritable
from kernelwright.report import Record


@dataclass(frozen=True)
class Settings:
    """Everything that decides a task's result besides the task itself."""

    target: str = "cpu"
    scale: str = "cpu"
    budget: float = 60.0
    effort: str = "balanced"
    machine: str = ""  # fingerprint
    version: str = ""  # kernelwright's


def key_of(task: SuiteTask, settings: Settings) -> str:
    """A key of the task's content and the settings: a changed file or argument is a different piece of work."""
    content = {**asdict(settings), "name": task.name, "text": hashlib.sha256(task.path.read_bytes()).hexdigest()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Partial:
    """An append-only file of {"key", "record"} lines. A line torn by a kill is ignored; ``path=None`` keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._records: dict[str, Record] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                self._read(line)

    def get(self, key: str) -> Record | None:
        """The finished record of this key."""
        return self._records.get(key)

    def add(self, key: str, record: Record) -> None:
        """Remember a finished record, on disk before this returns."""
        self._records[key] = record
        if self.path is None:
            return
        line = json.dumps({"key": key, "record": record.to_dict()}, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")  # the first newline ends a line that a kill may have torn
        except OSError as error:
            raise OutputUnwritable(f"{self.path} cannot be written: {error.strerror}.") from error

    def remove(self) -> None:
        """The run is complete: nothing is left to continue."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, line: str) -> None:
        try:
            data = json.loads(line)
            self._records[data["key"]] = Record.from_dict(data["record"])
        except (ValueError, KeyError, TypeError):
            return
