"""``kernelwright judge``: is a candidate right? For people who want the judge and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kernelwright.cli._output import say, stderr, stdout, writable_file, write_document
from kernelwright.errors import KernelwrightError, OptionInvalid, SubmissionInvalid

if TYPE_CHECKING:
    from kernelwright.judge import Judge, Verdict

CODES = {"accepted": 0, "rejected": 1, "unjudged": 2}  # of the process: the worst of all candidates
STYLES = {"accepted": "green", "rejected": "red", "unjudged": "yellow"}
_COMMENT = ("#", "//")
_SHOWN = 12  # checks in the table for people; the document has them all


@dataclass(frozen=True)
class Judged:
    """What became of one candidate: its verdict, or the sentence that says why there is none."""

    task: str
    candidate: Path
    verdict: Verdict | None
    fault: str = ""
    kind: str = ""  # the fault's class
    walls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return self.verdict.status if self.verdict else "unjudged"

    @property
    def reason(self) -> str:
        return self.verdict.reason if self.verdict else self.fault

    @property
    def category(self) -> str:
        return self.verdict.category if self.verdict else self.kind

    def to_dict(self) -> dict[str, Any]:
        """One entry of the document."""
        content: dict[str, Any] = {"task": self.task, "candidate": str(self.candidate), "status": self.status}
        content |= {"category": self.category, "reason": self.reason}
        verdict = self.verdict
        content["checks"] = [asdict(check) for check in verdict.checks] if verdict else []
        content["labels"] = [asdict(label) for label in verdict.labels] if verdict else []
        content["notes"] = list(verdict.notes) if verdict else []
        content["deterministic"] = verdict.deterministic if verdict else None
        content["seconds"] = {**dict(verdict.phases), "total": verdict.seconds} if verdict else {}
        return {**content, "walls": self.walls}


def judge(
    task: Annotated[
        str | None,
        typer.Argument(metavar="TASK", help="file.py in the task format, file.py:name or package.module:name."),
    ] = None,
    candidate: Annotated[
        Path | None,
        typer.Argument(metavar="CANDIDATE", help="A C or C++ source, a shared object, or a Python file with ModelNew."),
    ] = None,
    batch: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge all candidates of a folder; each may name its `task:`.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the verdicts as JSON.")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Judge even where the walls do not stand.")] = False,
    time_limit: Annotated[float, typer.Option(metavar="S", help="Seconds for one request to a process.")] = 60.0,
    memory: Annotated[int | None, typer.Option(metavar="MB", help="Memory of each process; most by default.")] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Judge the gradients in inputs and parameters, too.")
    ] = False,
) -> int:
    """Judge whether CANDIDATE computes TASK: exit status 0 accepted, 1 rejected, 2 could not judge."""
    check_limits(time_limit, memory)
    document = writable_file(json, "--json")
    pairs = _pairs(task, candidate, batch)
    judged: list[Judged] = []
    try:
        for one in _judge_all(pairs, unsafe, time_limit, memory, gradients):
            judged.append(one)
            if batch is not None:
                say(f"{one.status:9}{one.candidate.name}{f': {one.category}' if one.category else ''}")
    finally:
        _write(document, judged)
    if batch is None:
        _show(judged[0])
    else:
        _show_all(judged)
    return max(CODES[one.status] for one in judged)


def check_limits(time_limit: float, memory: int | None) -> None:
    """Raises ``OptionInvalid`` for limits that make no sense."""
    if not (math.isfinite(time_limit) and time_limit > 0):
        raise OptionInvalid(f"--time-limit is {time_limit:g}; it must be a number of seconds above 0.")
    if memory is not None and memory <= 0:
        raise OptionInvalid(f"--memory is {memory}; it must be a number of MB above 0.")


# ── which candidate, which task ──


def _pairs(task: str | None, candidate: Path | None, batch: Path | None) -> list[tuple[str, Path]]:
    """Tasks and their candidates; a task that is not known is ""."""
    if batch is None:
        if task is None or candidate is None:
            raise OptionInvalid("Give a TASK and a CANDIDATE, or --batch and a folder of candidates.")
        return [(task, candidate)]
    if candidate is not None:
        raise OptionInvalid(f"CANDIDATE is {str(candidate)!r}, but --batch judges those of a folder; leave one out.")
    if not batch.is_dir():
        raise OptionInvalid(f"--batch is {str(batch)!r}, which is no folder.")
    from kernelwright.judge import SUFFIXES

    own = Path(task.rpartition(":")[0] or task).resolve() if task else None
    files = sorted(p for p in batch.iterdir() if p.suffix in SUFFIXES and not p.name.startswith(("_", ".")))
    pairs = [(task or _named_task(p, batch), p) for p in files if p.resolve() != own]
    if not pairs:
        raise OptionInvalid(f"--batch is {str(batch)!r}, which holds no candidate ({', '.join(SUFFIXES)}).")
    return sorted(pairs, key=lambda pair: pair[0])  # those of one task one after the other share its processes


def _named_task(path: Path, batch: Path) -> str:
    """The task that a file's first comments name, found beside it or in a folder ``tasks`` near it."""
    name = next((value for key, value in _header(path) if key == "task"), "")
    folders = (path.parent, batch / "tasks", batch.parent / "tasks", batch.parent)
    found = (folder / name for folder in folders if name and (folder / name.partition(":")[0]).is_file())
    return str(next(found, name))


