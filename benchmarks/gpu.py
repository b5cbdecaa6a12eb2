"""Everything that a GPU should measure, in one command: ``python benchmarks/gpu.py``.

(a) the GPU's peaks, (b) what memory bounds, as a share of the copy bandwidth, (c) matrix products and (d) attention
against the vendor's libraries, (e) the tests marked ``gpu``, (f) our suite, cheap tasks first, against eager and
``torch.compile(mode="max-autotune")``. How a case is measured stands in ``gpu_cases.py``.

Each case runs in a process beside this one: one that crashes, hangs or spoils the GPU's context costs its own row, and
a new process does the next. The result file is written after each case, and a second run does what is not there yet.

    --seconds S       stop beginning new cases after so long (540: it ends within ten minutes)
    --case-seconds S  a case that takes longer is ended, and what it had measured by then is kept
    --scale K         multiply the leading size of suite tasks; "official" leaves them as they are
    --match REGEX     only cases whose label fits ("peaks" and "tests" are labels too)
    --again           do once more what failed
    --dry             no GPU: the same way at small sizes, interpreted; the times mean nothing
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_SECONDS = 180.0  # importing torch and the compiler, which is no case's time
Row = dict[str, Any]
Run = Callable[[str], Row]


# ── the process that measures ──


def serve(connection: Any, dry: bool, scale: str) -> None:
    """Answer labels with rows; a row that is not final says so."""
    os.setsid()  # so that whatever it starts (compilers of torch.compile) ends with it
    sys.path.insert(0, str(HERE))
    import torch
    from gpu_cases import Bench, find_case

    bench = Bench(dry)
    connection.send("ready")
    while True:
        label = connection.recv()
        try:
            row = bench.run(find_case(label), scale, lambda row: connection.send((False, row)))
        except Exception as error:  # one case must not cost the others their measurement
            row = {"case": label, "status": "failed", "note": f"{type(error).__name__}: {str(error)[:300]}"}
        connection.send((True, row))
        torch._dynamo.reset()
        if not dry:
            torch.cuda.empty_cache()


class Measurer:
    """One such process at a time, and a new one where the old one is of no use any more."""

    def __init__(self, dry: bool, scale: str, seconds: float) -> None:
        self._about, self._seconds = (dry, scale), seconds
        self._process: Any = None
        self._connection: Any = None

    def run(self, label: str) -> Row:
        """The row of a case; what was known of it when its process ended or its time was over."""
        row: Row = {"case": label, "status": "failed"}
        try:
            if self._process is None:
                self._start()
            end = time.monotonic() + self._seconds
            self._connection.send(label)
            while self._connection.poll(max(end - time.monotonic(), 0.0)):
                final, row = self._connection.recv()
                if final:
                    if "CUDA error" in row.get("note", ""):  # nothing works in a process after one
                        self.close()
                    return row
            why = f"it took more than {self._seconds:.0f} s"
        except (EOFError, BrokenPipeError, ConnectionResetError):
            why = f"its process ended with {self._code()}"
        self.close()
        return {**row, "note": f"{row['note']}: {why}" if "note" in row else why}

    def close(self) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # gone, or not yet the leader of its own group
            self._process.kill()
        self._process.join()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._about), daemon=False)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_SECONDS):
            raise EOFError
        self._connection.recv()

    def _code(self) -> str:
        self._process.join(10)
        return f"exit code {self._process.exitcode}"


# ── what is no case ──


def peaks(dry: bool) -> Row:
    """The peaks of the GPU; of the CPU in a dry run."""
    from kernelwright import machine

    if dry:
        return {"case": "peaks", "status": "right", "copy": machine.peaks().copy}
    found = machine.gpu_peaks()
    rates = {dtype: float(f"{rate / 1e12:.4g}") for dtype, rate in found.rates.items()}
    return {"case": "peaks", "status": "right", "copy": found.copy, "teraflops": rates}


def tests(seconds: float) -> Row:
    """The tests marked ``gpu``, which run nowhere else."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE.parent / "tests")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=HERE.parent)
        said, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        said, code = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or "", -1
    failed = re.findall(r"^(?:FAILED|ERROR) .*", said, re.MULTILINE)
    last = said.strip().splitlines()[-1:] or ["no output"]
    note = last[0] if code != -1 else f"not finished within {seconds:.0f} s"
    return {"case": "tests", "status": "right" if code in (0, 5) else "failed", "note": note, "failed": failed}


# ── the run ──


