"""A task with gradients: which it asks for, what its reference is then, and that asking changes nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kernelwright.errors import InputsInvalid, NoGradient
from kernelwright.task import Task, from_callable, from_source, load

ROWS = torch.randn(5, 7)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(7, 3)
        self.norm = nn.BatchNorm1d(3)
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)

    def forward(self, x: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        y = self.norm(self.linear(x)) * self.frozen
        return y * weights[0], y.argmax(-1)


def asked(task: Task) -> tuple[str, ...]:
    reference = load(task)
    return reference.gradients.asked.titles if reference.gradients is not None else ()


def test_the_inputs_that_require_gradients_decide() -> None:
    x, w = ROWS.clone().requires_grad_(), torch.randn(3)
    layer = Layer()
    own = ("linear.weight", "linear.bias", "norm.weight", "norm.bias")
    assert asked(from_callable(layer, (x, [w]))) == ("x", *own)
    assert asked(from_callable(layer, (ROWS, [w.requires_grad_()]))) == ("weights[0]", *own)
    assert asked(from_callable(layer, (x, [w]), gradients=False)) == ()
    assert asked(from_callable(layer, (ROWS, [torch.randn(3)]), gradients=True)) == ("x", "weights[0]", *own)


def test_a_file_asks_by_its_inputs_or_by_the_switch(tmp_path: Path) -> None:
    text = "import torch\ndef f(x):\n    return x.exp()\ndef f_inputs():\n    return [torch.randn(3{})]\n"
    (tmp_path / "asks.py").write_text(text.format(", requires_grad=True"))
    (tmp_path / "plain.py").write_text(text.format(""))
    plain = from_source(f"{tmp_path}/plain.py:f")
    assert asked(from_source(f"{tmp_path}/asks.py:f")) == ("x",)
    assert asked(plain) == ()
    switched = dataclasses.replace(plain, gradients=True)
    assert asked(switched) == ("x",)
    assert switched.digest != plain.digest


def test_the_reference_returns_what_autograd_does() -> None:
    layer, w = Layer(), torch.randn(3)
    reference = load(from_callable(layer, (ROWS, [w]), gradients=True))
    *args, cotangents = reference.draw(3, "normal")
    assert [c.shape for c in cotangents] == [(5, 3)]  # none for positions
    (y, places), gradients = reference.call(*args, cotangents)
    x, weights = args[0].clone().requires_grad_(), [args[1][0].clone().requires_grad_()]
    expected, _ = layer(x, weights)
    expected.backward(cotangents[0])
    own = [p.grad for p in layer.parameters() if p.requires_grad]
    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(list(gradients), [x.grad, weights[0].grad, *own])
    assert not y.requires_grad
    assert places.dtype == torch.int64


def test_looking_at_the_reference_leaves_its_state_and_the_random_stream() -> None:
    reference = load(from_callable(Layer(), (ROWS, [torch.randn(3)]), gradients=True))
    state = {name: tensor.detach().clone() for name, tensor in reference.state.items()}
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    reference.draw(0, "given")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in reference.state.items())


def test_cotangents_are_others_for_other_seeds() -> None:
    reference = load(from_callable(torch.exp, (ROWS,), gradients=True))
    one, same, other = (reference.draw(seed, "given")[-1][0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert reference.draw(1, "sparse")[-1][0].eq(0).any()


def test_what_carries_no_gradient_is_said() -> None:
    reference = load(from_callable(torch.exp, (ROWS,), gradients=True))
    x, cotangents = reference.draw(0, "given")
    assert reference.gradients is not None
    with pytest.raises(NoGradient, match="the output carries no gradient although the task asks for gradients in"):
        reference.gradients.around(lambda x: x.detach().exp())(x, cotangents)
    with pytest.raises(InputsInvalid, match="have no gradients in"):
        load(from_callable(torch.argmax, (ROWS,), gradients=True)).draw(0, "given")
    with pytest.raises(InputsInvalid, match="judge it without gradients"):
        load(from_callable(torch.abs, (torch.arange(3),), gradients=True))


def test_a_result_of_another_form_gets_no_gradients() -> None:
    reference = load(from_callable(torch.exp, (ROWS,), gradients=True))
    assert reference.gradients is not None
    x, cotangents = reference.draw(0, "given")
    result, (gradient,) = reference.gradients.around(lambda x: x[:2])(x, cotangents)
    assert result.shape == (2, 7)
    assert not gradient.any()
