"""Records the times of whole spaces of kernels, and how many evaluations searches need to come near the best of each.

``python benchmarks/features.py record`` times every instance of three kernels with knobs (``spaces.cc``; one thread, by
processor time, many rounds in turn) and writes the tables that the tests replay; ``python benchmarks/features.py
search`` replays them: our feature search, random search and Optuna's samplers, by the median over seeds.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import math
import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "tests" / "llm" / "spaces"
RESULT = ROOT / "benchmarks" / "results" / "features-amd-epyc-25-17-2c.json"
NEAR = 0.95  # of the speed of the best point
SEEDS = 10

Point = tuple[Any, ...]
Search = Callable[["Table", int], int]


@dataclass(frozen=True)
class Table:
    """A recorded space: seconds by point; points that are no candidates are not in it."""

    name: str
    knobs: Mapping[str, Sequence[Any]]
    seconds: Mapping[Point, float]

    @property
    def goal(self) -> float:
        """The slowest time that counts as found."""
        return min(self.seconds.values()) / NEAR

    def points(self) -> Iterator[Point]:
        """All choices, candidates or not."""
        return itertools.product(*self.knobs.values())


# ── recording ──

# Knobs in the order of the template's parameters (spaces.cc).
SPACES: dict[str, dict[str, list[Any]]] = {
    "product": {"lanes": [2, 4, 8, 16], "rows": [1, 2, 4, 8, 12], "vectors": [1, 2, 3, 6], "depth": [1, 4, 64, 512]},
    "transposition": {
        "high": [2, 4, 8, 16, 32, 64, 128, 256],
        "wide": [2, 4, 8, 16, 32, 64, 128, 256],
        "along": [False, True],
        "ahead": [0, 1, 4],
    },
    "convolution": {
        "lanes": [4, 8, 16],
        "results": [1, 2, 4, 8, 16],
        "vectors": [1, 2],
        "high": [1, 2, 4],
        "channels": [8, 32],
    },
}


def record(rounds: int, match: str) -> None:
    """Time every point of the spaces whose name contains ``match``."""
    from stamp import stamp

    TABLES.mkdir(parents=True, exist_ok=True)
    for name, knobs in SPACES.items():
        if match not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            seconds = _time(_build(name, knobs, Path(folder)), name, list(itertools.product(*knobs.values())), rounds)
        rows = [[*point, round(best / 1e3, 3)] for point, best in seconds.items()]
        document = {**stamp(), "name": name, "knobs": knobs, "unit": "us of one thread", "rounds": rounds, "rows": rows}
        path = TABLES / f"{name.replace(' ', '-')}.json"
        path.write_text(_text(document))
        print(f"{path}: {len(rows)} points", flush=True)


def _build(name: str, knobs: Mapping[str, Sequence[Any]], folder: Path) -> ctypes.CDLL:
    """All instances of one template."""
    from kernelwright.machine import find_compiler

    compiler = find_compiler()
    assert compiler is not None
    function = name.replace(" ", "_")
    points = itertools.product(*knobs.values())
    instances = ", ".join(f"{function}<{', '.join(str(v).lower() for v in point)}>" for point in points)
    source = (ROOT / "benchmarks" / "spaces.cc").read_text().replace("INSTANCES", instances)
    (folder / "spaces.cc").write_text(source)
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "spaces.cc", "-o", "spaces.so"]
    subprocess.run([*compiler.argv, *flags], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "spaces.so"))
    library.spend.restype = ctypes.c_int64
    return library


def _time(library: ctypes.CDLL, name: str, points: Sequence[Point], rounds: int) -> dict[Point, float]:
    """The shortest time of a call; all points take turns, so that none has the machine's quiet hour alone."""
    a, b, c, truth = _operands(name)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, c)]
    for number, point in enumerate(points):
        library.run(number, *pointers)
        assert np.allclose(c, truth, rtol=1e-3, atol=1e-3), f"{name} {point} is wrong"
    best = dict.fromkeys(points, math.inf)
    for _ in range(rounds):
        for number, point in enumerate(points):
            library.run(number, *pointers)
            best[point] = min(best[point], library.spend(number, 2, *pointers) / 2)
    return best


