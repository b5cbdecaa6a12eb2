"""Features without bias whose errors fall as m^-1/2, layers like torch's, bundling that is algebra, closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.snnk import (
    SPECTRA,
    SYSTEM,
    ArcCosineFeatures,
    BundledClassifier,
    BundledRegressor,
    DualFeatures,
    SNNKAdapter,
    SNNKLinear,
    Spectrum,
    UniversalRandomFeatures,
    adapt,
    arc_cosine,
    bundle,
    directions,
    errors,
    gram_solve,
    snnkify,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _double(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=_generator(seed))


@pytest.mark.parametrize(("name", "function"), [("cos", torch.cos), ("sin", torch.sin), ("exp", torch.exp)])
def test_spectra_of_one_term_are_exact(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    z = torch.linspace(-3, 3, 31, dtype=torch.float64)
    assert torch.allclose(SPECTRA[name](z), function(z), atol=1e-12)


def test_tanh_is_its_midpoint_rule() -> None:
    z = torch.linspace(-3, 3, 201, dtype=torch.float64)
    assert (SPECTRA["tanh"](z) - torch.tanh(z)).abs().max() < 1e-5


@pytest.mark.parametrize("norm", [0.5, 1.0])
@pytest.mark.parametrize("name", ["cos", "sin", "tanh", "relu"])
def test_estimates_have_no_bias(name: str, norm: float) -> None:
    """Without bias |mean error| is sqrt(2 / pi) standard errors on average; over 8 pairs, 1.5 is 3 sigma above."""
    assert errors(name, 64, 400, norm)[1] < 1.5


@pytest.mark.parametrize("name", ["cos", "tanh", "relu"])
def test_errors_fall_with_the_root_of_the_number_of_features(name: str) -> None:
    sizes = [64, 256, 1024]
    found = [errors(name, size, 60)[0] for size in sizes]
    assert np.polyfit(np.log(sizes), np.log(found), 1)[0] == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("split", ["input", "even"])
@pytest.mark.parametrize("m_param", [0.0, 0.05])
def test_split_and_damping_keep_the_mean(split: str, m_param: float) -> None:
    x, w, b = _double((4,)) * 0.3, _double((3, 4), 1) * 0.3, torch.tensor([0.0, 0.4, -0.7], dtype=torch.float64)
    features = UniversalRandomFeatures(4, 200_000, "cos", split, m_param, False, _generator(3))  # type: ignore[arg-type]
    estimate = features.double().input_map(x[None]) @ features.weight_map(w, b).mT
    assert torch.allclose(estimate[0], torch.cos(w @ x + b), atol=0.012)


def test_damping_changes_the_variance() -> None:
    x = torch.full((1, 4), 0.2)
    spread = []
    for m_param in (0.0, 0.3):
        draws = [UniversalRandomFeatures(4, 64, "cos", m_param=m_param, generator=_generator(s)) for s in range(60)]
        spread.append(torch.stack([(f.input_map(x) * f.weight_map(x)).sum() for f in draws]).std())
    assert abs(spread[0] / spread[1] - 1) > 0.1


def test_exp_is_positive_random_features() -> None:
    features = UniversalRandomFeatures(3, 50, "exp", generator=_generator()).double()
    x = _double((6, 3)) * 0.4
    real, imaginary = features.input_map(x).chunk(2, -1)
    g = features.directions
    positive = torch.exp(x @ g.mT - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(50)
    assert torch.allclose(real, positive)
    assert (imaginary == 0).all()
    bias = torch.tensor([0.5], dtype=torch.float64)
    ratio = features.weight_map(x[:1], bias) / features.weight_map(x[:1])
    assert torch.allclose(ratio[:, :50], torch.exp(bias))


def test_maps_are_the_complex_formula() -> None:
    """The paired real form equals Re of the complex one, feature by feature."""
    features = UniversalRandomFeatures(3, 40, "tanh", "even", 0.1, generator=_generator()).double()
    x, w, b = _double((5, 3)) * 0.5, _double((2, 3), 1) * 0.5, _double((2,), 2)
    g, scale = features.directions.to(torch.complex128), math.sqrt(1.4)
    rho, eta, omega, a = (
        torch.complex(*v) for v in (features.rho, features.eta, features.frequency, features.amplitude)
    )

    def phi(points: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        norms = (points**2).sum(-1, keepdim=True)
        exponent = scale * factor * (points.to(g) @ g.mT) - 0.1 * (g**2).sum(-1) - factor**2 * norms / 2
        return 1.4**0.75 * torch.exp(exponent) / math.sqrt(40)

    full = phi(x, rho) @ (a * torch.exp(1j * omega * b[:, None]) * phi(w, eta)).mT
    assert torch.allclose(features.input_map(x) @ features.weight_map(w, b).mT, full.real)


def test_orthogonal_directions_are_orthogonal_and_help() -> None:
    g = directions(10, 4, True, _generator())
    block = g[4:8] @ g[4:8].mT
    assert torch.allclose(block, torch.diag(block.diagonal()), atol=1e-5)
    x, w = torch.randn(6, 16, generator=_generator(1)), torch.randn(6, 16, generator=_generator(2))
    exact, spread = arc_cosine(x, w), {}
    for orthogonal in (True, False):
        drawn = (DualFeatures(16, 16, orthogonal=orthogonal, generator=_generator(s)) for s in range(300))
        spread[orthogonal] = torch.stack([f.input_map(x) @ f.weight_map(w).mT - exact for f in drawn]).square().mean()
    assert spread[True] < spread[False]


def test_arc_cosine_at_its_angles() -> None:
    x = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    w = torch.tensor([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[3.0, 3 / math.pi, 0.0, 0.0]], dtype=torch.float64)  # |x||w| times 1/2, 1/(2 pi), 0
    assert torch.allclose(arc_cosine(x, w), expected, atol=1e-12)


def test_layers_estimate_the_layer_they_replace() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(8, 5).double()
    x = nn.functional.normalize(_double((20, 8))) * 0.8
    layer = SNNKLinear.from_linear(linear, "tanh", 100_000, generator=_generator())
    assert layer.weight.dtype == torch.float64
    assert (layer(x) - torch.tanh(linear(x))).abs().max() < 0.03
    dual = SNNKLinear.from_linear(linear, "relu", 100_000, generator=_generator())
    one, own = torch.ones(20, 1).double(), torch.cat([linear.weight, linear.bias[:, None]], 1)
    assert (dual(x) - arc_cosine(torch.cat([x, one], 1), own)).abs().max() < 0.02


@pytest.mark.parametrize("activation", ["relu", "cos", "tanh", torch.sigmoid])
def test_layers_have_gradients_and_states(activation: str | Callable[[torch.Tensor], torch.Tensor]) -> None:
    layer = SNNKLinear(4, 3, 6, activation, bias=True, generator=_generator()).double()
    x = (_double((2, 3, 4)) * 0.5).requires_grad_()
    assert layer(x).shape == (2, 3, 3)

    def run(points: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(layer.features.input_map(points), weight)

    assert torch.autograd.gradcheck(run, (x, layer.weight))
    other = SNNKLinear(4, 3, 6, activation, bias=True, generator=_generator(9)).double()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    strided = _double((4, 10)).mT[::2]
    assert torch.allclose(layer(strided), layer(strided.contiguous()))
    assert layer(torch.zeros(0, 4, dtype=torch.float64)).shape == (0, 3)


def test_adapters_start_as_the_identity_and_learn() -> None:
    adapter = SNNKAdapter(6, 3, norm=True, generator=_generator())
    x = torch.randn(5, 6, generator=_generator())
    assert torch.equal(adapter(x), x)
    adapter(x).square().sum().backward()
    assert adapter.scale.grad is not None
    assert adapter.scale.grad.abs().sum() > 0
    assert sum(p.numel() for n, p in adapter.named_parameters() if "norm" not in n) == 6 * 3 + 6


def test_snnkify_replaces_what_matches() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 2))
    assert snnkify(net, r"0|2\.0", 16) == ["0", "2.0"]
    assert isinstance(net[0], SNNKLinear)
    assert isinstance(net[1], nn.Identity)
    assert isinstance(net[3], nn.Linear)
    assert net(torch.zeros(3, 4)).shape == (3, 2)
    with pytest.raises(ZooInvalid, match="no linear layer"):
        snnkify(net, "nothing", 16)


def test_bundling_a_hidden_layer_is_exact_algebra() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    bundled = bundle(net, 64, _generator(5))
    hidden = SNNKLinear.from_linear(net[0], "relu", 64, generator=_generator(5))
    hidden.load_state_dict({**hidden.state_dict(), "features.directions": bundled.features[0].directions})
    with torch.no_grad():
        hidden.weight.copy_(hidden.features.weight_map(net[0].weight, net[0].bias))
    x = _double((10, 6))
    assert torch.allclose(bundled(x), net[2](hidden(x)), atol=1e-10)


def test_bundling_two_tanh_layers_estimates_the_net() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    for layer in net[::2]:
        with torch.no_grad():
            layer.weight.mul_(0.3)
    x = _double((30, 4)) * 0.3
    found = [(bundle(net, size, _generator(2))(x) - net(x)).square().mean().sqrt().item() for size in (30, 500)]
    assert found[1] < 0.1
    assert found[1] < found[0] / 2


@pytest.mark.parametrize("stack", [[nn.Linear(2, 2)], [nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2)], []])
def test_bundling_says_what_it_takes(stack: list[nn.Module]) -> None:
    with pytest.raises(ZooInvalid):
        bundle(nn.Sequential(*stack), 8)


def test_the_solve_is_ridge_regression_in_any_blocks() -> None:
    f, y = _double((23, 7)), _double((23, 2), 1)
    direct = torch.linalg.solve(f.mT @ f + 0.1 * torch.eye(7, dtype=torch.float64), f.mT @ y).mT
    blocks = zip(f.split(5), y.split(5), strict=True)
    assert torch.allclose(gram_solve(blocks, 0.1), direct)


def test_the_closed_form_classifies_digits_and_two_layers_too() -> None:
    split = load("digits")
    for layers in (1, 2):
        model = BundledClassifier(512, layers, random_state=0).fit(split.train_x.numpy(), split.train_y.numpy())
        assert model.score(split.test_x.numpy(), split.test_y.numpy()) > 0.95
    data = load("diabetes", scale="standard")
    linear = BundledRegressor(512, ridge=0.3, random_state=0).fit(data.train_x.numpy(), data.train_y.numpy())
    assert linear.score(data.test_x.numpy(), data.test_y.numpy()) > 0.3


def test_small_adapters_do_what_larger_bottlenecks_do() -> None:
    found = {a.kind: a for a in adapt(0, epochs=30, sweep=False)}
    assert found["bottleneck"].parameters > 4.9 * found["snnk"].parameters
    assert found["snnk"].accuracy > found["none"].accuracy - 0.01
    assert found["snnk"].accuracy > found["bottleneck"].accuracy - 0.03


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: UniversalRandomFeatures(0, 3), "in_features and num_features are 0 and 3"),
        (lambda: UniversalRandomFeatures(3, 3, "gelu"), "spectrum is 'gelu'"),
        (lambda: UniversalRandomFeatures(3, 3, split="odd"), "split is 'odd'"),  # type: ignore[arg-type]
        (lambda: UniversalRandomFeatures(3, 3, m_param=-1.0), "m_param is -1"),
        (lambda: SNNKLinear(3, 3, 3, "gelu"), "activation is 'gelu'"),
        (lambda: DualFeatures(3, 3).weight_map(torch.zeros(1, 3), torch.zeros(1)), "bias=False"),
        (lambda: Spectrum((1j,), ()), "1 frequencies and 0 amplitudes"),
    ],
)
def test_faults_are_sentences(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ZooInvalid, match=sentence):
        call()


@pytest.mark.parametrize(
    "estimator",
    [
        ArcCosineFeatures(20, random_state=0),
        BundledRegressor(64, random_state=0),
        BundledClassifier(64, random_state=0),
    ],
    ids=["features", "regressor", "classifier"],
)
def test_scikit_learn_takes_the_estimators(estimator: object) -> None:
    check_estimator(estimator)


def test_hot_operations_run() -> None:
    for operation in SYSTEM.operations:
        operation.function(*operation.arguments())
