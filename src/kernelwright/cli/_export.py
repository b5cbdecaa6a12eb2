"""``kernelwright export`` and ``kernelwright import``: kernels for others, and kernels of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelwright.cli._archive import one_record, open_archive
from kernelwright.cli._options import check_choice
from kernelwright.cli._output import stdout, writable_file, writable_folder, write_text

if TYPE_CHECKING:
    from kernelwright.evidence import Bundle

FORMS = ("bundle", "modelnew", "trace", "files")
_FOLDERS = ("trace", "files")


def export(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A digest of the archive (its first digits are enough), or a bundle.")
    ],
    out: Annotated[Path, typer.Option(help="File to write; a folder for trace and files.")],
    form: Annotated[str, typer.Option("--as", help="bundle, modelnew, trace or files.")] = "bundle",
) -> None:
    """Write a kernel for others: with its evidence, as a KernelBench file, or in the FlashInfer Trace schema."""
    check_choice("--as", form, FORMS)
    (writable_folder if form in _FOLDERS else writable_file)(out, "--out")
    for path in _files(what, out) if form == "files" else _FORMS[form](_bundle(what), out):
        stdout().print(str(path), markup=False, soft_wrap=True)


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A Definition, a Solution of it, a Workload; JSON or JSONL.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
) -> None:
    """Turn files of the FlashInfer Trace schema into a task, and a candidate that `judge` takes as a stranger's."""
    folder = writable_folder(out, "--out")
    assert folder is not None
    from kernelwright.evidence import from_trace

    written = from_trace(files).write(folder)
    for path in written:
        stdout().print(str(path), markup=False, soft_wrap=True)
    verb = "judge" if len(written) > 1 else "generate"
    task = f"{written[0]}:run"
    command = " ".join(["kernelwright", verb, task, *map(str, written[1:])])
    stdout().print(f"Read {written[0].name}: it is a program. Then: {command}", markup=False, soft_wrap=True)


def _bundle(what: str) -> Bundle:
    """From a bundle's file or from the archive."""
    from kernelwright.evidence import from_archive, read_bundle

    if Path(what).is_file():
        return read_bundle(Path(what))
    with open_archive() as archive:
        return from_archive(archive, one_record(archive, what).digest)


def _files(what: str, out: Path) -> tuple[Path, ...]:
    with open_archive() as archive:
        return archive.export(one_record(archive, what).digest, out)


def _write_bundle(bundle: Bundle, out: Path) -> tuple[Path, ...]:
    bundle.write(out)
    return (out,)


def _write_modelnew(bundle: Bundle, out: Path) -> tuple[Path, ...]:
    from kernelwright.evidence import modelnew

    write_text(out, modelnew(bundle))
    return (out,)


def _write_trace(bundle: Bundle, out: Path) -> tuple[Path, ...]:
    from kernelwright.evidence import to_trace

    return to_trace(bundle).write(out)


_FORMS: dict[str, Callable[[Bundle, Path], tuple[Path, ...]]] = {
    "bundle": _write_bundle,
    "modelnew": _write_modelnew,
    "trace": _write_trace,
}
