"""deep-kernel-machine: the linear closed form, limits in nu, sparse against full, gradients, real data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.deep_kernel_machine import (
    DKMRegressor,
    GramLayer,
    SparseDKM,
    SparseDKMClassifier,
    SparseDKMRegressor,
    SparseGPHead,
    _layers,
    arccos_block,
    arccos_from_gram,
    dkm_regulariser,
    dkm_terms,
    expected_gaussian,
    kernel_blocks,
    mc_log_likelihood,
    optimise,
    propagate,
    rbf_from_gram,
)
from kernelwright.zoo.kernel_methods.deep_kernel_machine._kernels import cholesky, input_blocks
from kernelwright.zoo.kernel_methods.deep_kernel_machine._layers import triangle, whitened_kl


def _spd(size: int, seed: int) -> torch.Tensor:
    a = torch.randn(size, 2 * size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return a @ a.t() / (2 * size)


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _kl(g: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """KL(N(0, G) || N(0, K)) as the card writes it."""
    ratio = torch.linalg.solve(k, g)
    return (ratio.trace() - ratio.logdet() - len(g)) / 2


# ── the full machine ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_linear_machine_interpolates_geometrically():
    size, depth = 12, 3
    g0, top = _spd(size, 0), _spd(size, 1)
    y = math.sqrt(size) * torch.linalg.cholesky(top)  # Y Y' / outputs = G_4, and outputs = nu
    raws, _ = optimise(g0, y, depth, float(size), 0.0, "linear", 3000, start=False, jitter=0.0)
    grams = dkm_terms(g0, raws, y, float(size), 0.0, "linear", start=False, jitter=0.0).grams
    values, vectors = torch.linalg.eig(torch.linalg.solve(g0, top))
    for layer, gram in enumerate(grams, 1):
        power = (vectors * values ** (layer / (depth + 1))) @ torch.linalg.inv(vectors)
        wanted = g0 @ power.real
        assert (gram - wanted).norm() / wanted.norm() < 1e-6


def test_a_strong_prior_is_the_nngp():
    x, y = _draw(20, 5), _draw(20, 1, seed=1)
    g0 = input_blocks(x, x).ii
    raws, _ = optimise(g0, y, 2, 1e6, 0.1, "rbf", 50)
    terms = dkm_terms(g0, raws, y, 1e6, 0.1, "rbf")
    k = kernel_blocks("rbf", input_blocks(x, x)).ii
    for gram in terms.grams:
        assert (gram - k).norm() / k.norm() < 1e-4
        diagonal = gram.diagonal()
        k = rbf_from_gram(gram, diagonal, diagonal)
    rows, targets = x.numpy(), y[:, 0].numpy()
    strong, infinite = (DKMRegressor(nu=nu, kernel="rbf").fit(rows, targets) for nu in (1e6, math.inf))
    assert np.abs(strong.predict(rows) - infinite.predict(rows)).max() < 1e-3


def test_infinite_nu_is_gaussian_process_regression():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    rows, targets = _draw(25, 3).numpy(), _draw(25).numpy()
    scaled = (rows - rows.mean(0)) / rows.std(0)
    y = (targets - targets.mean()) / targets.std()
    process = GaussianProcessRegressor(RBF(2.0, "fixed"), alpha=0.1).fit(scaled, y)  # 3 inputs and a bias: sqrt(4)
    mean, std = process.predict(scaled[:5] + 0.3, return_std=True)
    model = DKMRegressor(depth=0, kernel="rbf", nu=math.inf, noise=0.1).fit(rows, targets)
    ours, spread = model.predict((scaled[:5] + 0.3) * rows.std(0) + rows.mean(0), return_std=True)
    assert np.allclose(ours, targets.mean() + targets.std() * mean, atol=1e-6)
    assert np.allclose(spread, targets.std() * np.sqrt(std**2 + 0.1), atol=1e-6)


def test_a_weak_prior_fits_the_targets():
    y = _draw(8, 8, seed=3)
    raws, _ = optimise(_spd(8, 2), y, 1, 1e-3, 1e-6, "linear", 2000, start=False)
    gram = dkm_terms(_spd(8, 2), raws, y, 1e-3, 1e-6, "linear", start=False).grams[0]
    wanted = y @ y.t() / 8
    assert (gram * wanted).sum() / (gram.norm() * wanted.norm()) > 0.99


@pytest.mark.parametrize("kernel", ["arccos", "rbf", "linear"])
def test_the_objective_is_the_cards_formula_and_has_its_gradients(kernel):
    g0, y, nu, noise = _spd(6, 4), _draw(6, 2), 1.7, 0.3
    raws = [0.2 * _draw(6, 6, seed=s).tril() for s in (5, 6)]
    terms = dkm_terms(g0, raws, y, nu, noise, kernel, jitter=0.0)
    below, wanted = g0, torch.zeros((), dtype=torch.float64)
    for gram in terms.grams:
        k = kernel_blocks(kernel, _self(below)).ii
        wanted = wanted - nu * _kl(gram, k)
        below = gram
    top = kernel_blocks(kernel, _self(below)).ii + noise * torch.eye(6, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), top)
    wanted = wanted + normal.log_prob(y.t()).sum()
    assert float(terms.objective) == pytest.approx(float(wanted), abs=1e-9)
    raws = [raw.requires_grad_() for raw in raws]
    assert torch.autograd.gradcheck(
        lambda *r: dkm_terms(g0, list(r), y, nu, noise, kernel, jitter=0.0).objective, raws, atol=1e-6
    )


def _self(g: torch.Tensor):
    from kernelwright.zoo.kernel_methods.deep_kernel_machine import GramBlocks

    return GramBlocks(g, g, g.diagonal())


def test_the_whitened_kl_is_the_kl_and_its_gradient():
    k, raw = _spd(5, 7), (0.3 * _draw(5, 5)).requires_grad_()
    lower = cholesky(k, 0.0)
    gram = lower @ triangle(raw) @ triangle(raw).t() @ lower.t()
    assert float(whitened_kl(raw).detach()) == pytest.approx(float(_kl(gram, k).detach()), abs=1e-10)
    assert float(whitened_kl(torch.zeros(5, 5))) == 0
    assert whitened_kl(raw) > 0
    free = gram.detach().requires_grad_()
    (slope,) = torch.autograd.grad(_kl(free, k), free)
    assert torch.allclose(slope, (torch.linalg.inv(k) - torch.linalg.inv(gram.detach())) / 2, atol=1e-9)


def test_learning_raises_the_objective_and_the_alignment():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 10))
    y = np.sin(3 * x[:, 0])
    model = DKMRegressor(depth=2, kernel="rbf", nu=5.0, noise=0.1).fit(x, y)
    assert model.objective_ > model.start_objective_ + 0.01 * len(x)
    still = DKMRegressor(depth=2, kernel="rbf", nu=math.inf, noise=0.1).fit(x, y)
    parts = model.elbo_terms_
    assert model.objective_ == pytest.approx(parts["likelihood"] - sum(parts["penalties"]))
    assert still.objective_ == pytest.approx(model.start_objective_)
    assert _alignment(model.grams_[-1], y) > 1.2 * _alignment(still.grams_[-1], y)


def _alignment(gram: np.ndarray, y: np.ndarray) -> float:
    y = y - y.mean()
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    return float(y @ centred @ y / (np.linalg.norm(centred) * (y @ y)))


# ── kernels and blocks ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_relu_kernel_is_that_of_random_features():
    x = _draw(4, 3)
    g = x @ x.t()
    w = _draw(3, 400_000, seed=9)
    features = (x @ w).relu()
    sampled = 2 * features @ features.t() / w.shape[1]
    exact = arccos_from_gram(g, g.diagonal(), g.diagonal())
    assert torch.allclose(sampled, exact, atol=0.03)
    assert torch.allclose(exact.diagonal(), g.diagonal())
    assert torch.allclose(arccos_block(g, g.diagonal(), g.diagonal()), exact)


def test_the_relu_kernel_has_finite_gradients_at_equal_points_and_zero_rows():
    x = torch.cat([_draw(3, 2), torch.zeros(1, 2, dtype=torch.float64)]).requires_grad_()
    g = x @ x.t() + 1e-300
    arccos_from_gram(g, g.diagonal(), g.diagonal()).sum().backward()
    assert torch.isfinite(x.grad[:3]).all()
    still = arccos_from_gram(torch.zeros(1, 1), torch.zeros(1), torch.zeros(1))
    assert float(still) == 0


@pytest.mark.parametrize("kernel", ["arccos", "rbf", "linear"])
def test_others_blocks_at_inducing_points_are_those_of_the_inducing_points(kernel):
    x, raw = _draw(6, 8), 0.3 * _draw(6, 6, seed=1)
    k = kernel_blocks(kernel, input_blocks(x, x))
    g = propagate(k, raw, 0.0)
    assert torch.allclose(g.ti, g.ii, atol=1e-8)
    assert torch.allclose(g.t, g.ii.diagonal(), atol=1e-8)
    same = propagate(k, torch.zeros_like(raw), 0.0)
    assert torch.allclose(same.ii, k.ii)
    assert torch.allclose(same.t, k.t)


def test_blocks_follow_the_conditional_of_the_features():
    k = kernel_blocks("rbf", input_blocks(_draw(5, 3), _draw(4, 3, seed=1)))
    raw = 0.4 * _draw(5, 5, seed=2)
    g = propagate(k, raw, 0.0)
    weights = torch.linalg.solve(k.ii, k.ti.t()).t()
    assert torch.allclose(g.ti, weights @ g.ii, atol=1e-9)
    wanted = k.t - (weights * k.ti).sum(1) + ((weights @ g.ii) * weights).sum(1)
    assert torch.allclose(g.t, wanted, atol=1e-9)


# ── the sparse machine ─────────────────────────────────────────────────────────────────────────────────────────────


def test_sparse_at_all_training_points_is_full_and_never_above(monkeypatch):
    monkeypatch.setitem(_layers._JITTER, torch.float64, 1e-12)
    x, y, noise = _draw(9, 4), _draw(9, 2, seed=1), 0.2
    net = SparseDKM(x, outputs=2, depth=2, kernel="rbf", nu=1.5)
    layers = [m for m in net.modules() if isinstance(m, GramLayer)]
    with torch.no_grad():
        for seed, layer in enumerate(layers):
            layer.raw.copy_(0.2 * _draw(9, 9, seed=seed))
    blocks, grams = net.layers[1](net.layers[0](x)), []
    for layer in layers:  # without the norm, which the full machine does not have
        blocks = layer(blocks)
        grams.append(blocks.ii)
        blocks = kernel_blocks("rbf", blocks)
    raws = [layer.raw for layer in layers]
    full = dkm_terms(input_blocks(x, x).ii, raws, y, 1.5, noise, "rbf", jitter=1e-12)
    for ours, theirs in zip(grams, full.grams, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)

    def elbo(head: SparseGPHead) -> float:
        mean, variance = head(blocks)
        log_noise = torch.tensor(math.log(noise), dtype=torch.float64)
        fit = sum(expected_gaussian(mean[:, c], variance, y[:, c], log_noise).sum() for c in range(2))
        return float((fit + head.regulariser() - sum(full.penalties)).detach())

    lower = cholesky(blocks.ii, 1e-12)
    solved = torch.linalg.solve_triangular(lower, blocks.ti.t(), upper=False)
    covariance = torch.linalg.inv(torch.eye(9, dtype=torch.float64) + solved @ solved.t() / noise)
    factor = torch.linalg.cholesky(covariance)
    head = net.head
    with torch.no_grad():  # the best q, in closed form
        head.mean.copy_(covariance @ solved @ y / noise)
        head.raw.copy_(factor.tril(-1) + factor.diagonal().log().diag())
    best = elbo(head)
    assert best == pytest.approx(float(full.objective.detach()), abs=1e-6)
    for seed in range(5):
        other = SparseGPHead(9, 2, torch.float64)
        with torch.no_grad():
            other.mean.copy_(head.mean + 0.1 * _draw(9, 2, seed=seed))
            other.raw.copy_(head.raw + 0.1 * _draw(9, 9, seed=seed))
        assert elbo(other) < best


def test_likelihoods():
    mean, targets = torch.tensor([0.3], dtype=torch.float64), torch.tensor([1.1], dtype=torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    f = 0.3 + math.sqrt(0.7) * nodes
    quadrature = (weights * (-((1.1 - f) ** 2) / 0.8 - math.log(0.4) / 2 - math.log(2 * math.pi) / 2)).sum()
    value = expected_gaussian(mean, torch.tensor([0.7]), targets, torch.tensor(math.log(0.4), dtype=torch.float64))
    assert float(value) == pytest.approx(quadrature / weights.sum(), abs=1e-6)
    mean, labels = _draw(3, 4), torch.tensor([0, 3, 1])
    certain = mc_log_likelihood(mean, torch.zeros(3), _draw(5, 3, 4), labels)
    assert torch.allclose(certain, mean.log_softmax(1).gather(1, labels[:, None])[:, 0])


def test_it_behaves_like_a_module():
    net = SparseDKM(torch.randn(6, 3), outputs=2, depth=2, nu=2.0)
    assert net(torch.randn(1, 3))[0].shape == (1, 2)
    assert net(torch.randn(0, 3))[1].shape == (0,)
    again = SparseDKM(torch.randn(6, 3), outputs=2, depth=2, nu=2.0)
    again.load_state_dict(net.state_dict())
    x = torch.randn(8, 6)[:, ::2]
    assert torch.equal(net(x)[0], again(x)[0])
    assert net.double()(x.double())[0].dtype == torch.float64
    mean, variance = net(x.double())
    (mean.sum() + variance.sum() + dkm_regulariser(net)).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    fixed = SparseDKM(torch.randn(6, 3), outputs=2, nu=math.inf)
    assert float(dkm_regulariser(fixed).detach()) == 0


def test_a_rows_cost_does_not_depend_on_the_others():
    net = SparseDKM(_draw(7, 3), outputs=1)
    x = _draw(50, 3, seed=4)
    whole, parts = net(x)[0], torch.cat([net(part)[0] for part in x.split(13)])
    assert torch.allclose(whole, parts, atol=1e-12)


def test_learned_grams_beat_the_nngp_where_inputs_do_not_matter():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 10))
    y = np.sin(3 * x[:, 0]) + 0.05 * rng.normal(size=1000)

    def error(nu: float) -> float:
        model = SparseDKMRegressor(100, kernel="rbf", nu=nu, epochs=60, random_state=0).fit(x[:600], y[:600])
        return float(np.sqrt(np.mean((model.predict(x[600:]) - y[600:]) ** 2)))

    assert error(10.0) < 0.8 * error(math.inf)


@pytest.mark.parametrize(
    "estimator",
    [
        DKMRegressor(depth=1, max_iter=5),
        SparseDKMRegressor(10, depth=1, epochs=30, batch_size=200, lr=0.08),
        SparseDKMClassifier(8, depth=1, epochs=6, batch_size=200, lr=0.15),
    ],
    ids=lambda e: type(e).__name__,
)
def test_scikit_learn_conventions(estimator):
    check_estimator(estimator, on_skip=None)


def test_faults_are_sentences():
    with pytest.raises(ZooInvalid, match="nu"):
        GramLayer(3, 0.0)
    with pytest.raises(ZooInvalid, match="kernel"):
        kernel_blocks("cosine", _self(_spd(2, 0)))
    with pytest.raises(ZooInvalid, match="depth"):
        SparseDKM(torch.randn(3, 2), 1, depth=-1)
    with pytest.raises(ZooInvalid, match="dtype"):
        SparseDKM(torch.ones(3, 2, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match="nu="):
        DKMRegressor(nu=-1.0).fit(np.zeros((3, 1)), np.arange(3.0))