def _header(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.startswith(_COMMENT):
                    return
                key, colon, value = line.lstrip("#/ ").partition(":")
                if colon:
                    yield key.strip(), value.strip()
    except OSError:
        return


# ── judging ──


def _judge_all(
    pairs: Sequence[tuple[str, Path]], unsafe: bool, time_limit: float, memory: int | None, gradients: bool
) -> Iterator[Judged]:
    from kernelwright.judge import dismiss, start_early

    if memory is None and Path(pairs[0][0]).is_file():
        start_early()  # it imports what it needs while this process does
    try:
        from kernelwright.judge import Judge

        limit = None if memory is None else memory << 20
        with Judge(time_limit=time_limit, memory_limit=limit, unsafe=unsafe) as judge:
            for task, path in pairs:
                with stderr().status(f"judging {path.name}"):
                    one = _judge_one(judge, task, path, gradients)
                yield one
    finally:
        dismiss()


def _judge_one(judge: Judge, task: str, path: Path, gradients: bool) -> Judged:
    """A fault of the task, or a file that is no candidate, leaves the others to be judged."""
    try:
        if not task:
            raise SubmissionInvalid(f"{path} names no task; begin it with a comment `task: FILE`, or give a TASK.")
        if gradients:
            from kernelwright.task import from_source

            verdict = judge.judge(replace(from_source(task), gradients=True), path)
        else:
            verdict = judge.judge(task, path)
    except KernelwrightError as error:
        return Judged(task, path, None, str(error), type(error).__name__)
    return Judged(task, path, verdict, walls=judge.walls)


# ── showing ──


def _show(one: Judged) -> None:
    if one.verdict is None:
        say(f"kernelwright: {one.fault}")
        return
    console, verdict = stdout(), one.verdict
    kind = f" ({verdict.category})" if verdict.category else ""
    console.print(Text(f"{one.candidate.name} is {verdict.status}{kind}.", style=f"bold {STYLES[verdict.status]}"))
    for sentence in (verdict.reason, verdict.determinism, *verdict.notes):
        if sentence:
            console.print(sentence, markup=False, soft_wrap=True)
    if verdict.checks:
        console.print(_checks(verdict))
    for label in verdict.labels:
        console.print(
            Text(f"It {label.name}: {label.detail}.", style="red" if label.forbidden else "dim"), soft_wrap=True
        )
    spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in verdict.phases)
    console.print(f"{verdict.seconds:.2f} s: {spent}.", style="dim")


def _checks(verdict: Verdict) -> Table:
    table = Table(header_style="bold")
    table.add_column("inputs", overflow="fold")
    table.add_column("seed", justify="right")
    table.add_column("error / bound", justify="right")
    for check in verdict.checks[-_SHOWN:]:
        style = "red" if not check.error <= 1 else ""
        table.add_row(check.structure, str(check.seed), f"{check.error:.3g}", style=style)
    left = len(verdict.checks) - _SHOWN
    if left > 0:
        table.caption = f"the last {_SHOWN} of {len(verdict.checks)} checks"
    return table


def _show_all(judged: Sequence[Judged]) -> None:
    table = Table(header_style="bold")
    for heading in ("candidate", "task", "verdict", "class"):
        table.add_column(heading)
    table.add_column("why", overflow="fold")
    table.add_column("s", justify="right")
    for one in judged:
        seconds = f"{one.verdict.seconds:.1f}" if one.verdict else "–"
        shown = (one.candidate.name, Path(one.task).name, Text(one.status, style=STYLES[one.status]), one.category)
        table.add_row(*shown, Text(one.reason), seconds)
    stdout().print(table)
    counts = Counter(one.status for one in judged)
    stdout().print(", ".join(f"{counts[status]} {status}" for status in CODES) + ".")


def _write(document: Path | None, judged: Sequence[Judged]) -> None:
    if document is None:
        return
    from kernelwright.machine import versions
    from kernelwright.report import plain

    counts = Counter(one.status for one in judged)
    content = {
        "versions": versions(),
        "verdicts": [one.to_dict() for one in judged],
        "summary": {status: counts[status] for status in CODES},
    }
    write_document(document, plain(content))
