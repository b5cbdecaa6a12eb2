"""What judging costs, and how long a user waits for the first accepted winner.

``python benchmarks/judge.py``  about three minutes; writes ``benchmarks/results/judge-MACHINE.json``

Judging: one candidate of each of a dozen tasks whose calls take milliseconds, already built, by a judge that starts
its processes anew ("cold") and by one that has judged another candidate of the task before ("warm"), as a trusted
candidate and as a stranger's behind walls. Rules: what is rejected by reading alone. First winner: one operation in a
process of its own from its start, with an empty archive, and which stage the time went to.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ATTACKS = HERE.parent / "attacks"
TASKS = (
    "01_squared_relu", "04_swiglu_gate", "16_spatial_mean", "19_greedy_token", "28_score_softmax",
    "31_token_layer_norm", "36_llama_rms_norm", "38_prefix_sums", "45_stem_max_pool", "52_linear_projection",
    "57_decode_matvec", "65_conv_three_by_three", "70_conv_depthwise_small", "82_sample_mse",
)  # fmt: skip
_STAGES = ("capture", "compile", "judge")


def task_file(name: str) -> Path:
    return HERE / "suite" / "level1" / f"{name}.py"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, nine tenths' bound and worst, in seconds."""
    ordered = sorted(values)
    at = min(len(ordered) - 1, int(0.9 * len(ordered)))
    return {"median": statistics.median(ordered), "p90": ordered[at], "worst": ordered[-1], "count": len(ordered)}


# ── judging ──


def our_candidate(task: Any) -> Any:
    """What our compiler proposes first, built."""
    from kernelwright.compiler import capture, prepare_captured
    from kernelwright.search._compiler import CompilerProposer
    from kernelwright.targets.cpu import build
    from kernelwright.task import load

    reference = load(task)
    captured = capture(reference.call, reference.draw(0, "given"), task.dynamic)
    candidate = CompilerProposer(prepare_captured(captured), task.name).propose(1)[0]
    build(candidate.source)
    return candidate


def judged(judge: Any, task: Any, candidate: Any) -> dict[str, Any]:
    """Seconds by the wall and of processors (those of processes that have ended)."""
    start, before = time.perf_counter(), _processor()
    verdict = judge.judge(task, candidate)
    found = {"seconds": time.perf_counter() - start, "status": verdict.status, "reason": verdict.reason}
    return {**found, "checks": len(verdict.checks), "phases": dict(verdict.phases), "_processor": before}


def _processor() -> float:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def judging(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row for each task and kind of candidate."""
    from kernelwright.judge import Judge
    from kernelwright.task import from_source

    for name in names:
        task = from_source(str(task_file(name)), scale="cpu")
        candidate = our_candidate(task)
        for kind, one in (("trusted", candidate), ("untrusted", replace(candidate, proposer="submission"))):
            with Judge() as judge:
                cold = judged(judge, task, one)
                warm = judged(judge, task, replace(one, source=f"{one.source}\n// once more\n"))
            cold["processor"] = _processor() - cold.pop("_processor")  # of both, now that all processes have ended
            warm.pop("_processor")
            yield {"task": name, "kind": kind, "cold": cold, "warm": warm}


def reading() -> list[dict[str, Any]]:
    """Every cheat is read by the rules: seconds, and whether that alone rejects it."""
    from kernelwright.judge import read_labels, read_submission
    from kernelwright.task import from_source

    rows = []
    for path in [p for p in sorted((ATTACKS / "cheats").iterdir()) if p.suffix in (".cpp", ".py")]:
        head = dict(line.lstrip("#/ ").partition(":")[::2] for line in path.read_text().splitlines()[:6])
        task = from_source(str(ATTACKS / "tasks" / head["task"].strip()))
        start = time.perf_counter()
        labels = read_labels(read_submission(path, task))
        seconds = time.perf_counter() - start
        rows.append({"candidate": path.name, "seconds": seconds, "rejected": any(one.forbidden for one in labels)})
    return rows[1:]  # the first one pays for imports


# ── the first winner ──


def first_winner(path: Path) -> dict[str, Any]:
    """Search in this process as ``kernelwright generate`` does, until something faster than eager is accepted."""
    from kernelwright.judge import dismiss, start_early

    start_early()
    from kernelwright import search
    from kernelwright.task import from_source

    task = from_source(str(path), scale="cpu")
    told: dict[str, float] = {}

    def on_event(event: Any) -> None:
        key = event.message if event.kind == "stage" else event.kind
        told.setdefault(key, event.elapsed)
        if event.kind == "best":
            raise KeyboardInterrupt

    since = search.process_start()
    outcome = search.generate_task(task, budget=60.0, effort="quick", on_event=on_event, since=since)
    dismiss()
    tried = [t for t in outcome.candidates if t.candidate.proposer != "baseline"]
    seconds = next((t.seconds for t in tried if t.verdict.accepted), None)
    marks = [*(told.get(stage, 0.0) for stage in _STAGES), told.get("verdict", 0.0), seconds or 0.0]
    names = ("imports and task", "capture", "compiler and judge's start", "verification", "first measurement")
    parts = dict(zip(names, (b - a for a, b in zip([0.0, *marks], marks, strict=False)), strict=True))
    built = next((t.compile_seconds for t in tried), None)
    return {"task": path.stem, "seconds": seconds, "parts": parts, "compiler": built}


def first_winners(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each in a process of its own, with an archive and a cache of its own, but the machine's peaks measured."""
    from kernelwright.machine import peaks
    from kernelwright.paths import cache_dir

    peaks()
    for name in names:
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "cache").mkdir()
            os.symlink(cache_dir() / "peaks", Path(home) / "cache" / "peaks")
            command = [sys.executable, __file__, "--first", str(task_file(name))]
            known = {**os.environ, "KERNELWRIGHT_HOME": home}
            done = subprocess.run(command, env=known, capture_output=True, text=True, check=True)
            yield json.loads(done.stdout.splitlines()[-1])


