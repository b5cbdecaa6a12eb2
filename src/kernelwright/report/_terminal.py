"""Tables for the terminal (rich): one task's comparison, a suite's rows, a suite's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kernelwright.report._format import interval_text, percent_text, ratio_text, seconds_text
from kernelwright.report._record import RIVALS, STATUSES, Record, distinct, record
from kernelwright.report._scores import THRESHOLDS, fast_p, geomean

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome, Trial

RIVAL_NAMES = {"eager": "PyTorch eager", "compile": "torch.compile"}
STATUS_STYLES = {
    "won": "bold green",
    "baseline": "yellow",
    "unmeasured": "cyan",
    "unscored": "magenta",
    "failed": "bold red",
}


def headline(outcome: Outcome) -> str:
    """What was found in one sentence, no stronger than the intervals allow."""
    if outcome.status == "baseline":
        return "The baseline is served: no generated kernel was shown to be faster."
    if outcome.status == "unscored":
        return "The judge cannot tell right from wrong here, so nothing is claimed."
    if outcome.status == "unmeasured":
        return "The kernel is proven and compiled, but no GPU timed it: it is unmeasured and nothing is served."
    if outcome.status == "failed":
        return "Nothing could be served."
    return f"A generated kernel is served. {_against(record(outcome))}".strip()


def _against(row: Record) -> str:
    """Faster than whom, slower than whom, and whom the timing cannot tell it apart from."""
    groups: dict[str, list[str]] = {"faster than": [], "within the noise of": [], "slower than": []}
    for rival, interval in row.interval.items():
        if interval is not None:
            lo, hi = interval
            group = "faster than" if lo > 1 else "slower than" if hi < 1 else "within the noise of"
            groups[group].append(RIVAL_NAMES[rival])
    found = "; ".join(f"{group} {' and '.join(names)}" for group, names in groups.items() if names)
    return f"It is {found}." if found else ""


def comparison_table(outcome: Outcome) -> Table:
    """The winner against each rival: time of a call, median ratio, its 95 % interval, share of the roofline."""
    table = Table(title=outcome.task.name, title_justify="left", header_style="bold")
    table.add_column("")
    for heading in ("time", "speed-up", "95 % interval", "of roofline"):
        table.add_column(heading, justify="right")
    row, measured = record(outcome), outcome.measurement
    winner = outcome.winner.label or outcome.winner.proposer if outcome.winner is not None else "nothing"
    own = seconds_text(measured.seconds if measured is not None else None)
    table.add_row(Text(winner, style=STATUS_STYLES[outcome.status]), own, "", "", percent_text(row.roofline))
    for rival in RIVALS:
        time = measured.rivals.get(rival) if measured is not None else None
        ratio = row.speedup[rival]
        table.add_row(RIVAL_NAMES[rival], seconds_text(time), ratio_cell(ratio), interval_text(row.interval[rival]), "")
    return table


def trials_table(trials: Sequence[Trial]) -> Table:
    """Every candidate that was tried, with the one reason of those that were turned down."""
    table = Table(header_style="bold")
    for heading in ("candidate", "verdict"):
        table.add_column(heading)
    for heading in ("error / bound", "time", "vs eager"):
        table.add_column(heading, justify="right")
    table.add_column("why")
    for trial in distinct(trials):
        measured = trial.measurement
        ratio = measured.speedup["eager"].median if measured is not None and "eager" in measured.speedup else None
        table.add_row(
            Text(trial.candidate.label or trial.candidate.proposer),
            Text(trial.verdict.status, style="green" if trial.verdict.accepted else "red"),
            error_text(worst_error(trial)),
            seconds_text(measured.seconds if measured is not None else None),
            ratio_cell(ratio),
            Text(trial.verdict.reason),
        )
    return table


def bench_table(records: Sequence[Record]) -> Table:
    """A suite's rows."""
    table = Table(header_style="bold")
    table.add_column("task", overflow="fold")
    table.add_column("status")
    for heading in ("vs eager", "vs compile", "roofline", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("note", overflow="fold", ratio=1)
    for row in records:
        table.add_row(
            Text(row.task),
            Text(row.status, style=STATUS_STYLES.get(row.status, "")),
            ratio_cell(row.speedup["eager"]),
            ratio_cell(row.speedup["compile"]),
            percent_text(row.roofline),
            f"{row.seconds:.1f}",
            Text(note_text(row)),
        )
    return table


def scores_table(records: Sequence[Record]) -> Table:
    """fast_p for every threshold and the geometric means, against both rivals."""
    table = Table(header_style="bold", caption=status_line(records), caption_justify="left")
    table.add_column("against")
    for p in THRESHOLDS:
        table.add_column(f"fast_{p:g}", justify="right")
    table.add_column("geometric mean", justify="right")
    for rival in RIVALS:
        shares = [percent_text(fast_p(records, p, rival)) for p in THRESHOLDS]
        table.add_row(RIVAL_NAMES[rival], *shares, ratio_text(geomean(records, rival)))
    return table


def status_line(records: Sequence[Record]) -> str:
    """How many tasks ended how: "12 tasks: 10 won, 1 baseline, 1 failed"."""
    counts = [(status, sum(r.status == status for r in records)) for status in STATUSES]
    parts = ", ".join(f"{count} {status}" for status, count in counts if count)
    return f"{len(records)} task{'' if len(records) == 1 else 's'}" + (f": {parts}" if parts else "")


def note_text(row: Record) -> str:
    """The reason and what was shrunk, for a table's last column."""
    sizes = ", ".join(f"{s['from']}→{s['to']}" for s in row.shrunk)
    return "; ".join(part for part in (row.reason, f"shrunk {sizes}" if sizes else "") if part)


def worst_error(trial: Trial) -> float | None:
    """The largest error of all its checks, in units of the bound."""
    return max((check.error for check in trial.verdict.checks), default=None)


def error_text(error: float | None) -> str:
    """An error in units of its bound."""
    return "–" if error is None else f"{error:.2g}"


def ratio_cell(ratio: float | None) -> Text:
    """A speed-up, green above and red below one."""
    style = "" if ratio is None or ratio == 1 else "green" if ratio > 1 else "red"
    return Text(ratio_text(ratio), style=style)
