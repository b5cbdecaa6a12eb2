"""Self-distilled ridge regression: the published table, refitting by hand, limits, optimal mixes, networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import blobs, mlp
from kernelwright.zoo.kernel_methods.self_distillation_krr import (
    DistillationLoss,
    SelfDistilledKernelRidge,
    SelfDistiller,
    distillation_filter,
    dual_filter,
    greedy_mixes,
    optimal_mix,
    soft_mse_distill_loss,
    spectral_path,
)
from kernelwright.zoo.kernel_methods.self_distillation_krr._example import toy_errors, toy_mixes

# Six rounds and the limit, computed from the recursion's closed form with the paper's toy data.
TABLE = {
    0.0: (0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251, 0.49505),
    0.25: (0.16477, 0.15309, 0.14958, 0.14903, 0.14946, 0.15011, 0.15250),
    0.35: (0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948, 0.14959),
}


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.RandomState(0)
    return draw.randn(40, 3), draw.randn(40, 2), draw.randn(15, 3)


@pytest.mark.parametrize("mix", TABLE)
def test_the_published_table(mix: float) -> None:
    errors = [*toy_errors(mix), *toy_errors(mix, math.inf)]
    assert errors == pytest.approx(TABLE[mix], abs=5.1e-6)


def test_the_published_mixes() -> None:
    assert toy_mixes(clip=False)[1:] == pytest.approx([-0.622, 0.330, 0.335, 0.336, 0.336], abs=1e-3)
    assert toy_mixes(clip=True)[1] == 0


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "poly"])
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_path_is_what_refitting_gives(data: tuple[np.ndarray, ...], kernel: str, mix: float) -> None:
    x, y, x_test = data
    options = {"kernel": kernel, "gamma": 0.4, "degree": 2}
    model = SelfDistilledKernelRidge(alpha=0.3, mix=mix, n_steps=20, **options).fit(x, y)
    last = y
    for found in model.staged_predict(x_test):
        refit = KernelRidge(alpha=0.3, **options).fit(x, mix * y + (1 - mix) * last)
        last = refit.predict(x)
        assert found == pytest.approx(refit.predict(x_test), abs=1e-9)
    assert model.predict(x_test) == pytest.approx(refit.predict(x_test), abs=1e-9)
    assert model.dual_coef_ == pytest.approx(refit.dual_coef_, abs=1e-9)


@pytest.mark.parametrize("mix", [0.2, 0.7, 1.0])
def test_the_limit_is_ridge_regression(data: tuple[np.ndarray, ...], mix: float) -> None:
    x, y, x_test = data
    model = SelfDistilledKernelRidge(gamma=0.4, alpha=0.1, mix=mix, n_steps=math.inf).fit(x, y)
    assert model.predict(x_test) == pytest.approx(model.limit_estimator().fit(x, y).predict(x_test), abs=1e-10)
    long = SelfDistilledKernelRidge(gamma=0.4, alpha=0.1, mix=mix, n_steps=400).fit(x, y)
    assert model.predict(x_test) == pytest.approx(long.predict(x_test), abs=1e-8)
    assert not SelfDistilledKernelRidge(mix=0.0, n_steps=math.inf).fit(x, y).predict(x_test).any()


def test_rounds_converge_at_the_stated_rate() -> None:
    values = torch.tensor([1.0, 4.0], dtype=torch.float64)
    path = distillation_filter(values, 0.5, 0.2, 60)
    apart = (path - distillation_filter(values, 0.5, 0.2, math.inf)).abs()
    assert (apart[40] / apart[39]).tolist() == pytest.approx((0.8 * values / (values + 0.5)).tolist(), rel=0.01)


def test_filters_shrink_and_grow_sparse() -> None:
    values = torch.logspace(-3, 2, 30, dtype=torch.float64)
    for mix in (0.0, 0.3):
        path = distillation_filter(values, 0.2, mix, 15)
        assert (path.sum(1).diff() < 0).all()
        assert (path.sum(1) >= distillation_filter(values, 0.2, mix, math.inf).sum()).all()
    alone = distillation_filter(values, 0.2, 0.0, 15)
    assert ((alone[:, 1:] / alone[:, :-1]).diff(dim=0) > 0).all(), "large eigenvalues gain on small ones"
    gain = values / (values + 0.2)
    assert torch.allclose(distillation_filter(values, 0.2, 1.0, 4), gain.expand(4, -1))
    assert torch.allclose(distillation_filter(values, 0.2, 0.0, 4)[3], gain**4)
    assert torch.equal(dual_filter(torch.zeros(1), 0.5, 0.0, 1), torch.tensor([[2.0]]))


def test_the_path_of_many_settings_is_that_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    projected, rotated = torch.randn(7, 9, generator=generator), torch.randn(9, generator=generator)
    values, ridges, mixes = torch.logspace(-3, 1, 9), torch.tensor([0.1, 1.0]), torch.tensor([0.0, 0.4, 1.0])
    path = spectral_path(projected, values, rotated, ridges, mixes, 4)
    assert path.shape == (4, 2, 3, 7)
    for l, ridge in enumerate(ridges.tolist()):  # noqa: E741
        for a, mix in enumerate(mixes.tolist()):
            expected = (dual_filter(values, ridge, mix, 4) * rotated) @ projected.T
            assert torch.allclose(path[:, l, a], expected, rtol=1e-4, atol=1e-4)


def test_the_optimal_mix_is_optimal() -> None:
    generator = torch.Generator().manual_seed(1)
    t, one, two = torch.randn(3, 25, 2, generator=generator, dtype=torch.float64)
    best = optimal_mix(t, one, two, clip=False)

    def error(mix: float) -> float:
        return float((mix * one + (1 - mix) * two - t).square().sum())

    assert all(error(best) <= error(m) for m in torch.linspace(-1, 2, 201).tolist())
    assert error(best + 1e-4) == pytest.approx(error(best - 1e-4), rel=1e-9)
    assert optimal_mix(t, t, two) == pytest.approx(1)
    assert optimal_mix(t, one, one) == 1


def test_greedy_mixes_never_lose_to_a_grid(data: tuple[np.ndarray, ...]) -> None:
    x, y, x_test = (torch.from_numpy(a) for a in data)
    gram, cross = (torch.exp(-0.4 * torch.cdist(a, x) ** 2) for a in (x, x_test))
    values, vectors = torch.linalg.eigh(gram)
    target, rotated = torch.sin(x_test[:, :2]), vectors.T @ y
    mixes = greedy_mixes(cross @ vectors, values, rotated, target, 0.1, 4)

    def error(last: float) -> float:
        dual = dual_filter(values, 0.1, [*mixes[:3], last], 4)[3]
        return float((cross @ vectors @ (dual[:, None] * rotated) - target).square().mean())

    assert all(error(mixes[3]) <= error(m) + 1e-12 for m in torch.linspace(0, 1, 101).tolist())


def test_optimal_mixes_are_found_on_held_out_rows() -> None:
    draw = np.random.RandomState(3)
    x = draw.rand(120, 1)
    y = np.sin(6 * x[:, 0]) + 0.5 * draw.randn(120) + 5
    model = SelfDistilledKernelRidge(gamma=30.0, alpha=0.01, mix="optimal", centre=True, random_state=0).fit(x, y)
    assert model.mix_[0] == 1
    assert ((model.mix_ >= 0) & (model.mix_ <= 1)).all()
    grid = np.linspace(0, 1, 50)[:, None]
    first, *_, last = (np.mean((p - np.sin(6 * grid[:, 0]) - 5) ** 2) for p in model.staged_predict(grid))
    assert last < first, "a ridge too small: distillation helps"


def test_shapes_and_precomputed(data: tuple[np.ndarray, ...]) -> None:
    x, y, x_test = data
    flat = SelfDistilledKernelRidge(gamma=0.4).fit(x, y[:, 0])
    assert flat.predict(x_test[:1]).shape == (1,)
    assert flat.dual_coef_.shape == (40,)
    assert flat.shrinkage_.shape == (5, 40)
    gram, cross = (np.exp(-0.4 * ((a[:, None] - x) ** 2).sum(-1)) for a in (x, x_test))
    given = SelfDistilledKernelRidge(kernel="precomputed").fit(gram, y[:, 0])
    assert given.predict(cross) == pytest.approx(flat.predict(x_test), abs=1e-10)


def test_scikit_learn_accepts_the_estimator() -> None:
    check_estimator(SelfDistilledKernelRidge())


@pytest.mark.parametrize(
    "options",
    [{"alpha": 0.0}, {"mix": 1.5}, {"mix": "best"}, {"n_steps": 0}, {"n_steps": 2.5}, {"gamma": -1.0},
     {"mix": "optimal", "n_steps": math.inf}, {"validation_fraction": 1.0}],
)  # fmt: skip
def test_wrong_parameters_are_named(data: tuple[np.ndarray, ...], options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is [-'\w]"):
        SelfDistilledKernelRidge(**options).fit(data[0], data[1])  # type: ignore[arg-type]


def test_wrong_arguments_of_functions_are_named() -> None:
    values = torch.ones(3)
    for call in (
        lambda: dual_filter(values, 0.0, 0.5, 2), lambda: dual_filter(values, 1.0, [0.5], 2),
        lambda: dual_filter(values, 1.0, [0.5], math.inf), lambda: optimal_mix(values, values, values[:2]),
        lambda: DistillationLoss(2.0), lambda: DistillationLoss(loss="l1"), lambda: SelfDistiller(mlp, n_steps=0),
        lambda: SelfDistiller(mlp, mix="best"), lambda: SelfDistiller(mlp, mix="optimal").fit([]),
    ):  # fmt: skip
        with pytest.raises(ZooInvalid):
            call()


def test_the_loss_of_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()
    y = torch.arange(6) % 4
    truth = nn.functional.one_hot(y, 4).double()
    for name in ("mse-softmax", "kl"):
        whole, alone = DistillationLoss(1.0, 2.0, name), DistillationLoss(0.3, 2.0, name)
        assert torch.allclose(whole(student, y, teacher), alone(student, y))
        assert float(DistillationLoss(0.0, 2.0, name)(student, y, student).detach()) == pytest.approx(0, abs=1e-12)
        (gradient,) = torch.autograd.grad(alone(student, y, teacher), student)
        assert gradient.abs().sum() > 0
        alone(student, y, teacher).backward()
        assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: soft_mse_distill_loss(s, teacher.detach(), truth, 0.3, 2.0), student)


@pytest.mark.parametrize("mix", [0.4, "optimal"])
def test_networks_teach_networks(mix: float | str) -> None:
    x, y = blobs(160, 2, 3, apart=6.0)
    torch.manual_seed(0)
    batches = list(zip(x[:120].split(40), y[:120].split(40), strict=True))
    distiller = SelfDistiller(lambda: mlp([2, 8, 3]), mix=mix, n_steps=3, epochs=10, lr=0.02)
    distiller.fit(batches, validation=[(x[120:], y[120:])])
    assert len(distiller.models_) == len(distiller.losses_) == 3
    assert distiller.mix_[0] == 1
    assert all(0 <= m <= 1 for m in distiller.mix_)
    assert float((distiller.predict_proba(x).argmax(1) == y).double().mean()) > 0.9
    assert not distiller.models_[0].training
