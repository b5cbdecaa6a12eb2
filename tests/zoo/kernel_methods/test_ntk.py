"""The tangent kernel of networks of infinite width: closed forms, finite networks close in, training follows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.ntk import (
    NTKMLP,
    SYSTEM,
    Dense,
    Elementwise,
    Erf,
    NTKClassifier,
    NTKKernelPCA,
    NTKLinear,
    NTKRegressor,
    Relu,
    circle,
    dual_activation,
    empirical_ntk,
    kernels_on_circle,
    learnt,
    linearize,
    nngp,
    ntk,
    ntk_matvec,
    serial,
)

# Angle, covariance and tangent kernel of four layers on the unit circle, ReLU, beta = 0.1.
CIRCLE = [
    (0.0, 0.081250, 0.282500),
    (math.pi / 4, 0.069867, 0.169971),
    (math.pi / 2, 0.055760, 0.092702),
    (3 * math.pi / 4, 0.049239, 0.066036),
    (math.pi, 0.048097, 0.064354),
]


def points(n: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def textbook(x: torch.Tensor, z: torch.Tensor, depth: int, b: float = 0.1) -> torch.Tensor:
    """The recursion as the paper writes it, by arc cosine, in float64."""
    x, z = x.double(), z.double()
    s, q, r = x @ z.T / x.shape[1] + b * b, (x * x).mean(1) + b * b, (z * z).mean(1) + b * b
    theta = s
    for _ in range(depth - 1):
        root = (q[:, None] * r[None]).sqrt()
        t = torch.acos((s / root).clamp(-1, 1))
        s = root * (t.sin() + (math.pi - t) * t.cos()) / (2 * math.pi) + b * b
        q, r = q / 2 + b * b, r / 2 + b * b
        theta = theta * (math.pi - t) / (2 * math.pi) + s
    return theta


@pytest.mark.parametrize(("angle", "covariance", "tangent"), CIRCLE)
def test_circle(angle: float, covariance: float, tangent: float) -> None:
    for dtype, bound in ((torch.float64, 1e-6), (torch.float32, 2e-6)):
        x = circle(torch.tensor([0.0, angle], dtype=dtype))
        s, t = ntk(x[:1], x[1:], depth=4, return_nngp=True)
        assert abs(s.item() - covariance) < bound
        assert abs(t.item() - tangent) < bound


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (7, 140), (130, 515), (140, 33)])
def test_tiles_are_the_textbook_recursion(shape: tuple[int, int]) -> None:
    x, z = points(shape[0], 6), points(shape[1], 6, seed=1)
    assert torch.allclose(ntk(x, z, depth=3), textbook(x, z, 3), atol=1e-12)
    s, t = ntk(z, depth=3, return_nngp=True)
    assert torch.allclose(t, textbook(z, z, 3), atol=1e-7)  # the textbook loses its digits on the diagonal
    assert torch.equal(t, t.T)
    assert torch.equal(s, s.T)


def test_views_give_what_copies_give() -> None:
    x = points(12, 10)[::2, ::2]
    assert torch.allclose(ntk(x, depth=3), ntk(x.contiguous(), depth=3), rtol=1e-14)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_float32_keeps_its_digits_for_nearly_parallel_and_opposite_inputs(sign: float) -> None:
    x = points(1, 16, torch.float32)
    z = sign * (x + torch.tensor([1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0.0])[:, None] * points(6, 16, torch.float32, 1))
    exact = ntk(x.double(), z.double(), depth=4, b_std=0.0)
    assert torch.allclose(ntk(x, z, depth=4, b_std=0.0).double(), exact, rtol=3e-6, atol=1e-7)
    naive = textbook(x.float(), z.float(), 4, 0.0)
    assert torch.allclose(exact, naive, rtol=1e-4)


def test_diagonal_is_the_scalar_recursion() -> None:
    x = points(20, 5)
    s, t = ntk(x, depth=4, return_nngp=True)
    s1, t1 = ntk(x, depth=4, return_nngp=True, diag=True)
    q, theta = (x * x).mean(1) + 0.01, (x * x).mean(1) + 0.01
    for _ in range(3):
        q = q / 2 + 0.01
        theta = theta / 2 + q
    assert torch.allclose(t1, theta, rtol=1e-14)
    assert torch.allclose(t.diagonal(), theta, rtol=1e-13)
    assert torch.allclose(s.diagonal(), s1, rtol=1e-13)


def test_one_layer_is_linear_and_no_bias_is_homogeneous() -> None:
    x, z = points(5, 4), points(6, 4, seed=1)
    assert torch.allclose(ntk(x, z, depth=1), x @ z.T / 4 + 0.01)
    assert torch.allclose(nngp(x, z, depth=1, input_scale="1", w_var=2.0, b_std=0.0), 2 * x @ z.T)
    plain = ntk(x, z, depth=3, b_std=0.0)
    assert torch.allclose(ntk(3 * x, z, depth=3, b_std=0.0), 3 * plain)
    assert torch.allclose(ntk(x, 0.5 * z, depth=3, b_std=0.0), 0.5 * plain)
    assert ntk(torch.zeros(2, 3), depth=3, b_std=0.0).abs().max() == 0


def test_positive_definite_on_the_sphere() -> None:
    x = torch.nn.functional.normalize(points(150, 3))
    assert torch.linalg.eigvalsh(ntk(x, depth=3)).min() > 1e-8
    assert torch.linalg.eigvalsh(nngp(x, depth=3)).min() > -1e-10 * 150


def test_erf_and_series_agree_with_quadrature() -> None:
    x, z = 0.7 * points(6, 4), 0.7 * points(7, 4, seed=1)
    closed = ntk(x, z, depth=3, activation="erf")
    assert torch.allclose(closed, ntk(x, z, depth=3, activation=torch.erf), atol=1e-6)
    fine = serial(Dense(), Elementwise(torch.erf, 80), Dense(), Elementwise(torch.erf, 80), Dense())
    assert torch.allclose(closed, fine.ntk(x, z), atol=1e-8)
    c = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    value, slope = dual_activation("erf")(c)
    u, w = np.polynomial.hermite_e.hermegauss(80)
    u, w = torch.from_numpy(u), torch.from_numpy(w / w.sum())
    v = c[:, None, None] * u[:, None] + (1 - c[:, None, None] ** 2).sqrt() * u
    weight = w[:, None] * w
    derivative = 4 / math.pi * (torch.exp(-(u**2))[:, None] * torch.exp(-(v**2)))
    assert torch.allclose(value, (weight * torch.erf(u)[:, None] * torch.erf(v)).sum((1, 2)), atol=1e-8)
    assert torch.allclose(slope, (weight * derivative).sum((1, 2)), atol=1e-8)


def test_layers_compose_at_finite_and_infinite_width() -> None:
    x = points(4, 3, torch.float32)
    network = serial(Dense(math.sqrt(2), 0.0), Relu(), Dense(1.0, 0.2), Erf(), Dense())
    torch.manual_seed(0)
    draws = torch.stack([empirical_ntk(network.finite(3, 512), x, outputs="trace") for _ in range(20)])
    error = (draws.mean(0) - network.ntk(x)).abs() / (draws.std(0) / math.sqrt(20))
    assert error.max() < 4.5
    with pytest.raises(ZooInvalid, match="ends in a Dense"):
        serial(Dense(), Relu())


def test_matvec_and_gradients() -> None:
    x, z, v = points(140, 4), points(520, 4, seed=1), points(520, 3, seed=2)
    assert torch.allclose(ntk_matvec(x, z, v, depth=3), ntk(x, z, depth=3) @ v)
    a, b = points(3, 4).requires_grad_(), points(4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: ntk(p, q, depth=3, return_nngp=True), (a, b))
    gram = ntk(a, depth=3)
    gram.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_nan_stays_nan_and_faults_are_told() -> None:
    x = points(3, 2)
    x[1, 0] = math.nan
    assert ntk(x, depth=3)[1].isnan().all()
    assert ntk(x, depth=3)[0, 2].isfinite()
    for arguments, message in [
        ({"X": points(3, 2), "Z": points(3, 4), "depth": 2}, "shapes"),
        ({"X": points(3, 2).int(), "depth": 2}, "float32"),
        ({"X": points(3, 2), "depth": 0}, "depth is 0"),
        ({"X": points(3, 2), "depth": 2, "activation": "tan"}, "'tan'"),
        ({"X": points(3, 2), "Z": points(3, 2), "depth": 2, "diag": True}, "diag"),
    ]:
        with pytest.raises(ZooInvalid, match=message):
            ntk(**arguments)
    with pytest.raises(ZooInvalid, match="one row for each"):
        ntk_matvec(points(3, 2), points(4, 2), points(3, 1), depth=2)


def test_finite_networks_close_in_on_the_limit() -> None:
    angles = torch.tensor([0.0, math.pi / 4, math.pi / 2, math.pi])
    limit = ntk(circle(torch.zeros(1)), circle(angles), depth=4)[0]
    narrow, wide = kernels_on_circle(100, 30, angles), kernels_on_circle(400, 30, angles)
    error = (wide.mean(0) - limit).abs() / (wide.std(0) / math.sqrt(30))
    assert error.max() < 3
    assert 1.4 < float(narrow.std(0).mean() / wide.std(0).mean()) < 2.9


@pytest.mark.parametrize("outputs", ["full", "trace", "sum"])
def test_empirical_kernel_is_the_contraction_of_jacobians(outputs: str) -> None:
    torch.manual_seed(0)
    mlp = NTKMLP((5, 16, 16, 3), dtype=torch.float64)
    x, z = points(6, 5), points(4, 5, seed=1)
    direct = empirical_ntk(mlp, x, z, outputs=outputs, method="jacobian", block=4)
    assert torch.allclose(empirical_ntk(mlp, x, z, outputs=outputs), direct, rtol=1e-10)
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 2)).double()
    images = points(5, 36).reshape(5, 1, 6, 6)
    rows = []
    for image in images:
        grads = [torch.autograd.grad(o, list(cnn.parameters()), retain_graph=True) for o in cnn(image[None])[0]]
        rows.append(torch.stack([torch.cat([g.flatten() for g in one]) for one in grads]))
    jacobian = torch.stack(rows)
    full = torch.einsum("nip,mjp->nmij", jacobian, jacobian)
    expected = {"full": full, "trace": torch.einsum("nmii->nm", full), "sum": full.sum((2, 3))}[outputs]
    assert torch.allclose(empirical_ntk(cnn, images, outputs=outputs, block=2), expected, rtol=1e-10)


def test_empirical_kernel_refuses_what_has_none() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(ZooInvalid, match="batch norm"):
        empirical_ntk(net, points(4, 3, torch.float32))
    with pytest.raises(ZooInvalid, match="NTKLinear"):
        empirical_ntk(nn.Linear(3, 4), points(4, 3, torch.float32), method="dense")
    assert empirical_ntk(net.eval(), points(4, 3, torch.float32), outputs="trace").shape == (4, 4)


def test_linearised_network_has_the_tangents_and_no_curvature() -> None:
    torch.manual_seed(0)
    net = NTKMLP((3, 32, 2), torch.tanh, dtype=torch.float64)
    x, linear = points(4, 3), linearize(net)
    linear(x).square().sum().backward()
    net(x).square().sum().backward()
    for offset, parameter in zip(linear.offsets, net.parameters(), strict=True):
        assert torch.allclose(offset.grad, parameter.grad)
    start = linear(x)
    with torch.no_grad():
        for offset in linear.offsets:
            offset.normal_()
        once = linear(x) - start
        for offset in linear.offsets:
            offset *= 2
        assert torch.allclose(linear(x) - start, 2 * once)
    assert set(linear.state_dict()) == {f"offsets.{k}" for k in range(4)}


def test_filters_at_the_ends_of_time() -> None:
    rates = torch.tensor([0.0, 0.5, 2.0])
    ends = torch.tensor([[0.0], [math.inf]])
    assert learnt(rates, ends).tolist() == [[0, 0, 0], [0, 1, 1]]
    assert learnt(rates, ends, 0.1).tolist() == [[0, 0, 0], [0, 1, 1]]
    flow, steps = learnt(rates, torch.tensor([[3.0]])), learnt(rates, torch.tensor([[3000.0]]), 1e-3)
    assert torch.allclose(flow, steps, atol=1e-3)


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    x = torch.from_numpy(x[:n]) / 16
    return x, torch.from_numpy((y[:n] % 2) * 2.0 - 1)


def rms_to_limit(width: int, seed: int) -> float:
    """The relative distance between a trained network and its limit, at its worst time, started from its own f_0."""
    torch.manual_seed(seed)
    x, y = digits(48)
    net = NTKMLP((64, width, width, 1), dtype=torch.float64)
    limit = NTKRegressor(depth=3, learning_rate=1.0).fit(x, y - net(x).detach()[:, 0])
    step = 1.0 / float(limit.eigenvalues_[0])
    limit.set_params(learning_rate=step)
    start, worst = net(x).detach()[:, 0], 0.0
    optimizer = torch.optim.SGD(net.parameters(), lr=step)
    for t in range(81):
        out = net(x)[:, 0]
        if t % 20 == 0:
            told = start + torch.from_numpy(limit.predict_at(x, t))
            worst = max(worst, float((out.detach() - told).square().mean().sqrt()))
        optimizer.zero_grad()
        ((out - y) ** 2).mean().div(2).backward()
        optimizer.step()
    return worst


def test_training_follows_the_closed_form_and_the_better_the_wider() -> None:
    narrow, wide = rms_to_limit(64, 0), rms_to_limit(1024, 0)
    assert wide < 0.06
    assert narrow > 2 * wide


def test_components_decay_at_their_own_rates() -> None:
    x, _ = digits(60)
    pca = NTKKernelPCA(3).fit(x)
    second = pca.eigenvectors_[:, 1]
    model = NTKRegressor().fit(x, second)
    left = [float(second @ (second - f)) for f in model.predict_at(x, [0.0, 1 / pca.eigenvalues_[1]])]
    assert left[0] == pytest.approx(1)
    assert left[1] == pytest.approx(math.exp(-1), rel=1e-6)


def test_posterior_of_an_ensemble() -> None:
    x, y = points(8, 2), points(8, 1, seed=1)[:, 0]
    model = NTKRegressor(depth=2, b_std=0.5).fit(x, y)
    mean, deviation = model.predict(x, return_std=True)
    assert np.allclose(mean, y, atol=1e-6)
    assert deviation.max() < 1e-5
    prior = NTKRegressor(depth=2, b_std=0.5, t=0.0).fit(x, y).predict(x, return_std=True)
    assert np.allclose(prior[1] ** 2, nngp(x, depth=2, b_std=0.5).diagonal())
    assert np.abs(prior[0]).max() == 0


def test_digits_are_told_apart() -> None:
    x, y = load_digits(return_X_y=True)
    model = NTKClassifier(depth=3).fit(x[:1000] / 16, y[:1000])
    assert model.score(x[1000:] / 16, y[1000:]) >= 0.95


@pytest.mark.parametrize(
    "estimator", [NTKRegressor(), NTKClassifier(), NTKKernelPCA(1)], ids=lambda e: type(e).__name__
)
def test_estimators_keep_scikit_learns_contract(estimator: object) -> None:
    check_estimator(estimator)


def test_parametrisation() -> None:
    layer = NTKLinear(4, 3, w_std=2.0, b_std=0.5)
    x = points(2, 4, torch.float32)
    assert torch.allclose(layer(x), 2 * x @ layer.weight.T / 2 + 0.5 * layer.bias)
    with pytest.raises(ZooInvalid, match="at least an input"):
        NTKMLP((3,))


def test_hot_operations_are_tasks() -> None:
    for operation in SYSTEM.operations:
        arguments = operation.arguments()
        assert operation.function(*arguments).isfinite().all()
        assert operation.task().name == operation.name
