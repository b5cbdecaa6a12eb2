"""``kernelwright verify``: is what a bundle says true here? It is built again and judged again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kernelwright.cli._judge import CODES, STYLES, check_limits
from kernelwright.cli._output import stderr, stdout, writable_file, write_document
from kernelwright.errors import OptionInvalid

if TYPE_CHECKING:
    from kernelwright.evidence import Bundle, Recheck
    from kernelwright.judge import Measurement

_SHOWN = 8  # recorded checks in the table for people; the document has them all


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file that `export` or Kernel.bundle() wrote.")],
    task: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Your own copy of the task, to be judged against instead.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for what was found, as JSON.")] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="Seconds of measurement against eager; 0: none.")] = 2.0,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Run strangers' code even where no walls stand.")] = False,
    time_limit: Annotated[float, typer.Option(metavar="S", help="Seconds for one request to a process.")] = 60.0,
    memory: Annotated[int | None, typer.Option(metavar="MB", help="Memory of each process; most by default.")] = None,
) -> int:
    """Build and judge a bundle again: exit status 0 accepted, 1 rejected, 2 refused or could not judge."""
    check_limits(time_limit, memory)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise OptionInvalid(f"--seconds is {seconds:g}; it must be a number of seconds, 0 or more.")
    document = writable_file(json, "--json")
    from kernelwright.evidence import read_bundle, recheck
    from kernelwright.task import from_source

    found = read_bundle(bundle)
    own = from_source(task) if task is not None else None
    limit = None if memory is None else memory << 20
    with stderr().status(f"judging {bundle.name}"):
        done = recheck(found, own, seconds=seconds, unsafe=unsafe, time_limit=time_limit, memory_limit=limit)
    _show(bundle, found, done, own=own is not None)
    if document is not None:
        from kernelwright.report import plain

        write_document(document, plain(_content(bundle, found, done)))
    return CODES[done.verdict.status]


def _show(path: Path, bundle: Bundle, done: Recheck, *, own: bool) -> None:
    console, verdict = stdout(), done.verdict
    console.print(f"{path.name}: every part is what the manifest lists ({bundle.digest[:12]}).", markup=False)
    kind = f" ({verdict.category})" if verdict.category else ""
    console.print(Text(f"Judged again here, it is {verdict.status}{kind}.", style=f"bold {STYLES[verdict.status]}"))
    for sentence in (verdict.reason, verdict.determinism, *verdict.notes, *done.differences):
        if sentence:
            console.print(sentence, markup=False, soft_wrap=True)
    if done.again:
        console.print(_checks(done))
    fresh = len(verdict.checks) - len(done.again)
    console.print(f"{fresh} checks from new seeds; {len(done.again)} recorded ones made again.")
    for name, measured in (("recorded", bundle.measurement), ("here", done.measurement)):
        if measured is not None:
            console.print(f"{name}: {_speed(measured)}.", markup=False)
    proven = f"Its indices: {_proven(bundle.proof)} there, {_proven(done.proof)} here."
    console.print(proven, markup=False, soft_wrap=True)
    if not own:
        console.print(
            "What it agrees with is the reference in the bundle, which its author wrote: read task.py (unzip), "
            "or give your own copy with --task.",
            style="yellow",
            soft_wrap=True,
        )


def _checks(done: Recheck) -> Table:
    table = Table(header_style="bold")
    table.add_column("recorded inputs", overflow="fold")
    for heading in ("seed", "error / bound then", "here"):
        table.add_column(heading, justify="right")
    for then, now in done.again[-_SHOWN:]:
        style = "red" if not now.error <= 1 else ""
        table.add_row(then.structure, str(then.seed), f"{then.error:.3g}", f"{now.error:.3g}", style=style)
    return table


def _proven(proof: Mapping[str, Any]) -> str:
    indices = proof.get("indices", {})
    if indices.get("proved"):
        return "proved"
    reasons = [indices.get("why_not"), *(kernel.get("why_not") for kernel in indices.get("kernels", ()))]
    return f"not proved ({next(filter(None, reasons), 'no reason is given')})"


def _speed(measured: Measurement) -> str:
    from kernelwright.report import seconds_text

    ratios = [f"{r.median:.2f}x {name} [{r.lo:.2f}, {r.hi:.2f}]" for name, r in measured.speedup.items()]
    return ", ".join([seconds_text(measured.seconds), *ratios])


def _content(path: Path, bundle: Bundle, done: Recheck) -> Mapping[str, Any]:
    """The document: the bundle's own account, and what was found here."""
    from kernelwright.machine import versions

    return {
        "bundle": str(path),
        "digest": bundle.digest,
        "task": bundle.task.name,
        "verdict": asdict(done.verdict),
        "recorded": asdict(bundle.verdict),
        "again": [{"then": asdict(then), "here": asdict(now)} for then, now in done.again],
        "measurement": asdict(done.measurement) if done.measurement is not None else None,
        "recorded_measurement": asdict(bundle.measurement) if bundle.measurement is not None else None,
        "proof": dict(done.proof),
        "recorded_proof": dict(bundle.proof),
        "differences": list(done.differences),
        "walls": [dict(wall) for wall in done.walls],
        "versions": versions(),
    }
