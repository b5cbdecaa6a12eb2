"""Forward and backward as two kernels in one source: right beside autograd, with nothing kept that need not be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kernelwright.compiler import emit, identity, prepare_captured
from kernelwright.compiler.gradients import PREFIX, Halves, capture_gradients
from kernelwright.compiler.proof import prove
from kernelwright.errors import NoGradient, Unsupported
from kernelwright.targets import Candidate, load, plan_from_json, plan_to_json
from kernelwright.task import asked_gradients, module_state


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(7)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"y": torch.relu(self.norm(x)), "n": 3}


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(13, 7)

    def forward(self, x: Tensor, unused: Tensor) -> Tensor:
        return torch.softmax(torch.relu(self.linear(x)), -1)


def two(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.nn.functional.gelu(x) * y, (x * y).sum(-1)


def turned(x: Tensor) -> Tensor:
    return x.cumsum(-1).t()


def halves_of(call: Callable[..., Any], args: tuple[Any, ...]) -> Halves:
    asked = asked_gradients(call, args, module_state(call), "task", everything=True)
    assert asked is not None
    return capture_gradients(call, args, asked)


def candidate_of(halves: Halves) -> Candidate:
    forward = emit(prepare_captured(halves.forward), title="forward")
    return halves.join(forward, emit(prepare_captured(halves.backward), title="backward", prefix=PREFIX))


def leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize(
    ("call", "shapes"),
    [(Norm(), [(9, 7)]), (Layer(), [(5, 13), (2,)]), (two, [(3, 5), (3, 5)]), (turned, [(4, 1)])],
    ids=["state", "layer", "two results", "turned"],
)
def test_results_gradients_and_state_are_autograds(call: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    args = tuple(torch.randn(shape) for shape in shapes)
    reference = copy.deepcopy(call)
    kernel = load(candidate_of(halves_of(call, args)), call, module_state(call))
    answers = []
    for run, owner in ((kernel, call), (reference, reference)):
        inputs = [a.clone().requires_grad_() for a in args]
        results = run(*inputs)
        torch.manual_seed(1)
        torch.autograd.backward(leaves(results), [torch.randn_like(t) for t in leaves(results)])
        own = list(owner.parameters()) if isinstance(owner, nn.Module) else []
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in (*inputs, *own)]
        answers.append((results, gradients, dict(module_state(owner))))
        for tensor in own:
            tensor.grad = None
    (results, gradients, state), (expected, truth, wanted) = answers
    torch.testing.assert_close(results, expected)
    torch.testing.assert_close(gradients, truth, rtol=2e-5, atol=2e-6)
    torch.testing.assert_close(state, wanted)


def test_two_calls_in_flight_do_not_meet() -> None:
    x = torch.randn(6, 11)
    kernel = load(candidate_of(halves_of(torch.exp, (x,))), torch.exp, {})
    one, other = x.clone().requires_grad_(), (2 * x).requires_grad_()
    first, second = kernel(one), kernel(other)
    second.sum().backward()
    first.sum().backward()
    torch.testing.assert_close(one.grad, x.exp())
    torch.testing.assert_close(other.grad, (2 * x).exp())


def test_a_cotangent_of_any_layout_and_an_input_without_gradient() -> None:
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    kernel = load(candidate_of(halves_of(torch.mul, (x, y))), torch.mul, {})
    given = x.clone().requires_grad_()
    kernel(given, y).sum().backward()  # a cotangent that is one number, expanded
    torch.testing.assert_close(given.grad, y)
    with torch.no_grad():
        assert not kernel(given, y).requires_grad


def test_gradients_of_gradients_are_refused_not_forgotten() -> None:
    x = torch.randn(5, requires_grad=True)
    kernel = load(candidate_of(halves_of(torch.exp, (x.detach(),))), torch.exp, {})
    with pytest.raises(NoGradient, match="no gradients of gradients"):
        torch.autograd.grad(kernel(x).sum(), x, create_graph=True)


def test_what_is_kept_is_neither_an_input_nor_kept_twice() -> None:
    halves = halves_of(torch.mul, (torch.randn(4, 6), torch.randn(4, 6)))
    assert len(halves.forward.outputs) == 1  # the product: its factors are there already
    assert halves.inputs == (0, 1)
    softmax = halves_of(lambda x: torch.softmax(x, -1), (torch.randn(4, 6),))
    assert len(softmax.forward.outputs) == 1  # the result is what is kept


def test_the_plan_survives_json_and_the_proof_covers_both_halves() -> None:
    found = candidate_of(halves_of(two, (torch.randn(3, 5), torch.randn(3, 5))))
    assert found.plan is not None
    again = plan_from_json(plan_to_json(found.plan))
    assert again == found.plan
    proof = prove(found)
    assert proof.proved, proof
    assert any(kernel.kernel.startswith(PREFIX) for kernel in proof.kernels)
    assert any(not kernel.kernel.startswith(PREFIX) for kernel in proof.kernels)


def test_a_plan_without_gradients_is_written_as_ever(tmp_path: Path) -> None:
    from kernelwright.compiler import prepare

    plain = emit(prepare(torch.exp, (torch.randn(3),)))
    assert plain.plan is not None
    assert "backward" not in plan_to_json(plain.plan)


def test_identity_knows_in_what_gradients_are_asked() -> None:
    args = (torch.randn(3, 5), torch.randn(3, 5))
    both = halves_of(two, args)
    flagged = (args[0].clone().requires_grad_(), args[1])
    asked = asked_gradients(two, flagged, {}, "task", everything=True)
    assert asked is not None
    assert identity(both) == identity(halves_of(two, args))
    assert identity(both) != identity(capture_gradients(two, args, asked))


def test_what_cannot_be_traced_is_said() -> None:
    with pytest.raises(Unsupported, match="cannot be traced together"):
        halves_of(lambda x: x * float(x.sum()), (torch.randn(3),))
