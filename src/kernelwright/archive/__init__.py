"""The archive: every task, candidate, verdict and measurement ever recorded, and the winners that are served."""

from kernelwright.archive._lock import LockEntry, entry_of, find_entry, merge_lock, pinned, read_lock, write_lock
from kernelwright.archive._proof import proof_text
from kernelwright.archive._rows import (
    CandidateRow,
    Found,
    Freed,
    MeasurementRow,
    TaskRow,
    VerdictRow,
    WinnerRow,
)
from kernelwright.archive._store import Archive

__all__ = [
    "Archive",
    "CandidateRow",
    "Found",
    "Freed",
    "LockEntry",
    "MeasurementRow",
    "TaskRow",
    "VerdictRow",
    "WinnerRow",
    "entry_of",
    "find_entry",
    "merge_lock",
    "pinned",
    "proof_text",
    "read_lock",
    "write_lock",
]
