"""``kernelwright doctor``: what this machine is, what it can do at best, and whether everything is in order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from kernelwright.cli._output import say, stderr, stdout, writable_file, write_document
from kernelwright.errors import KernelwrightError


def doctor(
    json: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure the peaks again.")] = False,
) -> None:
    """Describe this machine, measure its peaks and check that everything is in order."""
    from kernelwright.cli._facts import gather
    from kernelwright.report import flatten, to_json

    document = writable_file(json, "--json")
    with stderr().status("measuring bandwidth and arithmetic (a few seconds)"):
        facts = gather(refresh=refresh)
    checks = [_compiler(facts.machine["compiler"]), _gpu(), _cuda(), *_folders(), _archive(), *_walls()]
    console = stdout()
    for title, rows in (("Machine", flatten(facts.shown())), ("Versions", flatten(facts.versions))):
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, Text(value))
        console.print(table)
    for good, sentence in checks:
        console.print(Text(f"{'✓' if good else '✗'} {sentence}", style="green" if good else "bold red"), soft_wrap=True)
    health = [{"ok": good, "message": sentence} for good, sentence in checks]
    write_document(document, to_json([], {**facts.machine, "checks": health}, facts.versions))
    if not all(good for good, _ in checks):
        say("Something is not in order; see the lines marked ✗.")
        raise typer.Exit(1)


def _compiler(label: str) -> tuple[bool, str]:
    if label:
        return True, f"C++ compiler found: {label}."
    return False, "No C++ compiler was found; install g++ or clang++, or pip install ziglang."


def _gpu() -> tuple[bool, str]:
    """What ``--target triton`` can do here; none of it is a fault."""
    from importlib.util import find_spec

    from kernelwright.machine import find_gpu

    gpu = find_gpu()
    if find_spec("triton") is None:
        return True, "triton is not installed: --target triton needs pip install 'kernelwright[triton]'."
    if not gpu:
        return True, "triton found, no GPU: --target triton proves and compiles kernels, and times none."
    return True, f"triton found, GPU found: {gpu}."


def _cuda() -> tuple[bool, str]:
    """What ``--target cuda`` can do here; none of it is a fault."""
    from kernelwright.targets.cuda import find_cuda_compiler

    compiler = find_cuda_compiler()
    if compiler is None:
        return True, "Neither NVRTC nor nvcc was found: --target cuda needs pip install 'kernelwright[cuda]'."
    return True, f"CUDA compiler found: {compiler.identity}."


def _folders() -> list[tuple[bool, str]]:
    """Whether the folders that kernelwright keeps can be written."""
    from kernelwright.paths import cache_dir, data_dir

    found = []
    for what, folder in (("Cache", cache_dir()), ("Data", data_dir())):
        probe = folder / f".doctor-{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
            found.append((True, f"{what} folder {folder} can be written."))
        except OSError as error:
            found.append((False, f"{what} folder {folder} cannot be written: {error.strerror}; set KERNELWRIGHT_HOME."))
    return found


def _walls() -> list[tuple[bool, str]]:
    """Which walls would stand round candidates that others wrote; only an essential one that is missing is a fault."""
    from kernelwright.judge._walls import stand

    found = []
    for wall in stand().walls:
        state = "stands" if wall.stands else "is missing" if wall.essential else "is missing, which is no fault"
        detail = f" ({wall.detail})" if wall.detail else ""
        found.append((wall.stands or not wall.essential, f"Wall against untrusted code: {wall.name} {state}{detail}."))
    return found


def _archive() -> tuple[bool, str]:
    """Whether the archive opens, and what it holds."""
    from kernelwright.archive import Archive

    try:
        with Archive() as archive:
            tasks, winners = archive.tasks(), archive.winners()
            notices = archive.notices
            size = archive.path.stat().st_size
    except KernelwrightError as error:
        return False, str(error)
    if notices:
        return False, " ".join(notices)
    return True, f"Archive is healthy: {len(tasks)} tasks, {len(winners)} winners, {size / 2**20:.1f} MiB."
