"""``benchmarks/gpu.py`` without a GPU: the same way in a dry run, and no case that ends the others."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.triton_lab import needs_triton

ROOT = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", ROOT / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def right(label: str) -> dict[str, Any]:
    return {"case": label, "status": "right", "microseconds": 2.0, "speedup": {"eager": [1.0, 2.0, 3.0]}}


def test_one_case_that_raises_does_not_end_the_run_and_each_row_is_saved(gpu: ModuleType):
    rows: dict[str, Any] = {"known": right("known")}
    saved: list[int] = []

    def run(label: str) -> dict[str, Any]:
        assert label != "known"
        if label == "bad":
            raise RuntimeError("an illegal memory access was encountered")
        return right(label)

    gpu.measure(["known", "bad", "good"], rows, run, time.monotonic() + 60, lambda: saved.append(len(rows)))
    assert [rows[label]["status"] for label in ("known", "bad", "good")] == ["right", "failed", "right"]
    assert saved == [2, 3]


def test_no_case_begins_when_the_time_is_over(gpu: ModuleType, capsys: pytest.CaptureFixture[str]):
    rows: dict[str, Any] = {}
    gpu.measure(["one"], rows, right, time.monotonic() - 1, lambda: None)
    assert rows == {}
    assert "left for the next run" in capsys.readouterr().out


def test_the_summary_stands_ratios_of_zero_and_rows_without_any(gpu: ModuleType):
    zero = {**right("memory a"), "speedup": {"eager": [0.0, 0.0, 0.0]}, "gigabytes_per_second": 50.0}
    rows = {"peaks": {"case": "peaks", "status": "right", "copy": 100.0}, "a": zero, "b": right("memory b")}
    rows |= {"c": {"case": "suite c", "status": "failed"}, "d": right("matmul d")}
    text = "\n".join(gpu.summary(rows))
    assert "3 of 4 cases are right" in text
    assert "memory     eager    geometric mean  2.00, ahead in 1 of 2" in text
    assert "50% of the copy bandwidth" in text
    assert "200% of the vendor's library" in text
    assert gpu.summary({}) == ["0 of 0 cases are right."]


def test_a_process_that_dies_or_hangs_costs_its_own_row(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "serve", _misbehave)
    measurer = gpu.Measurer(True, "1", 2.0)
    try:
        assert "ended with exit code 3" in measurer.run("die")["note"]
        slow = measurer.run("hang")
        assert slow["status"] == "right"  # what it had said by then
        assert slow["note"] == "not yet: it took more than 2 s"
        assert measurer.run("good")["status"] == "right"
    finally:
        measurer.close()


def _misbehave(connection: Any, dry: bool, scale: str) -> None:
    os.setsid()
    connection.send("ready")
    while True:
        label = connection.recv()
        if label == "die":
            os._exit(3)
        if label == "hang":
            connection.send((False, {**right(label), "note": "not yet"}))
            time.sleep(60)
        connection.send((True, right(label)))


def test_without_a_gpu_it_says_so(tmp_path: Path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = command(tmp_path / "none.json")
    assert done.stdout == "There is no GPU here that torch can use: nothing was measured.\n"
    assert not (tmp_path / "none.json").exists()


@needs_triton
@pytest.mark.slow
def test_a_dry_run_goes_the_whole_way_and_goes_on_where_it_stopped(tmp_path: Path):
    out = tmp_path / "dry.json"
    done = command(out, "--dry", "--match", "memory copy")
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    assert [(row["case"], row["status"]) for row in content["rows"]] == [("memory copy", "right")]
    assert set(content["rows"][0]["speedup"]) == {"eager", "compile"}
    more = command(out, "--dry", "--match", "memory copy|level1/01")
    assert "memory copy  " not in more.stdout.split("cases are right")[0]
    rows = json.loads(out.read_text())["rows"]
    assert [row["status"] for row in rows] == ["right", "right"]
    assert rows[0] == content["rows"][0]


def command(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "gpu.py"), "--json", str(out), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)
