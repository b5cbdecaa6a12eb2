"""The entry point: commands are gathered here, and every fault becomes one sentence and an exit code.

0: done · 1: done, but nothing could be served, or an unexpected fault · 2: bad input · 130: interrupted. A command that
returns a number says itself how it ended.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kernelwright import __version__
from kernelwright.cli._archive import archive_app
from kernelwright.cli._bench import bench_app
from kernelwright.cli._doctor import doctor
from kernelwright.cli._export import export, import_
from kernelwright.cli._generate import generate
from kernelwright.cli._judge import judge
from kernelwright.cli._output import say
from kernelwright.cli._rl import rl_app
from kernelwright.cli._verify import verify
from kernelwright.cli._zoo import zoo_app
from kernelwright.errors import KernelwrightError

app = typer.Typer(
    name="kernelwright",
    help="Generate fast kernels from PyTorch, prove them correct, measure them and serve them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command()(judge)
app.command()(verify)
app.command()(export)
app.command("import")(import_)
app.command()(doctor)
app.add_typer(bench_app, name="bench")
app.add_typer(archive_app, name="archive")
app.add_typer(rl_app, name="rl")
app.add_typer(zoo_app, name="zoo")

# The fault of a wrong command line, wherever typer keeps click: the base named so of an exception that typer exports.
_USAGE = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kernelwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return its exit code. Nothing but SystemExit from the interpreter itself gets out."""
    try:
        code = app(list(arguments), prog_name="kernelwright", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except KernelwrightError as error:
        return _fault(error, str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        say("Interrupted.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: not our fault, no message
        return 1
    except Exception as error:  # the border of the process: a traceback is for the log, a sentence for the user
        return _usage(error) if isinstance(error, _USAGE) else _unexpected(error)


def _usage(error: Exception) -> int:
    """A wrong command line."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help, empty where it was printed already
        print(message, end="\n" if message else "")
        return 2
    sentence = " ".join(message.split())
    return _fault(error, sentence if sentence.endswith((".", "?")) else sentence + ".", 2)


def _fault(error: Exception, sentence: str, code: int) -> int:
    """A fault that is the user's to see."""
    if _debug():
        traceback.print_exception(error)
    say(f"kernelwright: {sentence}")
    return code


def _unexpected(error: Exception) -> int:
    """A fault nobody foresaw: the whole story into a file, one sentence to the user."""
    if _debug():
        traceback.print_exception(error)
    path = _write_log(error)
    kept = f"the full traceback is in {path}" if path else "KERNELWRIGHT_DEBUG=1 shows the full traceback"
    summary = next(iter(str(error).splitlines()), "")
    say(f"kernelwright: unexpected {type(error).__name__}{f' ({summary})' if summary else ''}; {kept}.")
    return 1


def _write_log(error: Exception) -> Path | None:
    """The traceback in a new file of the cache folder, else of the temporary one; None where neither can be written."""
    from kernelwright.paths import cache_dir

    text = "".join(traceback.format_exception(error))
    for folder in (cache_dir() / "log", Path(tempfile.gettempdir())):
        path = folder / f"kernelwright-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(f"kernelwright {__version__}: {' '.join(sys.argv)}\n{text}", encoding="utf-8")
        except OSError:
            continue
        return path
    return None


def _debug() -> bool:
    return os.environ.get("KERNELWRIGHT_DEBUG", "") not in ("", "0")
