"""How benchmarks of the zoo write their results: whole files, plain numbers, a picture, and a failure that is heard."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from kernelwright.zoo import Measured
from kernelwright.zoo.common import axes

SOURCE = Path(__file__).parents[2] / "benchmarks" / "zoo" / "record.py"


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo_record", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "docs").mkdir()
    for name, value in (("ROOT", tmp_path), ("RESULTS", tmp_path), ("FIGURES", tmp_path / "figures.json")):
        monkeypatch.setattr(module, name, value)
    return module


def test_a_result_is_plain_json_with_its_machine(recorder: ModuleType, tmp_path: Path) -> None:
    measured = [Measured("slope", 1.5, "1 to 2", True), Measured("lost", float("nan"))]
    curve = {2: torch.tensor([1.0, 2.0]), 3: np.float32(0.5)}
    path = recorder.record("toy-sums", measured, picture=axes()[0], curve=curve, sizes=(1, np.int64(2)))
    content = json.loads(path.read_text())
    assert content["system"] == "toy-sums"
    assert content["machine"]["cores"] >= 1
    assert content["measured"][0] == {"name": "slope", "value": 1.5, "expected": "1 to 2", "holds": True}
    assert content["measured"][1]["value"] is None
    assert content["curve"] == {"2": [1.0, 2.0], "3": 0.5}
    assert content["sizes"] == [1, 2]
    assert "<svg" in (tmp_path / "docs" / "zoo" / "toy-sums.svg").read_text()


def test_what_is_published_follows_from_all_results(recorder: ModuleType, tmp_path: Path) -> None:
    recorder.record("one", [Measured("a", 1.0)])
    with pytest.raises(SystemExit, match="two: not as expected: b"):
        recorder.record("two", [Measured("b", 2.0, "3", False), Measured("c", 3.0, "3", True)])
    assert [m["holds"] for m in json.loads((tmp_path / "zoo-two.json").read_text())["measured"]] == [False, True]
    published = json.loads((tmp_path / "figures.json").read_text())
    assert {name: [m["value"] for m in rows] for name, rows in published.items()} == {"one": [1.0], "two": [2.0, 3.0]}
