"""Evidence put together: from what a search has just found, or from what the archive remembers of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ..errors import ExportImpossible
from ..judge import Measurement, Verdict, measurement_from_json, verdict_from_json
from ..machine import describe, fingerprint
from ..targets import Candidate
from ..targets.cpu import headers_of, recipe, toolchain
from ..task import Task
from ._bundle import Bundle

if TYPE_CHECKING:
    from ..archive import Archive, VerdictRow


def gather(
    task: Task,
    candidate: Candidate,
    verdict: Verdict | None,
    measurement: Measurement | None,
    versions: Mapping[str, str],
) -> Bundle:
    """The bundle of a kernel that was accepted on this machine, as it is built now, with a proof of its indices.

    ``versions`` are those of the verdict. Raises ``ExportImpossible`` for what is no accepted kernel of ours.
    """
    if candidate.target in ("eager", "compile"):
        raise ExportImpossible(
            f"{task.name} is served by {candidate.label or candidate.target}, the user's own code: "
            "there is no kernel to give evidence for."
        )
    if candidate.target != "cpu" or candidate.plan is None:
        raise ExportImpossible(
            f"{candidate.label or 'The candidate'} of {task.name} is for the target {candidate.target!r}; "
            "evidence can be given for kernels in C++."
        )
    if verdict is None or not verdict.accepted:
        raise ExportImpossible(f"{candidate.label or 'The candidate'} of {task.name} was not accepted.")
    if not task.text and not task.payload:
        raise ExportImpossible(
            f"The archive keeps no copy of {task.name}, which was handed over in Python; "
            "make its bundle there, with Kernel.bundle()."
        )
    from ..compiler.proof import prove  # slow to import

    machine = describe()
    return Bundle(
        task=replace(task, path=""),  # where it lay is nobody else's business
        candidate=candidate,
        recipe=recipe(candidate.source),
        headers=headers_of(candidate.source),
        verdict=verdict,
        measurement=measurement,
        machine={**json.loads(json.dumps(asdict(machine))), "fingerprint": fingerprint(machine)},
        versions=dict(versions),
        proof=prove(candidate).to_json(),
    )


def from_archive(archive: Archive, digest: str) -> Bundle:
    """The bundle of a recorded candidate, or of a task's winner, by its digest.

    Only what was judged on this machine and with this toolchain can be told in full: ``ExportImpossible`` otherwise.
    """
    task, candidate = _recorded(archive, digest)
    machine, here = fingerprint(describe()), toolchain()
    rows = [row for row in archive.verdicts(task.digest) if row.candidate == candidate.digest]
    verdict = next((row for row in reversed(rows) if (row.machine, row.toolchain) == (machine, here)), None)
    if verdict is None:
        raise ExportImpossible(
            f"{candidate.label or digest[:12]} was not judged on this machine with this toolchain; "
            f"`kernelwright generate` judges it again."
        )
    measured = archive.measurement(task.digest, candidate.digest, machine, verdict.shape_class)
    return gather(
        task,
        candidate,
        verdict_from_json(verdict.content),
        measurement_from_json(measured.content) if measured is not None else None,
        _versions(archive, task, verdict),
    )


def _recorded(archive: Archive, digest: str) -> tuple[Task, Candidate]:
    task = archive.task(digest)
    if task is None:
        row = archive.candidate(digest)
        task = archive.task(row.task) if row is not None else None
        if row is None or task is None:
            raise ExportImpossible(f"The archive holds no task and no candidate with the digest {digest[:12]!r}.")
        return task, row.candidate
    here = fingerprint(describe())
    winners = [winner for winner in archive.winners(digest) if winner.machine == here]
    if not winners:
        raise ExportImpossible(f"The archive holds no winner for {task.name} on this machine.")
    newest = max(winners, key=lambda winner: winner.recorded)
    row = archive.candidate(newest.candidate)
    assert row is not None  # a winner's candidate is recorded with it
    return task, row.candidate


def _versions(archive: Archive, task: Task, verdict: VerdictRow) -> dict[str, str]:
    """Those that the winner's search ran with; empty where the archive does not know them."""
    for winner in archive.winners(task.digest):
        if (winner.machine, winner.shape_class) == (verdict.machine, verdict.shape_class):
            key = (winner.task, winner.shape_class, winner.dtype, winner.target, winner.machine)
            return dict((archive.search(*key) or {}).get("versions", {}))
    return {}
