"""Proofs beside candidates: kept once, by whom they were made, and gone with what they prove."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelwright.archive import Archive, proof_text
from kernelwright.errors import ArchiveError
from kernelwright.targets import Candidate
from kernelwright.task import Task

KERNELS = [{"entry": "run0", "kernel": "k0", "proved": True, "why_not": None, "rewritten": []}]
PROVED = {"proved": True, "once": True, "why_not": None, "kernels": KERNELS}
UNPROVED = {"proved": False, "once": False, "why_not": None,
            "kernels": [*KERNELS, {**KERNELS[0], "kernel": "k1", "proved": False, "why_not": "a gather"}]}  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive.sqlite", clock=lambda: 1.0)


def recorded(archive: Archive) -> str:
    task = archive.record_task(Task("t", "function", text="def f(x): return x", attribute="f"))
    return archive.record_candidate(task, Candidate("cpu", "compiler", "int x;", None, label="compiler"))


def test_a_proof_is_kept_and_replaced(archive: Archive) -> None:
    digest = recorded(archive)
    assert archive.proof(digest) is None
    archive.record_proof(digest, "one", UNPROVED)
    assert archive.proof(digest) == UNPROVED
    archive.record_proof(digest, "two", PROVED)
    assert archive.proof(digest, "two") == PROVED
    assert archive.proof(digest, "one") is None  # another prover may say otherwise


def test_only_of_what_is_recorded(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="holds no candidate"):
        archive.record_proof("0" * 64, "one", PROVED)


def test_a_proof_is_exported_and_forgotten_with_its_candidate(archive: Archive, tmp_path: Path) -> None:
    digest = recorded(archive)
    archive.record_proof(digest, "one", PROVED)
    assert tmp_path / "out" / "proof.json" in archive.export(digest, tmp_path / "out")
    archive.gc(keep_days=-1.0, keep_winners=False)
    assert archive.candidate(digest) is None
    assert archive.proof(digest) is None


def test_words() -> None:
    assert proof_text(PROVED) == "indices proved: inside, without races, outputs covered, each element once"
    assert proof_text({**PROVED, "once": False}) == "indices proved: inside, without races, outputs covered"
    assert proof_text(UNPROVED) == "indices not proved: a gather (1 of 2 kernels are)"
    nothing = {"proved": False, "once": False, "why_not": "every step is a call of ATen", "kernels": []}
    assert proof_text(nothing) == "indices not proved: every step is a call of ATen"
