"""``kernelwright zoo``: which systems there are, and one of them at work on a small example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from kernelwright.cli._output import say, stderr, stdout, writable_folder

if TYPE_CHECKING:
    from kernelwright.zoo import Measured, System

_MARKS = {None: Text(""), True: Text("✓", style="green"), False: Text("✗", style="bold red")}

zoo_app = typer.Typer(help="Systems from papers, built on the engine: list them, or run one.")


@zoo_app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    """Systems from papers, built on the engine: list them, or run one."""
    if context.invoked_subcommand is None:
        _list()


def _list() -> None:
    from kernelwright import zoo

    with stderr().status("reading the zoo"):
        known, measured = zoo.systems(), zoo.figures()
    table = Table()
    for heading in ("system", "source", "hot operations", "measured"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("system", "source"))
    for name in sorted(known):
        system = known[name]
        operations = ", ".join(o.name for o in system.operations)
        table.add_row(Text(name), Text(system.source), Text(operations), Text(_headline(measured.get(name, ()))))
    console = stdout()
    console.print(table)
    console.print("kernelwright zoo run NAME runs a system's example and draws its picture.", soft_wrap=True)


def _headline(measured: Sequence[Measured]) -> str:
    """The first figure of a system's benchmark, and how many of its expectations held."""
    if not measured:
        return "nothing yet"
    judged = [m.holds for m in measured if m.holds is not None]
    held = f"; {sum(judged)} of {len(judged)} as expected" if judged else ""
    return f"{measured[0].name}: {measured[0].value:.4g}{held}"


@zoo_app.command("run")
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A system, such as ntk; kernelwright zoo lists them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for NAME.svg and NAME.png.")] = Path(),
) -> None:
    """Run a system's example, print what it measured and draw its picture."""
    from kernelwright import zoo
    from kernelwright.zoo.common import save

    system = zoo.system(name)
    folder = writable_folder(out, "--out") or out
    console = stdout()
    _introduce(system)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
        console=stderr(), transient=True,
    ) as progress:  # fmt: skip
        result = system.example(_Shown(progress))
    console.print(_table(result.measured))
    for ending in (".svg", ".png"):
        say(f"Wrote {save(result.picture, folder / f'{name}{ending}')}.")
    failed = [m.name for m in result.measured if m.holds is False]
    if failed:
        say(f"Not as expected: {', '.join(failed)}.")
        raise typer.Exit(1)


def _introduce(system: System) -> None:
    console = stdout()
    console.print(Text.assemble((system.title, "bold"), f" ({system.source})"), soft_wrap=True)
    console.print(Text(system.claim), soft_wrap=True)


def _table(measured: Sequence[Measured]) -> Table:
    table = Table()
    for heading in ("", "figure", "measured", "expected"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for m in measured:
        table.add_row(_MARKS[m.holds], Text(m.name), Text(f"{m.value:.4g}"), Text(m.expected))
    return table


class _Shown:
    """A :class:`kernelwright.zoo.Track`: one line of progress for each loop that is running."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, items: Iterable[Any], what: str) -> Iterator[Any]:
        line = self.progress.add_task(what, total=len(items) if isinstance(items, Sized) else None)
        for item in items:
            yield item
            self.progress.advance(line)
        self.progress.remove_task(line)
