"""The same Python candidates before the checks that others have published, beside our own verdicts.

``python attacks/field.py``, after ``attacks/run.py``; ``benchmarks/tables.py`` makes the tables. The protocols are
written anew from their descriptions: what is compared, how often, with which seeds, tolerances and order. As there,
evaluator and candidate share one process; only that process is a fork of its own, so that one candidate's end is not
everybody's.
Neither looks at the results of timed calls, so that nothing is timed here; filters of source text and language models
as reviewers are not part of these checks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch
from _cases import Case, load_corpus
from rich.progress import track

ACCEPTED, REJECTED, NO_RESULT = "accepted", "rejected", "no result"
_CODES = {41: ACCEPTED, 42: REJECTED}
_SECONDS = 20
_MEMORY = 6 << 30
_SEED, _TRIALS = 42, 5

Evaluator = Callable[[dict[str, Any]], bool]


def kernelbench(scope: dict[str, Any]) -> bool:
    """Tolerance 1e-4 (1e-2 for half types), five trials of public seeds, the reference first, the same tensors."""
    torch.manual_seed(_SEED)
    seeds = [int(torch.randint(0, 2**32 - 1, (1,))) for _ in range(_TRIALS)]
    torch.manual_seed(_SEED)
    init = scope["get_init_inputs"]()
    with torch.no_grad():
        torch.manual_seed(_SEED)
        reference = scope["Model"](*init)
        torch.manual_seed(_SEED)
        candidate = scope["ModelNew"](*init)
        for seed in seeds:
            torch.manual_seed(seed)
            inputs = scope["get_inputs"]()
            want = reference(*inputs)
            got = candidate(*inputs)
            limit = 1e-2 if want.element_size() == 2 else 1e-4
            if want.shape != got.shape or not torch.allclose(want, got, atol=limit, rtol=limit):
                return False
    return True


def robust_kbench(scope: dict[str, Any]) -> bool:
    """Tolerance 1e-5, five trials of seeds from 42, fresh models, the candidate before and after the reference."""
    for trial in range(_TRIALS):
        torch.manual_seed(_SEED + trial)
        init = scope["get_init_inputs"]()
        with torch.no_grad():
            torch.manual_seed(_SEED + trial)
            reference = scope["Model"](*init)
            torch.manual_seed(_SEED + trial)
            candidate = scope["ModelNew"](*init)
            inputs = scope["get_inputs"]()
            before = candidate(*inputs)
            want = reference(*inputs)
            after = candidate(*inputs)
            for got in (before, after):
                if want.shape != got.shape or not torch.allclose(got, want, atol=1e-5, rtol=1e-5):
                    return False
    return True


EVALUATORS: dict[str, Evaluator] = {"KernelBench": kernelbench, "robust-kbench": robust_kbench}


def evaluate(case: Case, evaluator: Evaluator) -> str:
    """What the evaluator says of the case, in a fork of this process."""
    child = os.fork()
    if child == 0:
        _be_child(case, evaluator)
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _CODES.get(os.waitstatus_to_exitcode(status), NO_RESULT)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return NO_RESULT


def _be_child(case: Case, evaluator: Evaluator) -> None:
    code = 42
    try:
        os.closerange(3, 256)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        scope: dict[str, Any] = {"__name__": "task"}
        exec(case.task.read_text(encoding="utf-8"), scope)
        scope["ModelNew"] = _load(case.path, scope)
        code = 41 if evaluator(scope) else 42
    except BaseException:  # as there: whatever a candidate raises, it is wrong
        code = 42
    os._exit(code)


def _load(path: Path, scope: dict[str, Any]) -> Any:
    """The candidate's class: executed in the reference's namespace, and imported where that needs a file."""
    try:
        exec(path.read_text(encoding="utf-8"), scope)
        return scope["ModelNew"]
    except OSError:  # decorators that read the source of what they decorate
        spec = importlib.util.spec_from_file_location("submission", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.ModelNew


def compare(ours: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """One row for each Python candidate: what every evaluator says."""
    cases = [c for c in load_corpus(folders=("cheats", "honest")) if c.path.suffix == ".py"]
    rows = []
    for case in track(cases, description="published checks", transient=True):
        row = {"name": case.name, "class": case.kind, "task": case.task.stem, "mechanism": case.mechanism}
        row |= {name: evaluate(case, check) for name, check in EVALUATORS.items()}
        mine = ours.get(case.name)
        row["kernelwright"] = "not judged" if mine is None else _ours(mine)
        rows.append(row)
    return rows


def _ours(mine: dict[str, Any]) -> str:
    if mine["status"] == "unjudged":
        return "task unscored" if mine["category"] == "unscored" else "not judgeable"
    return ACCEPTED if mine["status"] == "accepted" else REJECTED


def main(argv: Sequence[str]) -> int:
    from run import head, result_path

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--ours", type=Path, help="the file of attacks/run.py")
    parser.add_argument("--out", type=Path, help="where the rows go")
    options = parser.parse_args(argv)
    ours = options.ours or result_path("attacks")
    known = {row["name"]: row for row in json.loads(ours.read_text(encoding="utf-8"))["cases"]}
    start, about = time.monotonic(), head()
    rows = compare(known)
    about["seconds"] = round(time.monotonic() - start, 1)
    out = options.out or result_path("field")
    out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    for name in ("kernelwright", *EVALUATORS):
        cheats = sum(r[name] == ACCEPTED for r in rows if r["name"].startswith("cheats"))
        honest = sum(r[name] in (REJECTED, NO_RESULT) for r in rows if r["name"].startswith("honest"))
        print(f"{name}: {cheats} cheats accepted, {honest} honest ones not")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
