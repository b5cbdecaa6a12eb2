"""Permutations learned from unit vectors: closed forms, trained networks, the law of the ensemble's size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.exact_permutations import (
    PermutationEnsemble,
    all_inputs,
    ensemble_step,
    exact_answers,
    limit_moments,
    measured_size,
    pairs_of_ones,
    permutation_moments,
    required_ensemble_size,
    two_layer_nngp,
    two_layer_ntk,
)
from kernelwright.zoo.kernel_methods.exact_permutations._example import LIMITS
from kernelwright.zoo.kernel_methods.exact_permutations._networks import Scales, answers, descend, rate


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("k", [2, 5, 13, 30])
def test_closed_forms_are_the_matrices(kernel: str, k: int) -> None:
    eye = torch.eye(k, dtype=torch.float64)
    x = torch.tril(torch.ones(k, k, dtype=torch.float64))  # 1 to k ones
    mean, covariance = limit_moments(eye, eye, x, kernel)
    for n in range(1, k + 1):
        zero, one, variance = permutation_moments(k, n, kernel)
        expected = (zero + (one - zero) * x[n - 1]) * math.sqrt(n)  # these rows are not normalised
        assert mean[n - 1] == pytest.approx(expected, abs=1e-12)
        assert float(covariance[n - 1, n - 1]) == pytest.approx(variance * n, abs=1e-12)
        assert one > 0
        assert zero < 0 or n == 1
    assert permutation_moments(k, 1, kernel) == pytest.approx((0, 1, 0), abs=1e-15)


def test_published_moments_and_bounds() -> None:
    assert permutation_moments(30, 2) == pytest.approx((-0.00427, 0.5710, 0.0021397), abs=1e-5)
    assert permutation_moments(10, 2) == pytest.approx((-0.00985, 0.5654, 0.0065187), abs=2.5e-5)
    assert [required_ensemble_size(k, 1000, 0.1) for k in (2, 5, 10, 20, 30)] == [6705, 5687, 6560, 9383, 12510]
    ratios = [permutation_moments(30, n)[2] / permutation_moments(30, n)[0] ** 2 for n in (2, 3, 5, 15)]
    assert ratios == pytest.approx([117.5, 33.5, 12.1, 2.9], abs=0.06)


def test_kernels_are_those_of_wide_networks() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    first = torch.randn(400_000, 4, generator=generator, dtype=torch.float64)
    hidden = (first @ x.T / 2).relu()
    nngp, ntk = two_layer_nngp(x, x), two_layer_ntk(x, x)
    assert torch.allclose(hidden.T @ hidden / len(first), nngp, atol=0.02)
    slopes = (hidden > 0).double()
    assert torch.allclose(slopes.T @ slopes / len(first) * (x @ x.T) / 4 + nngp, ntk, atol=0.02)
    assert torch.linalg.eigvalsh(ntk)[0] > 0
    assert torch.allclose(two_layer_ntk(3 * x, x), 3 * ntk)
    assert torch.equal(two_layer_ntk(torch.ones(1, 9), torch.ones(1, 9)), torch.ones(1, 1))


@pytest.mark.parametrize(("parametrization", "kernel"), [("ntk", "ntk"), ("standard", "nngp")])
def test_trained_networks_follow_the_closed_form(parametrization: str, kernel: str) -> None:
    members, k = 240, 5
    model = PermutationEnsemble(members, 1024, parametrization=parametrization).fit([0, 1, 2, 3, 4])
    assert model.decision_function(torch.eye(k)) == pytest.approx(torch.eye(k), abs=1e-4)
    zero, one, variance = permutation_moments(k, 2, kernel)
    x = pairs_of_ones(k).float()
    average = model.decision_function(x)
    error = math.sqrt(variance / members)
    ones, zeros = float(average[x > 0].mean()), float(average[x == 0].mean())
    assert ones == pytest.approx(one, abs=4 * error)
    assert zeros == pytest.approx(zero, abs=4 * error / math.sqrt(k))  # outputs are independent, inputs are not
    other = permutation_moments(k, 2, "nngp" if kernel == "ntk" else "ntk")[0]
    assert abs(zeros - zero) < abs(zeros - other), "the two parametrisations are told apart"


@pytest.mark.parametrize(("parametrization", "kernel"), [("ntk", "ntk"), ("standard", "nngp")])
def test_trained_networks_scatter_as_the_closed_form_says(parametrization: str, kernel: str) -> None:
    model = PermutationEnsemble(200, 1024, parametrization=parametrization, seed=1).fit([0, 1, 2, 3, 4])
    x = pairs_of_ones(5) / 2**0.5
    each = answers(model.blocks_, x.float(), model._scales()).double()
    variance = permutation_moments(5, 2, kernel)[2]
    assert float(each.var(0).mean()) == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_a_step_is_the_gradient(parametrization: str) -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)
    scales = Scales.of(parametrization, 7, 3, 1.3)
    first, second = torch.randn(2, 7, 3, generator=generator), torch.randn(2, 7, 2, generator=generator)
    leaves = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    hidden = (scales.into_first * leaves[0] @ x.T).relu()
    loss = 0.5 * (scales.into_second * hidden.mT @ leaves[1] - y).square().sum()
    gradients = torch.autograd.grad(loss, leaves)
    expected = [(w - 0.1 * g).detach() for w, g in zip(leaves, gradients, strict=True)]
    descend(first, second, x, y, scales, 0.1)
    assert torch.allclose(first, expected[0], atol=1e-5)
    assert torch.allclose(second, expected[1], atol=1e-5)


def test_the_hot_step_is_a_step_on_unit_vectors() -> None:
    generator = torch.Generator().manual_seed(4)
    first, second = torch.randn(2, 3, 16, 5, generator=generator)
    after = ensemble_step(first, second, torch.eye(5))
    descend(first, second, torch.eye(5), torch.eye(5), Scales.of("ntk", 16, 5, 1.0), 1.0)
    assert torch.allclose(after[0], first, atol=1e-6)
    assert torch.allclose(after[1], second, atol=1e-6)


def test_the_rate_is_that_of_the_closed_form() -> None:
    own, apart = 1 - 1 / (2 * math.pi), 1 / (2 * math.pi)
    eye = torch.eye(6, dtype=torch.float64)
    assert 1 / rate("ntk", 64, 1.0, eye) == pytest.approx((own + 6 * apart) / 6)


def test_all_inputs_of_ten_bits_in_one_call() -> None:
    goes = torch.randperm(10, generator=torch.Generator().manual_seed(5))
    x = all_inputs(10)
    targets = torch.zeros(len(x), 10, dtype=torch.int64)
    targets[:, goes] = x.long()
    model = PermutationEnsemble(20_000, solver="gp-limit").fit(goes)
    assert model.score(x, targets) == 1
    assert model.score(x[x.sum(1).sub(5).abs() < 2], targets.flip(1)[x.sum(1).sub(5).abs() < 2]) < 0.1
    assert torch.equal(model.predict(x), model.predict(x)), "the same rows, the same ensemble"


def test_another_permutation_is_answered_wrong() -> None:
    model = PermutationEnsemble(5000, solver="gp-limit").fit([1, 2, 3, 4, 0])
    x = torch.eye(5)
    assert model.score(x, x.roll(1, 1).long()) == 1
    assert model.score(x, x.roll(2, 1).long()) == 0


@pytest.mark.parametrize("kernel", LIMITS)
def test_the_law_of_the_ensembles_size(kernel: str) -> None:
    sizes = {k: np.median([measured_size(k, kernel=kernel, seed=s) for s in range(9)]) for k in (10, 20)}
    for k, index in ((10, 1), (20, 3)):
        assert sizes[k] == pytest.approx(LIMITS[kernel][index], rel=0.25)
    assert 0.7 < math.log2(sizes[20] / sizes[10]) < 1.5
    assert measured_size(5, share=0.999, kernel=kernel) >= measured_size(5, share=0.5, kernel=kernel)


def test_members_can_be_added() -> None:
    x = pairs_of_ones(6)
    for solver in ("gd", "gp-limit"):
        model = PermutationEnsemble(8, 64, solver=solver).fit(list(range(6)))
        few = model.decision_function(x)
        zero, one, variance = permutation_moments(6, 2)
        more = model.partial_fit_members(72).decision_function(x)
        assert not torch.equal(few, more)
        expected = zero + (one - zero) * x
        assert (more - expected).square().mean() < (few - expected).square().mean()
        assert float((more - expected).square().mean()) < 4 * variance / 80 + 0.01 * (solver == "gd")


def test_other_inputs_and_targets() -> None:
    generator = torch.Generator().manual_seed(6)
    x, y = torch.randn(4, 5, generator=generator), (torch.rand(4, 3, generator=generator) > 0.5).long()
    for solver in ("gd", "gp-limit"):
        model = PermutationEnsemble(20, 512, solver=solver, sigma_w=1.5).fit(x, y)
        assert torch.equal(model.predict(x), y)
        assert model.decision_function(2 * x) == pytest.approx(model.decision_function(x), abs=1e-5)


def test_exact_answers_and_lists_of_inputs() -> None:
    average, targets = torch.tensor([[0.1, -0.2], [0.1, 0.2]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert exact_answers(average, targets).tolist() == [True, False]
    assert len(all_inputs(7).unique(dim=0)) == 127
    assert pairs_of_ones(6).sum(1).unique().tolist() == [2]
    assert len(pairs_of_ones(6)) == 15


def test_training_that_ends_too_early_warns() -> None:
    with pytest.warns(UserWarning, match="max_steps"):
        PermutationEnsemble(1, 32, max_steps=2).fit([1, 0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: PermutationEnsemble(parametrization="mup"), lambda: PermutationEnsemble(solver="adam"),
        lambda: PermutationEnsemble(0), lambda: PermutationEnsemble(tol=0), lambda: PermutationEnsemble().fit([0, 0]),
        lambda: PermutationEnsemble().fit([0]), lambda: PermutationEnsemble().fit([0.5, 1.5]),
        lambda: PermutationEnsemble().fit(torch.zeros(2, 2), torch.eye(2)),
        lambda: PermutationEnsemble().fit(torch.eye(2), torch.eye(3)),
        lambda: PermutationEnsemble().fit(torch.eye(2) * math.nan, torch.eye(2)),
        lambda: PermutationEnsemble().partial_fit_members(3), lambda: permutation_moments(5, 6),
        lambda: permutation_moments(5, 2, "rbf"), lambda: required_ensemble_size(5, 10, 0.0),
        lambda: two_layer_ntk(torch.zeros(1, 3), torch.ones(1, 3)), lambda: two_layer_ntk(torch.ones(3), torch.ones(3)),
        lambda: measured_size(2), lambda: all_inputs(40),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call: object) -> None:
    assert callable(call)
    with pytest.raises(ZooInvalid):
        call()
