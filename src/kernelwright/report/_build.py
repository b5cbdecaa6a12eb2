"""What a compiler said of kernels that were never timed: a table for people, plain values for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from kernelwright.report._format import percent_text, seconds_text

if TYPE_CHECKING:
    from kernelwright.search._outcome import Unmeasured


def build_table(found: Unmeasured) -> Table:
    """Every launch of one call, with what it takes of a multiprocessor, and the time that the peaks allow at best."""
    title = f"{found.candidate.label or found.candidate.proposer}, compiled for {found.build.architecture}"
    caption = f"Predicted from the GPU's peaks, at best: {seconds_text(found.predicted)} a call."
    table = Table(title=title, title_justify="left", header_style="bold", caption=caption, caption_justify="left")
    table.add_column("kernel", overflow="fold")
    for heading in ("grid", "warps", "registers", "spilled", "shared", "blocks/SM", "occupancy"):
        table.add_column(heading, justify="right")
    for kernel in found.build.kernels:
        table.add_row(
            Text(kernel.kernel),
            "×".join(map(str, kernel.grid)),
            str(kernel.warps),
            str(kernel.registers),
            Text(f"{kernel.spills} B", style="red" if kernel.spills else ""),
            f"{kernel.shared / 1024:.1f} KiB",
            str(kernel.blocks),
            percent_text(kernel.occupancy),
        )
    return table


def build_dict(found: Unmeasured) -> dict[str, Any]:
    """The same for a document; "predicted_seconds" is a bound, not a measurement."""
    kernels = [{**asdict(kernel), "grid": list(kernel.grid)} for kernel in found.build.kernels]
    return {
        "architecture": found.build.architecture,
        "kernels": kernels,
        "spills": found.build.spills,
        "predicted_seconds": found.predicted,
    }
