"""Gradients before the judge: right ones pass, and each way of not giving them has its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from kernelwright.judge import Judge, Verdict
from kernelwright.judge._oracle import Oracle
from kernelwright.judge._reference import tensor_leaves
from kernelwright.task import Task, from_source

TASK = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return torch.tanh(self.linear(x))

def get_inputs():
    return [torch.randn(19, 23, requires_grad=True)]

def get_init_inputs():
    return [23, 11]
"""
HEAD = "import torch\nfrom torch import nn\n"
FUNCTION = """
class Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        y = torch.tanh(torch.addmm(bias, x, weight.t()))
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight, y = ctx.saved_tensors
        grad = grad * (1 - y * y)
        return {gradients}
"""
MODULE = """
class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x):
        return {result}
"""
APPLIED = "Run.apply(x, self.linear.weight, self.linear.bias)"
RIGHT = "grad @ weight, grad.t() @ x, grad.sum(0)"
TRANSPOSED = """
class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        linear = nn.Linear(inner, outer)
        self.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        self.bias = nn.Parameter(linear.bias.detach().clone(){frozen})

    def forward(self, x):
        return torch.tanh(x @ self.weight + self.bias)
"""
PACKED = """
class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.packed = nn.Parameter(torch.zeros(outer, inner + 1))

    def load_state_dict(self, state, strict=True, assign=False):
        self.packed.copy_(torch.cat([state["linear.weight"], state["linear.bias"][:, None]], 1))

    def forward(self, x):
        return torch.tanh(x @ self.packed[:, :-1].t() + self.packed[:, -1])
"""


def function(gradients: str = RIGHT, result: str = APPLIED) -> str:
    return HEAD + FUNCTION.format(gradients=gradients) + MODULE.format(result=result)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gradients")
    (folder / "task.py").write_text(TASK)
    return folder


@pytest.fixture(scope="module")
def judged(folder: Path, home: None) -> Iterator[Callable[..., Verdict]]:
    with Judge(time_limit=60.0, memory_limit=1 << 30) as judge:

        def run(text: str, name: str = "candidate.py") -> Verdict:
            (folder / name).write_text(text)
            return judge.judge(folder / "task.py", folder / name)

        yield run


@pytest.fixture(scope="module")
def task(folder: Path) -> Task:
    return from_source(str(folder / "task.py"))


@pytest.mark.parametrize("text", [function(), HEAD + TRANSPOSED.format(frozen="")], ids=["by hand", "transposed"])
def test_right_gradients_are_accepted(judged: Callable[..., Verdict], text: str) -> None:
    verdict = judged(text)
    assert verdict.accepted, verdict.reason
    assert max(check.error for check in verdict.checks) > 0


@pytest.mark.parametrize(
    ("text", "category", "reason"),
    [
        (function(result=f"{APPLIED}.detach()"), "gradient", "The output carries no gradient although the task asks"),
        (function("grad @ weight, grad.t() @ x, None"), "gradient", "carries no gradient in linear.bias"),
        (function("grad @ weight, grad.t() @ x, grad.mean(0)"), "value", "The gradient in linear.bias: at [0]"),
        (function("ctx.saved_tensors[0] * 0, grad.t() @ x, grad.sum(0)"), "value", "The gradient in x: at [0, 0]"),
        (HEAD + TRANSPOSED.format(frozen=", requires_grad=False"), "gradient", "holds linear.bias without gradients"),
        (HEAD + PACKED, "gradient", "has no parameter that is the reference's linear.weight"),
    ],
    ids=["detached", "missing", "wrong", "zeros", "frozen", "packed"],
)  # fmt: skip
def test_other_gradients_are_rejected_and_named(
    judged: Callable[..., Verdict], text: str, category: str, reason: str
) -> None:
    verdict = judged(text)
    assert (verdict.status, verdict.category) == ("rejected", category), verdict.reason
    assert reason in verdict.reason


def test_native_code_gives_none(judged: Callable[..., Verdict]) -> None:
    verdict = judged("int __tvm_ffi_main(void* a, const void* b, int c, void* d) { return 0; }\n", "native.c")
    assert (verdict.status, verdict.category) == ("rejected", "gradient")
    assert "x, linear.weight and linear.bias" in verdict.reason


def test_the_switch_asks_where_the_inputs_do_not(folder: Path) -> None:
    (folder / "plain.py").write_text(TASK.replace(", requires_grad=True", ""))
    (folder / "detached.py").write_text(function(result=f"{APPLIED}.detach()"))
    plain = from_source(str(folder / "plain.py"))
    with Judge(time_limit=60.0, memory_limit=1 << 30) as judge:
        assert judge.judge(plain, folder / "detached.py").accepted
        verdict = judge.judge(dataclasses.replace(plain, gradients=True), folder / "detached.py")
    assert verdict.category == "gradient"


def test_cotangents_are_kept_back_until_the_results_are_there(task: Task) -> None:
    oracle = Oracle(1 << 30)
    oracle.open(task, 11)
    prepared, _ = oracle.prepare([(5, "given")], [0], {}, "same")
    assert len(prepared["sets"][0]["slots"]) == 2
    assert oracle.case is not None
    assert oracle.inputs is not None
    x, cotangent = (oracle.inputs.tensor(slot) for slot in oracle.case.input_slots[0])
    drawn = tensor_leaves(oracle.case.args[0])
    assert torch.equal(x, drawn[0])
    assert bool(cotangent.isnan().all())
    oracle.reveal()
    assert torch.equal(cotangent, drawn[1])


def test_where_a_result_is_not_finite_its_gradient_follows_from_no_definition(task: Task) -> None:
    oracle = Oracle(1 << 30)
    oracle.open(task, 11)
    truths = oracle.truths
    truth = truths.find(oracle.given)
    gradient = truth.eager.tensors[1]
    assert truth.title(0) == "output 0"
    assert truth.title(1) == "the gradient in x"
    assert truths.compare(truth, 1, torch.zeros_like(gradient)).category == "value"
    oracle.given[0][0, 0] = float("nan")
    spoiled = truths.find(oracle.given)
    assert not truths.compare(spoiled, 1, torch.zeros_like(gradient)).category
    assert truths.compare(spoiled, 0, torch.zeros_like(spoiled.eager.tensors[0])).category