def measure(labels: Iterable[str], rows: dict[str, Row], run: Run, end: float, save: Callable[[], None]) -> None:
    """Run what is not in ``rows`` yet, until the end; whatever happens in one case, the next one follows."""
    for label in labels:
        if label in rows:
            continue
        if time.monotonic() > end:
            print(f"The time is over: {label} and what follows it is left for the next run.")
            return
        begin = time.monotonic()
        try:
            row = run(label)
        except Exception as error:
            row = {"case": label, "status": "failed", "note": f"{type(error).__name__}: {str(error)[:300]}"}
        rows[label] = {**row, "seconds": round(time.monotonic() - begin, 1)}
        save()
        print(line(rows[label]), flush=True)


def line(row: Row) -> str:
    speedup = "  ".join(f"{name} {q[1]:.2f} [{q[0]:.2f}-{q[2]:.2f}]" for name, q in row.get("speedup", {}).items())
    time_ = f"{row['microseconds']:10.1f} us" if "microseconds" in row else ""
    extra = "".join(f"  {row[key]} {key}" for key in ("gigabytes_per_second", "teraflops", "copy") if key in row)
    status = "" if row["status"] == "right" else row["status"]
    return f"{row['case']:44} {status:12}{time_}  {speedup}{extra}  {row.get('note', '')}".rstrip()


def summary(rows: dict[str, Row]) -> list[str]:
    """The short table: how many are right, ratios by group, what is reached of the bounds."""
    cases = [row for row in rows.values() if row["case"] not in ("peaks", "tests")]
    right = [row for row in cases if row["status"] == "right"]
    lines = [f"{len(right)} of {len(cases)} cases are right."]
    for group in sorted({row["case"].split()[0] for row in right}):
        members = [row for row in right if row["case"].split()[0] == group]
        for rival in ("eager", "compile"):
            found = [row["speedup"][rival][1] for row in members if rival in row.get("speedup", {})]
            positive = [ratio for ratio in found if ratio > 0]
            if positive:
                mean, ahead = statistics.geometric_mean(positive), sum(ratio > 1 for ratio in found)
                lines.append(f"{group:10} {rival:8} geometric mean {mean:5.2f}, ahead in {ahead} of {len(found)}")
    copy = rows.get("peaks", {}).get("copy")
    for row in right:
        if copy and "gigabytes_per_second" in row:
            lines.append(f"{row['case']:24} {row['gigabytes_per_second'] / copy:.0%} of the copy bandwidth")
        if row["case"].startswith(("matmul", "attention")) and "eager" in row.get("speedup", {}):
            lines.append(f"{row['case']:24} {row['speedup']['eager'][1]:.0%} of the vendor's library")
    return [*lines, *(f"tests: {row['note']}" for row in rows.values() if row["case"] == "tests")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--case-seconds", type=float, default=60.0)
    parser.add_argument("--scale", default="8")
    parser.add_argument("--match", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    if options.scale != "official" and not options.scale.isdigit():
        parser.error(f'--scale is {options.scale!r}; it must be a whole number or "official".')
    from kernelwright.machine import find_gpu

    device = find_gpu()
    if not device and not options.dry:
        print("There is no GPU here that torch can use: nothing was measured.")
        return 0
    slug = re.sub("[^a-z0-9]+", "-", (device or "dry").lower()).strip("-")
    folder = Path(tempfile.gettempdir()) if options.dry else HERE / "results"
    out = options.json or folder / f"gpu-{slug}.json"
    known = json.loads(out.read_text())["rows"] if out.exists() else []
    rows = {row["case"]: row for row in known if row["status"] == "right" or not options.again}

    def save() -> None:
        from stamp import stamp

        content = {
            **stamp(),
            "device": device or "none: a dry run",
            "scale": options.scale,
            "rows": list(rows.values()),
        }
        part = out.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, out)

    from gpu_cases import labels

    measurer = Measurer(options.dry, options.scale, options.case_seconds)

    def run(label: str) -> Row:
        if label == "peaks":
            return peaks(options.dry)
        if label == "tests":
            return tests(min(150.0, max(end - time.monotonic(), 10.0)))
        return measurer.run(label)

    found = labels("")
    first = [label for label in found if not label.startswith("suite")]
    order = ["peaks", *first, "tests", *(label for label in found if label.startswith("suite"))]
    try:
        measure([label for label in order if re.search(options.match, label)], rows, run, end, save)
    except KeyboardInterrupt:
        print("Interrupted: the next run goes on here.")
    finally:
        measurer.close()
    print("\n".join(summary(rows)))
    print(f"Written to {out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