# ── the whole ──


def summary(rows: list[dict[str, Any]], rules: list[dict[str, Any]], firsts: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("trusted", "untrusted"):
        mine = [row for row in rows if row["kind"] == kind]
        for state in ("cold", "warm"):
            found[f"{kind}, {state}"] = spread([row[state]["seconds"] for row in mine])
            after = [row[state]["seconds"] - row[state]["phases"].get("build", 0.0) for row in mine]
            found[f"{kind}, {state}, after the build"] = spread(after)
        found[f"{kind}, processor of both"] = spread([row["cold"]["processor"] for row in mine])
    found["read by rules"] = spread([row["seconds"] for row in rules])
    rejected = [row["seconds"] for row in rules if row["rejected"]]
    if rejected:
        found["rejected by rules"] = spread(rejected)
    known = [row for row in firsts if row["seconds"]]
    found["first winner"] = spread([row["seconds"] for row in known])
    for part in known[0]["parts"]:
        found[f"first winner: {part}"] = spread([row["parts"][part] for row in known])
    compiled = [row["compiler"] for row in known if row["compiler"]]
    if compiled:
        found["compiling a candidate"] = spread(compiled)
    return found


def phases(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median seconds of each phase, by kind of candidate and state of the judge.

    read, rules: the text; start, screen: the processes and the task; build: the compiler; load, checks: the cases;
    watch: what strangers meet besides, their process and thousands of calls more.
    """
    found: dict[str, dict[str, float]] = {}
    for kind in ("trusted", "untrusted"):
        for state in ("cold", "warm"):
            mine = [row[state]["phases"] for row in rows if row["kind"] == kind]
            names = list(dict.fromkeys(name for one in mine for name in one))
            found[f"{kind}, {state}"] = {n: statistics.median([one.get(n, 0.0) for one in mine]) for n in names}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=len(TASKS), help="so many tasks only")
    parser.add_argument("--json", type=Path, help="where to write (default: benchmarks/results/)")
    options = parser.parse_args()
    if options.first:
        print(json.dumps(first_winner(options.first)))
        return 0
    from stamp import stamp

    from suite import machine_slug

    names, load = TASKS[: options.count], [round(os.getloadavg()[0], 2)]  # of others at the beginning, and in the end
    rows, firsts = [], []
    for row in judging(names):
        rows.append(row)
        states = ", ".join(f"{row[s]['seconds']:.2f} s {s} ({row[s]['status']})" for s in ("cold", "warm"))
        print(f"{row['task']:28s} {row['kind']:10s} {states}", flush=True)
    for row in first_winners(names):
        firsts.append(row)
        parts = ", ".join(f"{k} {v:.2f}" for k, v in row["parts"].items())
        print(f"{row['task']:28s} first winner after {row['seconds'] or 0:.2f} s: {parts}", flush=True)
    rules = reading()
    load.append(round(os.getloadavg()[0], 2))
    content = {**stamp(), "load": load, "summary": summary(rows, rules, firsts), "phases": phases(rows)}
    content |= {"judging": rows, "rules": rules, "first winners": firsts}
    out = options.json or HERE / "results" / f"judge-{machine_slug()}.json"
    out.write_text(json.dumps(content, indent=1) + "\n")
    for name, values in content["summary"].items():
        print(
            f"{name:44s} median {values['median']:7.3f} s  p90 {values['p90']:7.3f} s  worst {values['worst']:7.3f} s"
        )
    for name, seconds in content["phases"].items():
        print(f"{name:20s} " + "  ".join(f"{phase} {value:.2f} s" for phase, value in seconds.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
