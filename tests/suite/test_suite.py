"""The suite is what we measure ourselves by, so its own health is tested: every file, on few leading rows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).parents[2] / "benchmarks"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("suite_tool", ROOT / "suite.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


suite = _tool()
FILES = suite.task_files()
SMALLEST_COUNTS = {"level1": 45, "level2": 25, "level3": 12}

# What each class must contain, as operators that torch really dispatches: a file's name proves nothing.
REQUIRED = {
    "pointwise": "relu gelu silu mish softplus hardswish tanh clamp where pow.Tensor_Scalar mul add",
    "reduction": "sum.dim_IntList mean.dim amax min.dim argmax argmin prod.dim_int var.correction std.correction "
    "linalg_vector_norm logsumexp sum",
    "softmax": "_softmax _log_softmax",
    "norm": "native_layer_norm native_batch_norm native_group_norm rsqrt",
    "scan": "cumsum cumprod flip cummax where",
    "pooling": "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d",
    "contraction": "mm bmm mv tril",
    "epilogue": "addmm _softmax native_group_norm convolution gelu pixel_shuffle upsample_nearest2d",
    "convolution": "convolution",
    "transposed convolution": "convolution",
    "loss": "mse_loss huber_loss nll_loss_forward _log_softmax gather clamp_min",
    "attention": "bmm _softmax masked_fill elu _scaled_dot_product_flash_attention_for_cpu",
    "recurrent": "tanh sigmoid logcumsumexp stack",
    "movement": "clone cat slice.Tensor embedding index_select gather scatter masked_fill pixel_shuffle roll im2col "
    "reflection_pad2d bitwise_and remainder",
    "block": "native_layer_norm convolution native_group_norm max_pool2d_with_indices cat",
    "network": "embedding convolution tanh",
}
DTYPES = {torch.float32, torch.float64, torch.bfloat16, torch.int8, torch.int64, torch.bool}


class _Convolution(NamedTuple):
    kernel: tuple[int, ...]
    strided: bool
    dilated: bool
    transposed: bool
    groups: int
    depthwise: bool


class _Recorder(TorchDispatchMode):
    """Collects the names and the tensor dtypes of every operator that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.dtypes: set[torch.dtype] = set()
        self.convolutions: set[_Convolution] = set()
        self.batch_norms: set[tuple[bool, bool]] = set()  # (uses batch statistics, keeps running ones)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, overload = func.overloadpacket.__name__, func._overloadname
        self.names |= {packet, f"{packet}.{overload}"}
        self.dtypes |= {a.dtype for a in args if isinstance(a, torch.Tensor)}
        if packet == "convolution":
            weight, stride, dilation, transposed, groups = args[1], args[3], args[5], args[6], args[8]
            depthwise = groups > 1 and weight.shape[1] == 1
            kernel = tuple(weight.shape[2:])
            found = _Convolution(kernel, max(stride) > 1, max(dilation) > 1, transposed, groups, depthwise)
            self.convolutions.add(found)
        if packet == "native_batch_norm":
            self.batch_norms.add((args[5], args[3] is not None))
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def recorded() -> dict[str, _Recorder]:
    """What the tasks of every class dispatch, all of them together."""
    records: dict[str, _Recorder] = {}
    for path in FILES:
        module = suite.load(path, leading=4)
        model, inputs = suite.build(module), suite.draw(module, 1)
        with torch.no_grad(), records.setdefault(suite.task_class(path), _Recorder()):
            model(*inputs)
    return records


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_reference_is_healthy(path: Path) -> None:
    """One finite, deterministic tensor that moves with every input, leaves the inputs alone and is no constant."""
    module = suite.load(path, leading=4)
    inputs = suite.draw(module, 1)
    kept = [x.clone() for x in inputs]
    with torch.no_grad():
        output = suite.build(module)(*inputs)
        again = suite.build(module)(*suite.draw(module, 1))
    assert isinstance(output, torch.Tensor)
    assert output.numel() > 0
    assert torch.isfinite(output).all()
    assert torch.equal(output, again)
    assert all(torch.equal(a, b) for a, b in zip(inputs, kept, strict=True))
    assert suite.least_dependence(module) > 0.01
    assert suite.spread(output) > 1e-3


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_leading_size_is_free(path: Path) -> None:
    """The first size constant may be changed: that is what lets a run shrink a task without changing its work."""
    small, smaller = (suite.draw(suite.load(path, leading=size), 1) for size in (4, 1))
    full = suite.load(path)
    first = next(v for k, v in vars(full).items() if isinstance(v, int) and not k.startswith("_"))
    assert first == 1 or [x.shape for x in small] != [x.shape for x in smaller]


@pytest.mark.parametrize("name", REQUIRED)
def test_class_is_covered(name: str, recorded: dict[str, _Recorder]) -> None:
    missing = set(REQUIRED[name].split()) - recorded[name].names
    assert not missing


def test_every_class_is_known(recorded: dict[str, _Recorder]) -> None:
    assert set(recorded) == set(REQUIRED)


def test_dtypes_are_covered(recorded: dict[str, _Recorder]) -> None:
    seen = set().union(*(record.dtypes for record in recorded.values()))
    assert seen >= DTYPES


def test_convolutions_are_covered(recorded: dict[str, _Recorder]) -> None:
    found = set().union(*(record.convolutions for record in recorded.values()))
    for transposed in (False, True):
        assert {len(c.kernel) for c in found if c.transposed is transposed} == {1, 2, 3}
    assert {c.kernel for c in found if c.depthwise} >= {(3, 3), (7, 7), (31, 31)}
    plain = [c for c in found if not c.transposed]
    assert any(c.strided for c in plain)
    assert any(c.dilated for c in plain)
    assert any(c.kernel == (1, 1) for c in plain)
    assert any(len(set(c.kernel)) > 1 for c in plain)
    assert any(c.groups > 1 and not c.depthwise for c in found)


def test_batch_norms_are_covered(recorded: dict[str, _Recorder]) -> None:
    """Training with running statistics, inference, and instance norm, which torch runs as the third kind."""
    assert recorded["norm"].batch_norms == {(True, True), (False, True), (True, False)}


def test_counts() -> None:
    counts = {level: sum(path.parent.name == level for path in FILES) for level in SMALLEST_COUNTS}
    assert all(counts[level] >= least for level, least in SMALLEST_COUNTS.items())


def test_readme_lists_every_task() -> None:
    """The table names each file, its class and, in the words of the file itself, why it is real."""
    rows = re.findall(
        r"^\| `(level\d/[^`]+)` \| ([^|]+) \| (.+) \|$", (ROOT / "suite" / "README.md").read_text(), re.MULTILINE
    )
    expected = [
        (f"{p.parent.name}/{p.stem}", suite.task_class(p), p.read_text().split('"""')[1].splitlines()[0]) for p in FILES
    ]
    assert rows == expected
