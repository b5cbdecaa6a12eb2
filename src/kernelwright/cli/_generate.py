"""``kernelwright generate``: one task to one served kernel, its files and its report."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from kernelwright.cli._models import Asked, check_models
from kernelwright.cli._options import EFFORTS, SCALES, check_budget, check_choice, check_target, command_line
from kernelwright.cli._output import (
    say,
    stderr,
    stdout,
    writable_file,
    writable_folder,
    write_document,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from kernelwright.archive import Archive
    from kernelwright.cli._facts import Facts
    from kernelwright.search import Outcome

SUFFIXES = {"cpu": "cpp", "wasm": "cpp", "cuda": "cu", "triton": "py"}


def generate(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="file.py in the task format, file.py:name or package.module:name.")
    ],
    target: Annotated[
        str | None, typer.Option(help="cpu, triton or cuda; by default triton where a GPU is, else cpu.")
    ] = None,
    budget: Annotated[float, typer.Option(help="Seconds to search.")] = 60.0,
    effort: Annotated[str, typer.Option(help="quick, balanced or full: how many candidates to try.")] = "balanced",
    out: Annotated[Path | None, typer.Option(help="Folder for the kernel, its plan and the report.")] = None,
    json: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    lock: Annotated[Path | None, typer.Option(help="Lock file that pins the winner.")] = None,
    scale: Annotated[str, typer.Option(help="official, or cpu: make batch-like sizes smaller.")] = "official",
    proposer: Annotated[str, typer.Option(help="compiler, llm (a language model) or both.")] = "compiler",
    model: Annotated[str | None, typer.Option(help="A GGUF file, or the name of a model behind an endpoint.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The OpenAI-compatible endpoint of --model.")] = None,
    record: Annotated[Path | None, typer.Option(help="File for the model's answers.")] = None,
    replay: Annotated[Path | None, typer.Option(help="File of recorded answers, instead of a model.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens that the model may cost.")] = None,
    money: Annotated[float | None, typer.Option(help="What the model may cost, in the currency of --price.")] = None,
    price: Annotated[str | None, typer.Option(metavar="IN,OUT", help="Of a million tokens asked, and given.")] = None,
    gradients: Annotated[bool, typer.Option("--gradients", help="Gradients are part of what is generated.")] = False,
) -> None:
    """Generate a kernel for SOURCE that is proven correct and measured against eager and torch.compile."""
    check_choice("--effort", effort, EFFORTS)
    check_choice("--scale", scale, SCALES)
    check_budget(budget)
    folder = writable_folder(out, "--out")
    document, pins = writable_file(json, "--json"), writable_file(lock, "--lock")
    asked = check_models(proposer, model, base_url, writable_file(record, "--record"), replay, tokens, money, price)
    more = {} if asked is None else {"proposer": proposer, "model": model, "base-url": base_url, "replay": replay}
    try:
        outcome, facts, interrupted = _search(source, target, budget, effort, scale, pins, asked, gradients)
    except KeyboardInterrupt:  # before the search took over, which itself keeps the best so far
        say("Interrupted before anything was found.")
        raise typer.Exit(130) from None
    from kernelwright.search import target_here  # imported long since

    target = target or target_here()
    words = [source, *(["--gradients"] if gradients else [])]
    command = command_line("generate", words, target=target, budget=budget, effort=effort, scale=scale, **more)
    _show(outcome)
    _write(outcome, facts, folder, document, command)
    if outcome.winner is None and outcome.unmeasured is None:
        say(outcome.reason or "No candidate was accepted.")
        raise typer.Exit(130 if interrupted else 1)


def _search(
    source: str, target: str | None, budget: float, effort: str, scale: str, lock: Path | None, asked: Asked | None,
    gradients: bool,
) -> tuple[Outcome, Facts, bool]:  # fmt: skip
    """Run the search under its live picture; tell whether the user interrupted it."""
    from kernelwright.judge import dismiss, start_early

    if not _seems_known(source):
        start_early()
    try:
        return _search_now(source, target, budget, effort, scale, lock, asked, gradients)
    finally:
        dismiss()


def _seems_known(source: str) -> bool:
    """Whether the archive may hold a winner for SOURCE, or SOURCE is wrong: no process need be started early then."""
    from kernelwright.archive import Archive

    path, _, name = source.partition(":")
    with Archive() as archive:
        return not Path(path).is_file() or any(
            row.winners and row.name in (name, Path(path).stem) for row in archive.tasks()
        )


def _search_now(
    source: str, target: str | None, budget: float, effort: str, scale: str, lock: Path | None, asked: Asked | None,
    gradients: bool,
) -> tuple[Outcome, Facts, bool]:  # fmt: skip
    if target is not None:
        check_target(target)
    from kernelwright.task import from_source

    task = from_source(source, scale=scale)  # first: a wrong SOURCE is told before anything slow is imported
    task = replace(task, gradients=gradients)
    from kernelwright import search
    from kernelwright.archive import Archive
    from kernelwright.cli._facts import gather
    from kernelwright.cli._live import SearchView

    target = target or search.target_here()
    console = stderr()
    measuring = time.monotonic()
    with console.status("measuring what this machine can do (once)"):
        facts = gather()
    since = search.process_start() + time.monotonic() - measuring  # what is done once is no part of the budget
    with Archive() as archive, _interruption() as interruption:
        with SearchView(console, budget) as view:
            outcome = search.generate_task(
                task, target=target, budget=budget, effort=effort, archive=archive, on_event=view.on_event, since=since,
                models=asked.models() if asked is not None else None,
            )  # fmt: skip
        for notice in archive.notices:
            say(notice)
        if lock is not None:
            _pin(archive, outcome, target, lock)
    return outcome, facts, interruption.happened


def _show(outcome: Outcome) -> None:
    """The final tables."""
    from kernelwright.report import (
        build_table,
        comparison_table,
        distinct,
        headline,
        seconds_text,
        shrunk_rows,
        trials_table,
    )

    console = stdout()
    if outcome.from_archive:
        console.print("Served from the archive: nothing had to be searched.")
    else:
        console.print(f"{len(distinct(outcome.candidates))} candidates in {seconds_text(outcome.seconds)}.")
        if outcome.candidates:
            console.print(trials_table(outcome.candidates))
    for s in shrunk_rows(outcome.task):
        console.print(f"Made smaller: input {s['argument']}, dimension {s['dim']}: {s['from']} to {s['to']}.")
    if outcome.unmeasured is not None:
        console.print(build_table(outcome.unmeasured))
        console.print(headline(outcome))
    if outcome.winner is not None:
        console.print(comparison_table(outcome))
        console.print(headline(outcome))
        if outcome.reason:
            console.print(outcome.reason, markup=False)
        for note in outcome.winner.notes:
            console.print(note, markup=False, style="dim")


def _write(outcome: Outcome, facts: Facts, folder: Path | None, document: Path | None, command: str) -> None:
    """The files that were asked for."""
    from kernelwright.report import render_html, to_json
    from kernelwright.targets import one_file

    content = to_json([outcome], facts.machine, facts.versions)
    write_document(document, content)
    if folder is None:
        return
    write_document(folder / "outcome.json", content)
    page = render_html(
        outcome,
        machine=facts.shown(),
        versions=facts.versions,
        command=command,
        ceilings=facts.ceilings(outcome.task.dtype),
    )
    write_text(folder / "report.html", page)
    found = outcome.winner or (outcome.unmeasured.candidate if outcome.unmeasured is not None else None)
    if found is not None and found.source:
        write_text(folder / f"kernel.{SUFFIXES.get(found.target, 'txt')}", one_file(found))
    if found is not None and found.plan is not None:
        from kernelwright.targets import plan_to_json

        write_json(folder / "plan.json", plan_to_json(found.plan))
    stdout().print(f"Report: {folder / 'report.html'}", markup=False, soft_wrap=True)


def _pin(archive: Archive, outcome: Outcome, target: str, path: Path) -> None:
    """Pin the winner of this search in the lock file, beside what is pinned there already."""
    from kernelwright.archive import entry_of, merge_lock

    rows = archive.winners(outcome.task.digest)
    wanted = outcome.winner.digest if outcome.winner is not None else ""
    rows = tuple(row for row in rows if row.target == target and row.candidate == wanted)
    if not rows:
        say(f"{path} was not written: the archive keeps no generated winner for this task.")
        return
    newest = max(rows, key=lambda row: row.recorded)
    merge_lock(path, [entry_of(newest, outcome.task.name)])


@dataclass
class _Interruption:
    """Whether Ctrl-C was pressed; the search itself turns it into the best so far."""

    happened: bool = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.happened = True
        raise KeyboardInterrupt


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    """Watch for Ctrl-C while the body runs."""
    state = _Interruption()
    before = signal.signal(signal.SIGINT, state.handle)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)
