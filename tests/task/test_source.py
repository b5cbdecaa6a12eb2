"""SOURCE in every form it may take, and every sentence a wrong one gets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kernelwright import task
from kernelwright.errors import InputsInvalid, ReferenceFailed, SourceInvalid, SourceNotFound, TaskError

HEAD = "import torch\nimport torch.nn as nn\n"
MODEL = """
batch_size = 4

class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        print("built")
        self.linear = nn.Linear(8, width)

    def forward(self, x, index):
        return self.linear(x)[index]

def get_inputs():
    return [torch.rand(batch_size, 8), torch.randint(0, batch_size, (3,))]

def get_init_inputs():
    return [5]
"""
FUNCTIONS = """
def scale(x, by):
    return x * by

def scale_inputs():
    return [torch.randn(3, 4), 2.0]

def shift(x, by):
    return x + by

def get_inputs():
    return [torch.ones(2, 2), torch.ones(2, 2)]
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(HEAD + text)
        return str(tmp_path / name)

    return write


def test_file_in_the_task_format(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    made = task.from_source(write(MODEL))
    assert (made.kind, made.name, made.attribute) == ("kernelbench", "mine", "Model")
    reference = task.load(made)
    x, index = reference.draw(3, "given")
    assert x.shape == (4, 8)
    assert index.dtype == torch.int64
    assert reference.call(x, index).shape == (3, 5)
    assert set(reference.state) == {"linear.weight", "linear.bias"}
    captured = capfd.readouterr()
    assert "built" in captured.err
    assert captured.out == ""


def test_weights_are_those_of_seed_42(write: Write) -> None:
    reference = task.load(task.from_source(write(MODEL)))
    torch.manual_seed(42)
    wanted = torch.nn.Linear(8, 5)
    assert torch.equal(reference.state["linear.weight"], wanted.weight)


def test_loading_leaves_the_callers_random_stream_alone(write: Write) -> None:
    made = task.from_source(write(MODEL))
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    task.load(made).draw(1, "given")
    assert torch.equal(torch.rand(3), wanted)


def test_reading_executes_nothing(write: Write, tmp_path: Path) -> None:
    made = task.from_source(write(MODEL + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n"))
    assert not (tmp_path / "ran").exists()
    task.load(made)
    assert (tmp_path / "ran").exists()


def test_a_module_stays_in_the_mode_it_is_left_in(write: Write) -> None:
    body = "class {0}(nn.Module):\n    def __init__(self):\n        super().__init__()\n        {1}\n"
    body += "    def forward(self, x):\n        return x\ndef get_inputs(): return [torch.ones(1)]\n"
    assert task.load(task.from_source(write(body.format("Model", "pass")))).call.training
    assert not task.load(task.from_source(write(body.format("Model", "self.eval()")))).call.training


def test_function_prefers_its_own_inputs(write: Write) -> None:
    path = write(FUNCTIONS)
    x, by = task.load(task.from_source(f"{path}:scale")).draw(0, "given")
    assert (x.shape, by) == ((3, 4), 2.0)
    a, b = task.load(task.from_source(f"{path}:shift")).draw(0, "given")
    assert a.shape == b.shape == (2, 2)


def test_function_with_default_tensors(write: Write) -> None:
    path = write("def f(x=torch.arange(6.0).view(2, 3), power=2):\n    return x ** power\n")
    reference = task.load(task.from_source(f"{path}:f"))
    x, power = reference.draw(0, "given")
    assert torch.equal(x, torch.arange(6.0).view(2, 3))
    assert power == 2


def test_class_of_a_file_and_of_a_package(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL.replace("class Model", "class Head")
    assert task.load(task.from_source(f"{write(text)}:Head")).call.linear.out_features == 5
    package = tmp_path / "some_package_here"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text(HEAD + text)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = task.from_source("some_package_here.part:Head")
    assert "some_package_here" not in sys.modules
    assert task.load(made).call.linear.out_features == 5


def test_a_file_may_import_its_sibling(write: Write) -> None:
    write("WIDTH = 3\n", "sibling_of_mine.py")
    path = write(
        "from sibling_of_mine import WIDTH\ndef f(x):\n    return x\ndef f_inputs():\n    return [torch.ones(WIDTH)]"
    )
    assert task.load(task.from_source(f"{path}:f")).draw(0, "given")[0].shape == (3,)


def test_digest_follows_the_content_not_the_place(write: Write) -> None:
    one, other = task.from_source(write(MODEL)), task.from_source(write(MODEL, "other.py"))
    assert one.digest == other.digest
    assert one.digest != task.from_source(write(MODEL.replace("4", "6"))).digest


@pytest.mark.parametrize(
    ("source", "fault", "says"),
    [
        ("{tmp}/absent.py", SourceNotFound, "No file"),
        ("{tmp}", SourceNotFound, "is a folder"),
        ("absent", SourceNotFound, "write file.py, file.py:function or package.module:Class"),
        ("no_such_package.part:f", SourceNotFound, "no module 'no_such_package' is importable"),
        ("math:sin", SourceNotFound, "has no Python source"),
    ],
)
def test_source_not_found(tmp_path: Path, source: str, fault: type[TaskError], says: str) -> None:
    with pytest.raises(fault, match=says):
        task.from_source(source.format(tmp=tmp_path))


_SMALL = "class Model(nn.Module):\n    def forward(self, x):\n        return x\n"
_INPUTS = "def get_inputs():\n    return {}\n"


@pytest.mark.parametrize(
    ("text", "attribute", "fault", "says"),
    [
        ("def f(:\n", "", SourceInvalid, r"syntax error in line 3"),
        ("def f(x): return x\n", "", SourceInvalid, r"defines no class Model.*it defines f"),
        (_SMALL, "", InputsInvalid, r"defines no get_inputs\(\)"),
        ("def f(x): return x\n", "f", InputsInvalid, r"looked for a function f_inputs\(\), then get_inputs\(\), then"),
        ("def f(x): return x\n", "g", SourceInvalid, r"defines no 'g' \(it defines f\)"),
    ],
)
def test_faults_found_by_reading(write: Write, text: str, attribute: str, fault: type[TaskError], says: str) -> None:
    path = write(text)
    with pytest.raises(fault, match=says) as caught:
        task.from_source(f"{path}:{attribute}" if attribute else path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault", "says"),
    [
        (
            "raise ValueError('no\\nluck')\n" + _SMALL + _INPUTS.format("[]"),
            SourceInvalid,
            "ValueError in line 3: no luck",
        ),
        ("import sys\nsys.exit(3)\n" + _SMALL + _INPUTS.format("[]"), SourceInvalid, "SystemExit"),
        ("class Model: pass\n" + _INPUTS.format("[]"), SourceInvalid, "is not a torch.nn.Module"),
        ("Model = 3\n" + _INPUTS.format("[]"), SourceInvalid, "is an int; it must be a class or function"),
        ("Model = None\n" + _INPUTS.format("[]"), SourceNotFound, "has no attribute 'Model' after it ran"),
        (
            _SMALL + _INPUTS.format("[torch.ones(1)]") + "def get_init_inputs(): return 3\n",
            SourceInvalid,
            r"get_init_inputs\(\).* an int; it must return a list",
        ),
        (
            _SMALL + _INPUTS.format("[torch.ones(1)]") + "def get_init_inputs(): return [3]\n",
            ReferenceFailed,
            r"Model\(\) in .* raised TypeError",
        ),
    ],
)
def test_faults_found_by_running(write: Write, text: str, fault: type[TaskError], says: str) -> None:
    made = task.from_source(write(text))
    with pytest.raises(fault, match=says) as caught:
        task.load(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("torch.ones(3)", "is a Tensor; it must be a list or tuple"),
        ("None", "is None; it must be a list or tuple"),
        ("[3]", "holds no tensor"),
        ("[torch.ones(1), torch.ones(1)]", "gives 2 arguments, but too many positional arguments"),
        ("[torch.ones(1) @ torch.ones(2)]", r"get_inputs\(\) in .* raised RuntimeError"),
    ],
)
def test_inputs_that_do_not_fit(write: Write, returned: str, says: str) -> None:
    reference = task.load(task.from_source(write(_SMALL + _INPUTS.format(returned))))
    with pytest.raises(InputsInvalid, match=says):
        reference.draw(0, "given")


def test_unknown_scale_dtype_and_structure(write: Write) -> None:
    path = write(MODEL)
    with pytest.raises(ValueError, match="scale is 'tiny'"):
        task.from_source(path, scale="tiny")
    with pytest.raises(ValueError, match="dtype is 'int8'"):
        task.from_source(path, dtype="int8")
    with pytest.raises(ValueError, match="structure is 'odd'; it must be one of given"):
        task.load(task.from_source(path)).draw(0, "odd")


def test_casts_touch_floating_tensors_only(write: Write) -> None:
    reference = task.load(task.from_source(write(MODEL), dtype="bfloat16"))
    x, index = reference.draw(0, "given")
    assert (x.dtype, index.dtype) == (torch.bfloat16, torch.int64)
    assert reference.state["linear.weight"].dtype == torch.bfloat16
    assert reference.call(x, index).dtype == torch.bfloat16
