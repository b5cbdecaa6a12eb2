"""``kernelwright bench hpc``: from a folder of texts, or a model, to the matrix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kernelwright.bench import hpc
from kernelwright.judge import stand
from kernelwright.llm import Answer, Request

AXPY = "import numpy as np\ndef axpy(a, x, y):\n    return a * x + np.asarray(y)\n"


@pytest.fixture
def suggestions(tmp_path: Path) -> Path:
    folder = tmp_path / "said"
    texts = {
        "python/numpy/axpy/1.txt": AXPY,
        "python/numpy/axpy-keyword/1.txt": AXPY.replace("+ np", "- np"),
        "python/numpy/axpy-keyword/2.txt": AXPY + "\n# <script>alert(1)</script>\n",
        "julia/threads/gemm/1.jl": "function gemm!(c)\n  Threads.@threads for i in 1:3\n  end\nend\n",
        "cpp/kokkos/cg/.hidden": "",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine")
def test_a_folder_becomes_a_matrix(kw: Any, suggestions: Path, tmp_path: Path) -> None:
    document, page = tmp_path / "m.json", tmp_path / "m.html"
    ended = kw("bench", "hpc", "--suggestions", suggestions, "--json", document, "--html", page)
    assert ended.code == 0, ended.err
    for part in ("Proficiency of said", "Python numpy + def", "1.00", "0.50", "Julia Threads", "AXPY"):
        assert part in ended.out, part
    assert "Julia Threads" in ended.err
    content = json.loads(document.read_text())
    assert {(c["model"], c["kernel"], c["keyword"]): c["score"] for c in content["cells"]} == {
        ("numpy", "axpy", False): 1.0,
        ("numpy", "axpy", True): 0.5,
        ("Threads", "gemm", False): None,
        ("Kokkos", "cg", False): None,
    }
    assert content["means"]["models"]["Python numpy"] == 1.0
    assert content["cells"][1]["suggestions"][0]["kind"] == "wrong" or content["cells"][2]["suggestions"]
    text = page.read_text()
    assert "<svg" in text
    assert "<script" not in text


class Scripted:
    """A model that says what the prompt's kernel needs once, and nothing that helps after that."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def ask(self, request: Request, progress: Any = None) -> Answer:
        self.asked.append(request)
        return Answer(f"Sure:\n```python\n{AXPY}```" if len(self.asked) == 1 else "I have nothing to add.")


@pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine")
def test_a_model_is_asked_with_nothing_but_the_prompt() -> None:
    model = Scripted()
    with hpc.Box() as box:
        cells: Sequence[hpc.Cell] = hpc.cells("axpy,python/numpy")
        plain, keyword = hpc.run_matrix(hpc.Asked(model, count=3), cells, box)
    assert (plain.level, keyword.level) == ("expert", "non-knowledge")
    assert [m.content for r in model.asked for m in r.messages] == ["# saxpy numpy"] * 3 + ["# saxpy numpy\ndef"] * 3
    assert len({r.step for r in model.asked}) == 6


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "Give one of"),
        (["--suggestions", ".", "--model", "m"], "Give one of"),
        (["--suggestions", "nowhere"], "no folder"),
        (["--model", "kernelwright", "--only", "fft"], "fft"),
        (["--model", "kernelwright", "--only", "julia"], "no suggestions"),
        (["--model", "kernelwright", "--only", ""], "--only is empty"),
        (["--model", "kernelwright", "--count", "11"], "--count"),
        (["--model", "kernelwright", "--time-limit", "0"], "--time-limit"),
        (["--model", "kernelwright", "--json", "/nowhere/x.json"], "--json"),
    ],
)
def test_bad_options_are_one_sentence(kw: Any, options: list[str], part: str) -> None:
    ended = kw("bench", "hpc", *options)
    assert ended.code != 0
    assert part in ended.sentence


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("", "holds no suggestions"),
        ("rust/rayon/axpy", "names no language"),
        ("cpp/tbb/axpy", "names no programming model"),
        ("cpp/openmp/fft", "names no kernel"),
        ("julia/threads/axpy-keyword", "has none"),
    ],
)
def test_folders_that_mean_nothing_are_named(kw: Any, tmp_path: Path, folder: str, part: str) -> None:
    (tmp_path / "said" / folder).mkdir(parents=True)
    ended = kw("bench", "hpc", "--suggestions", tmp_path / "said")
    assert ended.code != 0
    assert part in ended.sentence
