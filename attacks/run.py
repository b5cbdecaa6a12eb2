"""Judges the whole corpus and says what became of every case: ``python attacks/run.py [--match TEXT] [--out FILE]``.

Outcomes are written after each case, with date and machine; a run that was stopped goes on where it ended, as long as
neither the judge nor the case has changed. A busy machine changes no outcome: a time limit that an honest kernel met is
tried again with a longer one, and a cheat has won time only when the whole interval says so. Exit status 0 when
everything is as it must be (cases that are written down as open aside), 1 otherwise.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _cases import Case, load_corpus
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RIGHT, OTHER, OPEN, REFUSED, UNJUDGED = "right", "other reason", "ACCEPTED", "REFUSED", "UNJUDGED"
_STYLES = {RIGHT: "green", OTHER: "yellow", OPEN: "bold red", REFUSED: "bold red", UNJUDGED: "magenta"}
_TIMED_SECONDS = 0.25
_GROUP = 12  # cases that share a session, if they are of one task
_GAIN = 1.2  # a cheat whose interval does not lie above this many times the reference's speed has won nothing
_LIMITS = (12.0, 60.0)  # seconds for a request, and for one more try of an honest kernel that took longer


@dataclass(frozen=True)
class Outcome:
    """What became of a case; ``speedup``: over eager, the interval's lower end, when it was accepted and timed."""

    name: str
    digest: str
    kind: str
    task: str
    outcome: str
    status: str
    category: str
    reason: str
    seconds: float
    speedup: float | None = None
    open: str = ""

    @property
    def bad(self) -> bool:
        return self.outcome in (OPEN, REFUSED, UNJUDGED) and not self.open


class Bench:
    """A judge with short limits, and its stopwatch for cheats that it accepts: what they forge may be the time."""

    def __init__(self, seconds: float = _LIMITS[0]) -> None:
        from kernelwright.judge import Judge

        self.judge = Judge(time_limit=seconds, memory_limit=2 << 30)

    def close(self) -> None:
        self.judge.close()

    def run(self, case: Case) -> Outcome:
        start = time.perf_counter()
        verdict, speedup = self._verdict(case)
        if verdict.category == "timeout" and case.expect == "accepted":
            patient = Bench(_LIMITS[1])
            try:
                verdict, speedup = patient._verdict(case)
            finally:
                patient.close()
        return Outcome(
            case.name, case.digest, case.kind, case.task.stem, classify(case, verdict, speedup), verdict.status,
            verdict.category, verdict.reason, round(time.perf_counter() - start, 2), speedup, case.open,
        )  # fmt: skip

    def _verdict(self, case: Case) -> tuple[Any, float | None]:
        from kernelwright.judge import Rejected, Verdict, read_submission
        from kernelwright.task import from_source

        try:
            task = from_source(str(case.task))
            candidate = read_submission(case.path, task)
            verdict = self.judge.judge(task, candidate)
            if verdict.accepted and case.folder != "honest":
                return verdict, self._time(candidate)
        except Rejected as rejected:
            return rejected.verdict, None
        except Exception as error:  # one case must not cost the others theirs; it is shown as not judged
            return Verdict("unjudged", str(error), type(error).__name__), None
        return verdict, None

    def _time(self, candidate: Any) -> float:
        from kernelwright.targets import Candidate

        eager = Candidate("eager", "baseline", "", None, label="eager")
        session = self.judge.session
        assert session is not None
        found = session.measure(candidate, [eager], seconds=_TIMED_SECONDS, checked=6)
        ratio = found.speedup.get("eager")
        return float("nan") if ratio is None else round(ratio.lo, 3)


def classify(case: Case, verdict: Any, speedup: float | None) -> str:
    """The outcome of a case with this verdict."""
    if verdict.status == "unjudged":
        right = case.expect == verdict.category or (case.expect == "unjudged" and verdict.category in case.reasons)
        return RIGHT if right else UNJUDGED
    if case.expect == "unjudged":
        return UNJUDGED if verdict.accepted else REFUSED
    if case.expect == "accepted":
        return RIGHT if verdict.accepted else REFUSED
    if verdict.accepted:
        return RIGHT if case.gainless and speedup is not None and speedup <= _GAIN else OPEN
    return RIGHT if verdict.category in case.reasons or not case.reasons else OTHER


def reclassify(case: Case, found: Outcome) -> str:
    """The outcome by the header as it is now."""
    from kernelwright.judge import Verdict

    return classify(case, Verdict(found.status, found.reason, found.category), found.speedup)


