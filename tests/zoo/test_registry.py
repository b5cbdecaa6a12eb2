"""What every system of the zoo must bring: a name, a source, operations that run, a page, a picture, results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo import System, fields, figures, plainly, system, systems

ROOT = Path(__file__).parents[2]
SYSTEMS = systems()


def test_fields_hold_systems_and_common_is_none() -> None:
    assert {"continual", "kernel_methods"} <= set(fields())
    assert "common" not in fields()


def test_a_system_is_found_by_name_and_others_are_named() -> None:
    for name, found in SYSTEMS.items():
        assert system(name) is found
    with pytest.raises(ZooInvalid, match=next(iter(SYSTEMS))):
        system("perpetual-motion")


@pytest.mark.parametrize("found", SYSTEMS.values(), ids=list(SYSTEMS))
def test_a_system_says_what_it_is(found: System) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found.name)
    assert re.fullmatch(r"arXiv \d{4}\.\d{5}", found.source)
    assert found.title
    assert found.claim.endswith(".")
    assert found.operations, "a system names its hot operations"
    assert len({o.name for o in found.operations}) == len(found.operations)


@pytest.mark.parametrize(
    "operation", [pytest.param(o, id=f"{s.name}:{o.name}") for s in SYSTEMS.values() for o in s.operations]
)
def test_a_hot_operation_is_a_task(operation: object) -> None:
    task = operation.task()  # type: ignore[attr-defined]
    assert task.name == operation.name  # type: ignore[attr-defined]
    results = operation.function(*operation.arguments())  # type: ignore[attr-defined]
    for value in torch.utils._pytree.tree_leaves(results):
        assert isinstance(value, torch.Tensor)
        assert not value.is_floating_point() or not torch.isnan(value).any()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_has_a_page_a_picture_and_results(name: str) -> None:
    assert f"({name}.md)" in (ROOT / "docs" / "zoo" / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "zoo" / f"{name}.md").read_text(encoding="utf-8")
    assert f"{name}.svg" in page
    assert "<svg" in (ROOT / "docs" / "zoo" / f"{name}.svg").read_text(encoding="utf-8")
    assert figures()[name], "python benchmarks/zoo/<system>.py writes them"


def test_the_figures_are_those_of_the_results() -> None:
    results = [json.loads(p.read_text(encoding="utf-8")) for p in (ROOT / "benchmarks" / "results").glob("zoo-*.json")]
    packaged = json.loads((ROOT / "src" / "kernelwright" / "zoo" / "figures.json").read_text(encoding="utf-8"))
    assert packaged == {r["system"]: r["measured"] for r in results}
    assert {r["system"] for r in results} <= set(SYSTEMS)


def test_plainly_passes_on() -> None:
    assert list(plainly(range(3), "counting")) == [0, 1, 2]
