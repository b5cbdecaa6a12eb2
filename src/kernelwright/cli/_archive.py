"""``kernelwright archive``: look into what was judged so far, tidy up."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kernelwright.cli._output import say, stdout
from kernelwright.errors import ArchiveError, OptionInvalid

if TYPE_CHECKING:
    from kernelwright.archive import Archive, Found

archive_app = typer.Typer(help="Look into the archive of everything judged so far.", no_args_is_help=True)


@archive_app.command("list")
def list_() -> None:
    """List the tasks that were worked on, newest first."""
    with open_archive() as archive:
        tasks = archive.tasks()
    if not tasks:
        stdout().print("The archive is empty.")
        return
    table = Table(header_style="bold")
    for heading in ("digest", "task", "dtype", "recorded"):
        table.add_column(heading, overflow="fold")
    for heading in ("candidates", "winners"):
        table.add_column(heading, justify="right")
    for row in tasks:
        counts = (str(row.candidates), str(row.winners))
        table.add_row(row.digest[:12], Text(row.name), row.dtype, _when(row.recorded), *counts)
    stdout().print(table)


@archive_app.command()
def show(digest: Annotated[str, typer.Argument(metavar="DIGEST", help="First digits are enough.")]) -> None:
    """Show a task with its candidates, or a candidate with its source."""
    with open_archive() as archive:
        found = one_record(archive, digest)
        if found.kind == "task":
            _show_task(archive, found)
        else:
            _show_candidate(archive, found)


@archive_app.command()
def gc(
    days: Annotated[float, typer.Option(help="Forget what is older than this many days.")] = 30.0,
    winners: Annotated[bool, typer.Option("--winners", help="Forget old winners too.")] = False,
) -> None:
    """Forget what is old; winners stay unless --winners is given."""
    if not (math.isfinite(days) and days >= 0):
        raise OptionInvalid(f"--days is {days:g}; it must be a number of days, 0 or more.")
    with open_archive() as archive:
        freed = archive.gc(keep_days=days, keep_winners=not winners)
    stdout().print(
        f"Removed {freed.candidates} candidates, {freed.verdicts} verdicts, {freed.measurements} measurements,"
        f" {freed.winners} winners and {freed.tasks} tasks; freed {freed.bytes / 2**20:.1f} MiB.",
        soft_wrap=True,
    )


def open_archive() -> Archive:
    """The archive, with what it has to say said."""
    from kernelwright.archive import Archive

    archive = Archive()
    for notice in archive.notices:
        say(notice)
    return archive


def one_record(archive: Archive, prefix: str) -> Found:
    """The one record whose digest begins so."""
    found = archive.find(prefix)
    if not found:
        raise ArchiveError(
            f"DIGEST is {prefix!r}, which the archive does not hold; kernelwright archive list shows all."
        )
    if len(found) > 1:
        names = ", ".join(f"{f.digest[:16]} ({f.kind} {f.name})" for f in found[:4])
        raise ArchiveError(f"DIGEST is {prefix!r}, which fits {len(found)} records: {names}; give more digits.")
    return found[0]


def _show_task(archive: Archive, found: Found) -> None:
    """A task's candidates with their newest verdict and measurement."""
    verdicts = {row.candidate: row for row in archive.verdicts(found.digest)}
    measurements = {row.candidate: row for row in archive.measurements(found.digest)}
    winners = {row.candidate for row in archive.winners(found.digest)}
    table = Table(title=f"{found.name} {found.digest[:12]}", title_justify="left", header_style="bold")
    for heading in ("digest", "candidate", "verdict"):
        table.add_column(heading)
    for heading in ("time", "vs eager"):
        table.add_column(heading, justify="right")
    table.add_column("why", overflow="fold")
    for row in archive.candidates(found.digest):
        verdict, measured = verdicts.get(row.digest), measurements.get(row.digest)
        label = (row.candidate.label or row.candidate.proposer) + (" ★" if row.digest in winners else "")
        status, why = (verdict.status, str(verdict.content.get("reason", ""))) if verdict else ("–", "")
        times = _times(measured.content) if measured else ("–", "–")
        table.add_row(row.digest[:12], Text(label), status, *times, Text(why))
    stdout().print(table)


def _times(content: dict[str, Any]) -> tuple[str, str]:
    """Time and ratio to eager of a stored measurement."""
    from kernelwright.report import ratio_text, seconds_text

    ratio = (content.get("speedup") or {}).get("eager") or {}
    return seconds_text(content.get("seconds")), ratio_text(ratio.get("median") if isinstance(ratio, dict) else None)


def _show_candidate(archive: Archive, found: Found) -> None:
    """A candidate's origin and source."""
    row = archive.candidate(found.digest)
    assert row is not None
    candidate, console = row.candidate, stdout()
    console.print(f"{candidate.label or candidate.proposer} {row.digest}", markup=False, style="bold", soft_wrap=True)
    console.print(f"target {candidate.target}, proposed by {candidate.proposer} for task {row.task[:12]}", markup=False)
    for note in candidate.notes:
        console.print(note, markup=False)
    proof = archive.proof(row.digest)
    if proof is not None:
        from kernelwright.archive import proof_text

        console.print(proof_text(proof), markup=False, soft_wrap=True)
    print(candidate.source or "(no source: this is the user's own program)")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