class Record:
    """Outcomes in a file, written after each case so that nothing is lost."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.lock = path, threading.Lock()
        self.known: dict[str, Outcome] = {}
        self.head = head()
        if path is not None and path.exists():
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["judge"] == self.head["judge"]:
                self.head = {k: v for k, v in document.items() if k != "cases"}
                self.known = {row["name"]: Outcome(**row) for row in document["cases"]}

    def find(self, case: Case) -> Outcome | None:
        found = self.known.get(case.name)
        if found is None or found.digest != case.digest or found.outcome == UNJUDGED:
            return None
        return replace(found, outcome=reclassify(case, found), open=case.open)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """``seconds`` have passed since the last time."""
        with self.lock:
            self.known[outcome.name] = outcome
            self.head["seconds"] = round(self.head["seconds"] + seconds, 1)
            if self.path is not None:
                rows = [asdict(self.known[name]) for name in sorted(self.known)]
                waiting = self.path.with_suffix(".part")
                waiting.write_text(json.dumps({**self.head, "cases": rows}, indent=1) + "\n", encoding="utf-8")
                waiting.replace(self.path)


def head() -> dict[str, Any]:
    """When, where and by which judge."""
    from kernelwright.machine import describe, versions

    digest = hashlib.sha256()
    for room in ("judge", "targets", "task"):
        for path in sorted((ROOT / "src" / "kernelwright" / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return {
        "date": datetime.date.today().isoformat(),
        "machine": asdict(describe()),
        "versions": versions(),
        "load": round(os.getloadavg()[0], 2),
        "judge": digest.hexdigest()[:16],
        "seconds": 0.0,
    }


def judge_all(cases: Sequence[Case], record: Record, jobs: int, console: Console) -> list[Outcome]:
    """Judge what the record does not hold yet; cases of one task share a session."""
    todo = [case for case in cases if record.find(case) is None]
    last = [time.monotonic()]
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("judging", total=len(cases), completed=len(cases) - len(todo))

        def group(members: list[Case]) -> None:
            bench = Bench()
            try:
                for case in members:
                    progress.update(bar, description=f"{case.name:<44}")
                    outcome = bench.run(case)
                    before, last[0] = last[0], time.monotonic()
                    record.add(outcome, last[0] - before)
                    progress.advance(bar)
            finally:
                bench.close()

        tasks = [list(members) for _, members in groupby(todo, key=lambda c: c.task)]
        groups = [members[k : k + _GROUP] for members in tasks for k in range(0, len(members), _GROUP)]
        with ThreadPoolExecutor(max(jobs, 1)) as pool:
            for done in [pool.submit(group, members) for members in groups]:
                done.result()
    return [found for case in cases if (found := record.find(case)) is not None]


def tables(outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """The cases that are not as they must be, and the counts."""
    odd = [o for o in outcomes if o.outcome != RIGHT]
    if odd:
        table = Table("case", "class", "outcome", "verdict", "reason", title="not as expected", title_justify="left")
        for o in odd:
            reason = f"open: {o.open}" if o.open else o.reason[:140]
            table.add_row(o.name, o.kind, f"[{_STYLES[o.outcome]}]{o.outcome}", o.category or o.status, reason)
        yield table
    counts = Counter((_family(o), o.outcome) for o in outcomes)
    table = Table("family", "cases", *_STYLES, title="counts", title_justify="left")
    for family in sorted({f for f, _ in counts}):
        row = [counts[family, outcome] for outcome in _STYLES]
        table.add_row(family, str(sum(row)), *(str(n) if n else "" for n in row))
    yield table


def _family(outcome: Outcome) -> str:
    folder = outcome.name.split("/")[0]
    if folder != "cheats":
        return folder
    names = {"A": "not doing the work", "B": "reusing results", "C": "the clock", "D": "evidence", "E": "numerics"}
    return f"cheats {outcome.kind[0]}: {names[outcome.kind[0]]}"


def result_path(kind: str) -> Path:
    """Where a result of this kind belongs, named after the machine."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from suite import machine_slug

    return ROOT / "benchmarks" / "results" / f"{kind}-{machine_slug()}.json"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--match", default="", help="only cases whose name, class or task contains this")
    parser.add_argument("--out", type=Path, help="where outcomes are kept, a run goes on from there ('-': nowhere)")
    parser.add_argument("--jobs", type=int, default=2, help="tasks that are judged side by side")
    options = parser.parse_args(argv)
    console = Console()
    out = options.out or result_path("attacks")
    outcomes = judge_all(load_corpus(options.match), Record(None if out == Path("-") else out), options.jobs, console)
    for table in tables(outcomes):
        console.print(table)
    return int(any(o.bad for o in outcomes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