def _operands(name: str) -> tuple[np.ndarray, ...]:
    """Two operands, room for the result, and what it must be."""
    draw = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, dtype=np.float32)

    if name == "product":
        a, b = normal(240, 512), normal(512, 480)
        return a, b, np.empty((240, 480), np.float32), a @ b
    if name == "transposition":
        a = normal(768, 768)
        return a, a, np.empty_like(a), a.T
    x, w = normal(32, 34, 48), normal(32, 32, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x[:, :, :34], (3, 3), axis=(1, 2))
    return x, w, np.empty((32, 32, 32), np.float32), np.einsum("chwij,ocij->ohw", windows, w)


def _text(document: dict[str, Any]) -> str:
    """JSON with one row a line."""
    rows = ",\n  ".join(json.dumps(row) for row in document.pop("rows"))
    head = json.dumps(document, sort_keys=False)
    return f'{head[:-1]}, "rows": [\n  {rows}\n]}}\n'


# ── replaying ──


def read_tables() -> list[Table]:
    """The recorded spaces."""
    return [_read(path) for path in sorted(TABLES.glob("*.json"))]


def _read(path: Path) -> Table:
    document = json.loads(path.read_text())
    seconds = {tuple(row[:-1]): row[-1] for row in document["rows"]}
    return Table(document["name"], document["knobs"], seconds)


def feature_search(table: Table, seed: int) -> int:
    """Candidates graded until one is near the best."""
    from kernelwright.llm import FeatureSearch, Grade, Space, TemplateProposer
    from kernelwright.targets import Candidate

    def make(point: Mapping[str, object]) -> Candidate:
        return Candidate("cpu", "compiler", json.dumps([point[name] for name in table.knobs]), None)

    author = TemplateProposer(Space(table.knobs, make), seed=seed)
    search = FeatureSearch(author, n=4, depth=1000, repair_cap=0, islands=2, least_gain=0.0, seed=seed)
    for count in itertools.count(1):
        candidate = search.propose()
        if candidate is None:
            break
        cost = table.seconds.get(tuple(json.loads(candidate.source)))
        if cost is not None and cost <= table.goal:
            return count
        search.grade(Grade("fast", cost=cost) if cost is not None else Grade("compile", "no such candidate"))
    return math.prod(map(len, table.knobs.values()))


def random_search(table: Table, seed: int) -> int:
    """The same without any memory but of what was tried."""
    points = list(table.points())
    random.Random(seed).shuffle(points)
    return next(n for n, point in enumerate(points, 1) if table.seconds.get(point, math.inf) <= table.goal)


def optuna_search(sampler: str) -> Search:
    """One of Optuna's samplers with its defaults; points that are no candidates are pruned."""

    def search(table: Table, seed: int) -> int:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
        for count in range(1, 1 + 2 * math.prod(map(len, table.knobs.values()))):
            trial = study.ask()
            point = tuple(trial.suggest_categorical(name, list(values)) for name, values in table.knobs.items())
            cost = table.seconds.get(point)
            if cost is not None and cost <= table.goal:
                return count
            study.tell(trial, cost, None if cost is not None else optuna.trial.TrialState.PRUNED)
        return count

    return search


def replay() -> None:
    """Evaluations of every search on every space; writes the result."""
    from stamp import stamp

    searches: dict[str, Search] = {"features": feature_search, "random": random_search}
    searches |= {f"optuna {name}": optuna_search(name) for name in ("TPESampler", "GPSampler")}
    spaces: dict[str, Any] = {}
    for table in read_tables():
        near = sum(cost <= table.goal for cost in table.seconds.values())
        spaces[table.name] = {"points": math.prod(map(len, table.knobs.values())), "near the best": near}
        for name, search in searches.items():
            counts = [search(table, seed) for seed in range(SEEDS)]
            spaces[table.name][name] = {"median": statistics.median(counts), "each": counts}
            print(f"{table.name:12} {name:18} {statistics.median(counts):6g} {counts}", flush=True)
    RESULT.write_text(json.dumps({**stamp(), "near": NEAR, "evaluations": spaces}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "search"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--match", default="", help="record the spaces whose name contains this")
    options = parser.parse_args()
    if options.what == "record":
        record(options.rounds, options.match)
    else:
        replay()


if __name__ == "__main__":
    main()
