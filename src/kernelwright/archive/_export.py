"""Records as files: source a person can read, JSON that another tool can."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelwright.errors import ArchiveError

if TYPE_CHECKING:
    from kernelwright.archive._rows import CandidateRow
    from kernelwright.archive._store import Archive

_SUFFIX = {"cpu": "cpp", "triton": "py", "cuda": "cu", "wasm": "cpp", "webgpu": "wgsl"}


def export(archive: Archive, digest: str, folder: Path) -> tuple[Path, ...]:
    """Write the record with this digest into ``folder``; see :meth:`Archive.export`."""
    if archive.task(digest) is not None:
        return _export_task(archive, digest, folder)
    row = archive.candidate(digest)
    if row is None:
        raise ArchiveError(f"The archive holds no task and no candidate with the digest {digest!r}.")
    return _export_candidate(archive, row, folder)


def _export_task(archive: Archive, digest: str, folder: Path) -> tuple[Path, ...]:
    task = archive.task(digest)
    assert task is not None
    winners = archive.winners(digest)
    about = {
        "digest": digest,
        "name": task.name,
        "kind": task.kind,
        "dtype": task.dtype,
        "attribute": task.attribute,
        "shrunk": task.shrunk,
        "dynamic": [asdict(size) for size in task.dynamic],
        "winners": [asdict(winner) for winner in winners],
    }
    written = [_write_json(folder / "task.json", about)]
    if task.text:
        written.append(_write(folder / "task.py", task.text))
    if task.payload:
        written.append(_write(folder / "task.pickle", task.payload))
    wanted = {winner.candidate for winner in winners}
    for row in archive.candidates(digest):
        if not wanted or row.digest in wanted:
            written += _export_candidate(archive, row, folder / row.digest[:12])
    return tuple(written)


def _export_candidate(archive: Archive, row: CandidateRow, folder: Path) -> tuple[Path, ...]:
    from kernelwright.targets.plan import one_file, plan_to_json

    candidate = row.candidate
    about = {
        "digest": row.digest,
        "task": row.task,
        "target": candidate.target,
        "proposer": candidate.proposer,
        "label": candidate.label,
        "schedule": candidate.schedule,
        "notes": candidate.notes,
        "recorded": row.recorded,
    }
    written = [_write_json(folder / "candidate.json", about)]
    if candidate.source:
        written.append(_write(folder / f"source.{_SUFFIX.get(candidate.target, 'txt')}", one_file(candidate)))
    if candidate.plan is not None:
        written.append(_write_json(folder / "plan.json", json.loads(plan_to_json(candidate.plan))))
    proof = archive.proof(row.digest)
    if proof is not None:
        written.append(_write_json(folder / "proof.json", {"indices": proof}))
    written.append(_write_json(folder / "verdicts.json", _of(archive.verdicts(row.task), row.digest)))
    written.append(_write_json(folder / "measurements.json", _of(archive.measurements(row.task), row.digest)))
    return tuple(written)


def _of(rows: Iterable[Any], candidate: str) -> list[dict[str, Any]]:
    return [asdict(row) for row in reversed(list(rows)) if row.candidate == candidate]


def _write_json(path: Path, content: object) -> Path:
    return _write(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write(path: Path, content: str | bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise ArchiveError(f"The export folder {path.parent} cannot be written ({error.strerror}).") from error
    return path
