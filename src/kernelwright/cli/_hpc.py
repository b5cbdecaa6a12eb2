"""``kernelwright bench hpc``: how proficient is whoever writes kernels? Grades suggestions, prints the matrix."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelwright.cli._output import say, stderr, stdout, writable_file, write_document, write_text
from kernelwright.errors import OptionInvalid

if TYPE_CHECKING:
    from kernelwright.bench.hpc import Proficiency, Source


def hpc(
    suggestions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of suggestions: <language>/<model>/<kernel>[-keyword]/FILE."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Ask a model: its name, a GGUF file, or kernelwright for our own generator.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Where the model is served.")] = None,
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Answers recorded before, as the model.")] = None,
    count: Annotated[int, typer.Option(help="How often a model is asked for each prompt, 1 to 10.")] = 10,
    only: Annotated[str | None, typer.Option(help="Only these kernels, languages, models: gemm,cpp/openmp.")] = None,
    json: Annotated[Path | None, typer.Option(help="File for the grades as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a heat map (.svg), or a page that holds it.")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Grade even where the walls do not stand.")] = False,
    time_limit: Annotated[float, typer.Option(metavar="S", help="Seconds for one call of a suggestion.")] = 10.0,
) -> None:
    """Grade suggestions for six HPC kernels in many programming models, from non-knowledge (0) to expert (1)."""
    if not (math.isfinite(time_limit) and time_limit > 0):
        raise OptionInvalid(f"--time-limit is {time_limit:g}; it must be a number of seconds above 0.")
    if sum(given is not None for given in (suggestions, model, replay)) != 1:
        raise OptionInvalid("Give one of --suggestions DIR, --model NAME and --replay FILE.")
    document, picture = writable_file(json, "--json"), writable_file(html, "--html")
    from kernelwright.bench import hpc as bench

    if not 1 <= count <= bench.MOST:
        raise OptionInvalid(f"--count is {count}; it must be from 1 to {bench.MOST}.")
    wanted = bench.cells(only)
    source: Source = bench.Folder(suggestions) if suggestions is not None else _model(model, base_url, replay, count)
    with bench.Box(unsafe=unsafe, seconds=time_limit) as box, stderr().status("grading") as status:

        def progress(graded: Proficiency) -> None:
            status.update(f"graded {graded.cell.key}: {graded.level}")

        graded = bench.run_matrix(source, wanted, box, progress)
    if not graded:
        raise OptionInvalid(f"--only is {only!r}, of which there are no suggestions.")
    stdout().print(bench.table(graded, source.name))
    for note in bench.notes(graded):
        say(note)
    write_document(document, bench.to_json(graded, source.name))
    if picture is not None:
        drawn = bench.heat_map if picture.suffix == ".svg" else bench.page
        write_text(picture, drawn(graded, source.name))


def _model(name: str | None, base_url: str | None, replay: Path | None, count: int) -> Source:
    from kernelwright.bench.hpc import Asked, Generator
    from kernelwright.llm import ModelChoice, connect, subject_of

    if name == Generator.name:
        return Generator()
    choice = ModelChoice(name or "", base_url=base_url, replay=replay)
    return Asked(connect(choice, subject_of("bench hpc", "all")), count)
