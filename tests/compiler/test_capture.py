"""Capture: sources, constants, results and sentences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from kernelwright.compiler.capture import Constant, capture, capture_graph, decompositions
from kernelwright.compiler.fuse import fuse
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.errors import InputsInvalid, ReferenceFailed, Unsupported
from kernelwright.task._task import DynamicSize

from .oracle import bound, compare, eager

nn, F = torch.nn, torch.nn.functional


def test_sources_name_arguments_then_state() -> None:
    captured = capture(nn.Linear(3, 4), (torch.randn(2, 3),))
    assert captured.sources == (("arg", 0), ("state", "weight"), ("state", "bias"))
    assert pytree.treespec_loads(captured.treespec).num_leaves == 1


def test_nested_arguments_and_results() -> None:
    def fn(data: dict[str, torch.Tensor], scale: float) -> dict[str, Any]:
        return {"a": data["x"] * scale, "b": (data["y"], None)}

    captured = capture(fn, ({"x": torch.randn(2), "y": torch.randn(3)}, 2.5))
    assert captured.sources == (("arg", 0), ("arg", 1))
    assert captured.constants == ((2, 2.5),)
    assert captured.results == (0, 1, Constant(None))


def test_named_results_become_tuples() -> None:
    captured = capture(lambda x: x.max(1), (torch.randn(2, 3),))
    spec = pytree.treespec_loads(captured.treespec)
    assert pytree.tree_unflatten([1, 2], spec) == (1, 2)


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    captured = capture(module, (torch.randn(5, 3),))
    assert module.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert {name for _, name in captured.mutations} == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_sentences() -> None:
    with pytest.raises(InputsInvalid, match="do not fit"):
        capture(lambda x, y: x + y, (torch.randn(2),))
    with pytest.raises(ReferenceFailed, match="raises ValueError: no"):
        capture(_raises, (torch.randn(2),))
    with pytest.raises(Unsupported, match="cannot trace"):
        capture(lambda x: x * 2 if x.sum() > 0 else x, (torch.randn(2),))
    with pytest.raises(Unsupported, match=r"size of what aten\.nonzero\.default returns depends on values"):
        capture(lambda x: torch.nonzero(x > 0), (torch.randn(2),))
    with pytest.raises(Unsupported, match="checks values while it runs"):
        capture(lambda x: torch.linalg.inv(x), (torch.eye(2),))
    with pytest.raises(ReferenceFailed, match="no tensor"):
        capture(lambda x: 3, (torch.randn(2),))


def _raises(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("no")


# ── sizes that vary ──


def _both(fn: Any, calls: list[tuple[Any, ...]], *dynamic: DynamicSize) -> None:
    """One program serves every call."""
    captured = capture(fn, calls[0], dynamic)
    program = lower(captured)
    assert program.notes == ()
    for args in calls:
        expected, _ = eager(fn, args)
        for each in (program, fuse(program)):
            compare(each, interpret(each, bound(captured, program, fn, args), torch.float64), expected)


def test_a_varying_batch() -> None:
    module = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.LayerNorm(7), nn.Softmax(-1))
    _both(module, [(torch.randn(3, 5),), (torch.randn(8, 5),)], DynamicSize(0, 0, 2, 64))


def test_a_varying_image() -> None:
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    module = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    calls = [(torch.randn(3, 3, 8, 9),), (torch.randn(2, 3, 13, 9),)]
    _both(module, calls, DynamicSize(0, 0, 2, 64), DynamicSize(0, 2, 6, 64))


def test_a_varying_sequence() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    calls = [(torch.randn(3, 5, 8),), (torch.randn(2, 7, 8),)]
    _both(module, calls, DynamicSize(0, 0, 2, 64), DynamicSize(0, 1, 2, 64))


def test_a_varying_row() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            x.mean(1), x.cumsum(1), x.var(1), x.flip(1), F.pad(x, (1, 2)), x.reshape(-1), x[:, 1:] + x[:, :-1],
            torch.cat([x, x * 2], 1), x @ x.t(), x.argmax(1),
        ]  # fmt: skip

    _both(fn, [(torch.randn(3, 5),), (torch.randn(3, 9),)], DynamicSize(0, 1, 3, 64))


def test_a_size_that_cannot_vary() -> None:
    with pytest.raises((InputsInvalid, Unsupported)):
        capture(nn.Linear(5, 7), (torch.randn(3, 5),), (DynamicSize(0, 1, 2, 64),))
    with pytest.raises(InputsInvalid, match="does not exist"):
        capture(nn.Linear(5, 7), (torch.randn(3, 5),), (DynamicSize(2, 1, 2, 64),))


# ── AOTAutograd ──


def _trained(module: nn.Module, *inputs: torch.Tensor) -> set[str]:
    """Train through the interpreter: outputs and gradients must be eager's. Returns the programs' notes."""
    import copy

    from torch._dynamo.backends.common import aot_autograd

    notes: set[str] = set()

    def compiler(gm: torch.fx.GraphModule, example: list[Any]) -> Any:
        captured = capture_graph(gm, example)
        program = fuse(lower(captured))
        notes.update(program.notes)

        def run(args: list[Any]) -> list[Any]:
            named = {name: args[int(key)] for name, (_, key) in zip(program.inputs, captured.sources, strict=True)}
            values = interpret(program, named)
            return [values[program.outputs[r]] if isinstance(r, int) else r.value for r in captured.results]

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    torch._dynamo.reset()
    own = copy.deepcopy(module)
    backend = aot_autograd(fw_compiler=compiler, bw_compiler=compiler, decompositions=decompositions())
    results = []
    for each in (torch.compile(own, backend=backend), module):
        result = each(*inputs)
        (result * torch.arange(result.numel()).reshape(result.shape).double().cos()).sum().backward()
        results.append(result.detach())
    torch.testing.assert_close(*results)
    for mine, theirs in zip(own.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    return notes


def test_training_graphs_of_a_convnet() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 2), nn.LogSoftmax(-1),
    ).double()  # fmt: skip
    assert _trained(module, torch.randn(3, 3, 8, 8, dtype=torch.float64)) == set()


def test_training_graphs_of_a_transformer() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation="gelu").double()
    assert _trained(module, torch.randn(3, 5, 8, dtype=torch.float64)) == set()
