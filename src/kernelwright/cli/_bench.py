"""``kernelwright bench``: run a suite of task files, print its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from kernelwright.cli._hpc import hpc
from kernelwright.cli._live import STAGES
from kernelwright.cli._options import EFFORTS, SCALES, check_budget, check_choice, check_target, command_line
from kernelwright.cli._output import say, stderr, stdout, writable_file, write_document, write_text
from kernelwright.errors import OptionInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from kernelwright import bench
    from kernelwright.cli._facts import Facts
    from kernelwright.report import Record

bench_app = typer.Typer(help="Run a suite and print its scores.", no_args_is_help=True)


@bench_app.callback()
def _root() -> None:
    """Run a suite and print its scores."""


bench_app.command("hpc")(hpc)


@bench_app.command("kernelbench")
def kernelbench(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of task files, or of level1, level2, ...")],
    level: Annotated[int | None, typer.Option(help="Only DIR/level<N>.")] = None,
    only: Annotated[str | None, typer.Option(help="Only these task numbers, such as 1,3,10-12.")] = None,
    scale: Annotated[str, typer.Option(help="cpu: make batch-like sizes smaller; official: as written.")] = "cpu",
    budget: Annotated[float, typer.Option(help="Seconds to search, each task.")] = 60.0,
    effort: Annotated[str, typer.Option(help="quick, balanced or full.")] = "balanced",
    target: Annotated[str, typer.Option(help="Where the kernels will run.")] = "cpu",
    json: Annotated[Path | None, typer.Option(help="File for the results; also makes the run resumable.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a report with charts.")] = None,
) -> None:
    """Run a folder of files in the KernelBench format, each in a process of its own."""
    from kernelwright import bench
    from kernelwright.cli._facts import gather

    check_choice("--effort", effort, EFFORTS)
    check_choice("--scale", scale, SCALES)
    check_budget(budget)
    if level is not None and level < 0:
        raise OptionInvalid(f"--level is {level}; it must be a level's number, such as 1.")
    wanted = bench.parse_only(only) if only is not None else None
    document, page = writable_file(json, "--json"), writable_file(html, "--html")
    tasks = bench.find_tasks(folder, level, wanted)
    check_target(target)
    command = command_line(
        "bench kernelbench",
        [str(folder)],
        level=level,
        only=only,
        scale=scale,
        budget=budget,
        effort=effort,
        target=target,
    )
    with stderr().status("measuring what this machine can do (once)"):
        facts = gather()
    version, machine = facts.versions["kernelwright"], facts.machine["fingerprint"]
    settings = bench.Settings(target, scale, budget, effort, machine, version)
    partial = bench.Partial(document.with_name(document.name + ".partial.jsonl") if document else None)
    records = _run(tasks, settings, partial, facts)
    _finish(records, facts, document, page, command)
    partial.remove()


def _run(
    tasks: Sequence[bench.SuiteTask], settings: bench.Settings, partial: bench.Partial, facts: Facts
) -> list[Record]:
    """Run under a progress line; an interruption prints what is done and how to go on."""
    from kernelwright import bench, report

    limits = bench.limits_for(settings, facts.machine["memory"])
    done: list[Record] = []
    try:
        with _SuiteView(stderr(), len(tasks), done) as view:
            return bench.run_suite(tasks, settings, limits, partial=partial, on_progress=view.on_progress)
    except KeyboardInterrupt:
        if done:
            stdout().print(report.bench_table(done))
        hint = "the same command continues" if partial.path is not None else "--json FILE makes a run resumable"
        say(f"Interrupted after {len(done)} of {len(tasks)} tasks; {hint}.")
        raise typer.Exit(130) from None


def _finish(records: list[Record], facts: Facts, document: Path | None, page: Path | None, command: str) -> None:
    """Tables, scores and files of a complete run."""
    from kernelwright import report

    console = stdout()
    console.print(report.bench_table(records))
    console.print(report.scores_table(records))
    write_document(document, report.to_json(records, facts.machine, facts.versions))
    if page is not None:
        html = report.render_bench_html(
            records, machine=facts.shown(), versions=facts.versions, command=command, title="Suite of task files"
        )
        write_text(page, html)


class _SuiteView:
    """A progress bar with the running task, its stage and the time left; lines of finished tasks above it."""

    def __init__(self, console: Console, total: int, done: list[Record]) -> None:
        self.console = console
        self.done = done
        columns = (SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.bar = self.progress.add_task("", total=total)

    def __enter__(self) -> _SuiteView:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_progress(self, progress: bench.Progress) -> None:
        """Take in one step of the run."""
        from kernelwright.report import duration_text

        left = duration_text(progress.eta)
        if progress.record is None:
            message = str(progress.event.get("message", "")) if progress.event.get("kind") == "stage" else ""
            stage = f" · {STAGES.get(message, message)}" if message else ""
            self.progress.update(self.bar, description=f"{progress.task.name}{stage} · about {left} left")
            return
        self.done.append(progress.record)
        self.progress.update(self.bar, completed=len(self.done))
        line = f"[{len(self.done)}/{progress.total}] {_line(progress.record)}"
        ending = " (from the last run)" if progress.resumed else f" · about {left} left"
        self.console.print(Text(line + ending), soft_wrap=True)


def _line(record: Record) -> str:
    """One finished task in a line."""
    from kernelwright.report import ratio_text

    ratio = record.speedup["eager"]
    speed = f", {ratio_text(ratio)} eager" if ratio is not None else ""
    reason = f": {record.reason}" if record.reason else ""
    return f"{record.task} {record.status}{speed}{reason}"
