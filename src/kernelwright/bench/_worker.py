"""The process that runs one task of a suite: told what to do on its standard input, it answers on a pipe of its own.

Standard output stays free for whatever a task file prints. When standard input ends, the parent is gone, and so is
this process with everything it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from kernelwright.errors import KernelwrightError
from kernelwright.report import Record, failed_record, plain, record


def main() -> None:
    """Serve one task with the real loader and search."""
    from kernelwright.archive import Archive
    from kernelwright.search import generate_task, process_start
    from kernelwright.task import from_source

    def search(task: Any, **options: Any) -> Any:
        with Archive() as archive:
            return generate_task(task, archive=archive, since=process_start(), **options)

    serve(from_source, search)


def serve(load: Callable[..., Any], search: Callable[..., Any]) -> None:
    """Read the order, run ``search(load(path, scale=), target=, budget=, effort=, on_event=)``, send a record."""
    order = json.loads(sys.stdin.readline())
    os.set_inheritable(int(order["answer"]), False)
    _prefer_me_when_memory_ends()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with os.fdopen(int(order["answer"]), "w", encoding="utf-8") as answer:
        result = _run(order, load, search, answer)
        _send(answer, {"record": result.to_dict()})
    os._exit(0)  # a task file's threads or exit handlers must not keep this process


def _run(order: dict[str, Any], load: Callable[..., Any], search: Callable[..., Any], answer: TextIO) -> Record:
    """One task to one record; whatever a task file raises becomes a sentence."""

    def tell(event: Any) -> None:
        fields = {"kind": event.kind, "message": event.message, "elapsed": event.elapsed, "data": event.data}
        _send(answer, {"event": plain(fields)})

    try:
        task = load(order["path"], scale=order["scale"])
        options = {name: order[name] for name in ("target", "budget", "effort")}
        return record(search(task, on_event=tell, **options), order["name"])
    except KernelwrightError as error:
        return failed_record(order["name"], str(error), 0.0)
    except Exception as error:  # the border of a process: a fault of one task must not end the run
        traceback.print_exc()
        return failed_record(order["name"], f"{type(error).__name__}: {_first_line(error)}", 0.0)


def _send(answer: TextIO, message: dict[str, Any]) -> None:
    answer.write(json.dumps(message, allow_nan=False) + "\n")
    answer.flush()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")


def _prefer_me_when_memory_ends() -> None:
    """Linux kills the process with the highest score first: let it be this one, not the run."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _die_with_parent() -> None:
    """End this process group (it leads one) when the parent's end of standard input closes."""
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
