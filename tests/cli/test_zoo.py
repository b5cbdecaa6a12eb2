"""``kernelwright zoo``: the list, a run with its table and pictures, and every fault as one sentence."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.zoo import HotOperation, Measured, Result, System, Track
from kernelwright.zoo.common import axes


def _example(track: Track) -> Result:
    total = sum(track(range(4), "adding")) + sum(track(iter([10]), "without an end in sight"))
    figure, (at,) = axes()
    at.plot([0, 1], [0, total])
    return Result((Measured("the sum", total, "16", total == 16), Measured("nothing", float("nan"))), figure)


def _system(example: Callable[[Track], Result] = _example) -> System:
    operation = HotOperation("add", torch.add, lambda: (torch.ones(2), torch.ones(2)))
    return System("toy-sums", "Sums of Toys", "arXiv 0000.00000", "Sums are additive.", (operation,), example)


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> Callable[[System], None]:
    """Put one system in the place of all."""

    def put(system: System) -> None:
        for name in ("kernelwright.zoo.systems", "kernelwright.zoo._registry.systems"):
            monkeypatch.setattr(name, lambda: {system.name: system})

    return put


def test_the_list(kw: Any, zoo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo(_system())
    assert "nothing yet" in kw("zoo").out
    found = (Measured("slope", 1.25, "1.2", True), Measured("floor", 2.0, "1", False), Measured("seconds", 3.0))
    monkeypatch.setattr("kernelwright.zoo.figures", lambda: {"toy-sums": found})
    ended = kw("zoo")
    assert ended.code == 0, ended.err
    for part in ("toy-sums", "arXiv 0000.00000", "add", "slope: 1.25; 1 of 2 as expected"):
        assert part in ended.out, part


def test_a_run_prints_its_table_and_writes_its_pictures(kw: Any, zoo: Any, tmp_path: Path) -> None:
    zoo(_system())
    ended = kw("zoo", "run", "toy-sums", "--out", tmp_path / "new")
    assert ended.code == 0, ended.err
    for part in ("Sums of Toys (arXiv 0000.00000)", "Sums are additive.", "the sum", "16", "✓", "nan"):
        assert part in ended.out, part
    assert (tmp_path / "new" / "toy-sums.svg").read_text().startswith("<?xml")
    assert (tmp_path / "new" / "toy-sums.png").read_bytes().startswith(b"\x89PNG")
    assert "toy-sums.svg" in ended.err


def test_what_was_not_expected_is_said(kw: Any, zoo: Any, tmp_path: Path) -> None:
    def off(track: Track) -> Result:
        return Result((Measured("slope", 3.0, "2", False),), axes()[0])

    zoo(_system(off))
    ended = kw("zoo", "run", "toy-sums", "--out", tmp_path)
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "Not as expected: slope."


def test_faults_are_one_sentence(kw: Any, zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo(_system())
    file = tmp_path / "file"
    file.write_text("")
    for arguments, part in (
        (["run", "toy-sum"], "no system 'toy-sum'"), (["run"], "NAME"), (["walk"], "'walk'"),
        (["run", "toy-sums", "--out", file / "below"], "--out"),
    ):  # fmt: skip
        ended = kw("zoo", *arguments)
        assert ended.code == 2
        assert part in ended.sentence


@pytest.mark.parametrize("arguments", [["zoo"], ["zoo", "run", "ntk"]])
def test_a_missing_extra_is_named(kw: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "sklearn" else found(name))
    ended = kw(*arguments)
    assert ended.code == 2
    assert "scikit-learn" in ended.sentence
    assert "kernelwright[zoo]" in ended.sentence
