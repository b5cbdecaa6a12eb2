"""The picture of a running search: a table of candidates that fills, the stage, the budget that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kernelwright.report import duration_text, error_text, ratio_cell, seconds_text

if TYPE_CHECKING:
    from kernelwright.search import Event

SHOWN = 12  # rows of the table; older ones scroll out

STAGES = {
    "capture": "reading the program",
    "compile": "compiling candidates",
    "judge": "judging candidates",
    "measure": "measuring against the rivals",
}


@dataclass
class Row:
    """What is known of one candidate so far."""

    label: str
    status: str = "waiting"
    error: float | None = None
    seconds: float | None = None
    ratio: float | None = None
    why: str = ""


class SearchView:
    """Listens to a search. On a terminal it draws a live picture, elsewhere a line per event that matters."""

    def __init__(self, console: Console, budget: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.budget = budget
        self.stage = "starting"
        self.rows: dict[str, Row] = {}
        self.best = ""
        self._clock = clock
        self._start = clock()
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=8, transient=True)

    def __enter__(self) -> SearchView:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_event(self, event: Event) -> None:
        """Take in one event."""
        self._start = self._clock() - event.elapsed
        data = event.data
        if event.kind == "stage":
            self.stage = STAGES.get(event.message, event.message)
        elif event.kind in ("candidate", "verdict", "measured", "best"):
            self._row(event.kind, str(data.get("digest", "")), data)
        if not self.console.is_terminal:
            line = plain_line(event)
            if line:
                self.console.print(f"[{event.elapsed:6.1f} s] {line}", markup=False, soft_wrap=True)
        elif event.kind == "note":
            self.console.print(Text(event.message, style="dim"))

    def _row(self, kind: str, digest: str, data: dict[str, Any]) -> None:
        row = self.rows.setdefault(digest, Row(str(data.get("label", digest[:12]))))
        if kind == "candidate":
            row.status = "judging"
        elif kind == "verdict":
            row.status = str(data.get("status", row.status))
            row.error = data.get("error", row.error)
            row.why = str(data.get("reason") or "")
        else:
            row.seconds = data.get("seconds", row.seconds)
            row.ratio = data.get("speedup", {}).get("eager", row.ratio)
            self.best = digest if kind == "best" else self.best

    def render(self) -> RenderableType:
        """The picture as it is now."""
        elapsed = self._clock() - self._start
        left = duration_text(self.budget - elapsed) if elapsed < self.budget else "finishing"
        status = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.budget, completed=min(elapsed, self.budget), width=30)
        self._spinner.update(text=Text(self.stage))
        status.add_row(self._spinner, bar, Text(left, style="dim"), Text("Ctrl-C keeps the best so far", style="dim"))
        return Group(self._table(), status) if self.rows else status

    def _table(self) -> Table:
        table = Table(header_style="bold")
        for heading in ("candidate", "status"):
            table.add_column(heading, no_wrap=True)
        for heading in ("error / bound", "time", "vs eager"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("why", overflow="ellipsis", no_wrap=True)
        hidden = len(self.rows) - SHOWN
        if hidden > 0:
            table.add_row(Text(f"… {hidden} more", style="dim"))
        for digest, row in list(self.rows.items())[-SHOWN:]:
            style = {"accepted": "green", "rejected": "red", "judging": "yellow"}.get(row.status, "")
            label = Text(row.label + (" ★" if digest == self.best else ""), style="bold" if digest == self.best else "")
            cells = (error_text(row.error), seconds_text(row.seconds), ratio_cell(row.ratio), Text(row.why))
            table.add_row(label, Text(row.status, style=style), *cells)
        return table


def plain_line(event: Event) -> str:
    """An event as a line for a log; empty for those that another one repeats."""
    label, data = str(event.data.get("label", "")), event.data
    if event.kind == "stage":
        return STAGES.get(event.message, event.message)
    if event.kind == "verdict":
        return f"{label}: {data.get('status', '')}" + (f", {data['reason']}" if data.get("reason") else "")
    if event.kind == "measured":
        ratio = data.get("speedup", {}).get("eager")
        against = f", {ratio:.2f} times as fast as eager" if ratio is not None else ""
        return f"{label}: {seconds_text(data.get('seconds'))}{against}"
    return event.message if event.kind == "note" else ""
