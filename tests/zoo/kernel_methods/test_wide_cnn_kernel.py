"""Kernels of deep CNNs without overlap: trees by hand, finite networks, spectra, learning curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.ntk import empirical_ntk, mlp
from kernelwright.zoo.kernel_methods.wide_cnn_kernel import (
    SYSTEM,
    TABLE,
    HierarchicalNTKClassifier,
    HierarchicalNTKRegressor,
    LocalConvNet1d,
    TeacherStudent,
    curves,
    decay_error,
    effective_dimension,
    hier_ntk_gram,
    hierarchical_ntk,
    hierarchical_ntk_matvec,
    learning_curve_exponent,
    sample_patches,
)


def samples(n: int, size: int = 8, patch: int = 2, seed: int = 0) -> torch.Tensor:
    return sample_patches(n, size, patch, torch.Generator().manual_seed(seed))


def kappas(c: float) -> tuple[float, float]:
    t = math.acos(max(-1.0, min(1.0, c)))
    return (math.pi - t) / math.pi, (math.sqrt(1 - min(1.0, c * c)) + (math.pi - t) * c) / math.pi


def by_hand(x: list[float], z: list[float], sizes: tuple[int, ...]) -> tuple[float, float]:
    """Covariance and tangent kernel of one pair of inputs with unit patches, node by node."""
    s = sizes[0]
    nodes = [sum(a * b for a, b in zip(x[k : k + s], z[k : k + s], strict=True)) for k in range(0, len(x), s)]
    pairs = [(c, c) for c in nodes]
    for group in (*sizes[1:], len(x) // math.prod(sizes)):
        found = []
        for c, t in pairs:
            zero, one = kappas(c)
            found.append((one, zero * t + one))
        pairs = [
            (sum(c for c, _ in found[k : k + group]) / group, sum(t for _, t in found[k : k + group]) / group)
            for k in range(0, len(found), group)
        ]
    return pairs[0]


@pytest.mark.parametrize("sizes", [(2,), (2, 2), (2, 2, 2), (2, 4), (8,), (4,), (2, 1, 2)])
def test_tree_by_hand(sizes: tuple[int, ...]) -> None:
    x, z = samples(5, patch=sizes[0]), samples(4, patch=sizes[0], seed=1)
    expected = [[by_hand(a.tolist(), b.tolist(), sizes) for b in z] for a in x]
    for which, kind in enumerate(("nngp", "ntk")):
        told = torch.tensor([[e[which] for e in row] for row in expected], dtype=torch.float64)
        assert torch.allclose(hierarchical_ntk(x, z, filter_sizes=sizes, kind=kind), told, rtol=1e-12)
        told32 = hierarchical_ntk(x.float(), z.float(), filter_sizes=sizes, kind=kind)
        assert torch.allclose(told32.double(), told, rtol=0, atol=3e-6)


@pytest.mark.parametrize("sizes", [(2,), (2, 2), (2, 2, 2)])
def test_diagonal(sizes: tuple[int, ...]) -> None:
    x = samples(150)
    covariance, tangent = (hierarchical_ntk(x, filter_sizes=sizes, kind=k) for k in ("nngp", "ntk"))
    assert torch.allclose(covariance.diagonal(), torch.ones(150).double(), atol=1e-12)
    assert torch.allclose(tangent.diagonal(), torch.full((150,), len(sizes) + 1.0).double(), atol=1e-12)
    assert torch.equal(tangent, tangent.T)
    assert torch.linalg.eigvalsh(tangent).min() > -1e-10 * 150


def test_one_patch_is_the_dense_network() -> None:
    x, z = samples(6, patch=8), samples(5, patch=8, seed=1)
    dense = mlp(2, w_var=2.0, b_std=0.0, input_scale="1").ntk(x, z) / 2
    assert torch.allclose(hierarchical_ntk(x, z, filter_sizes=(8,)), dense, rtol=1e-12)
    many = torch.randn(6, 40, dtype=torch.float64)
    dense = mlp(2, w_var=2.0, b_std=0.0, input_scale="1").ntk(many) / 2
    assert torch.allclose(hierarchical_ntk(many, filter_sizes=(40,)), dense, rtol=1e-6)


def test_sectors_permutations_and_signs() -> None:
    x, z = samples(6), samples(5, seed=1)
    gram = hierarchical_ntk(x, z, filter_sizes=(2, 2, 2))
    swap = [2, 3, 0, 1, 4, 5, 6, 7]
    assert torch.allclose(hierarchical_ntk(x[:, swap], z[:, swap], filter_sizes=(2, 2, 2)), gram)
    across = [4, 5, 2, 3, 0, 1, 6, 7]
    assert not torch.allclose(hierarchical_ntk(x[:, across], z[:, across], filter_sizes=(2, 2, 2)), gram)
    assert torch.allclose(hierarchical_ntk(-x, -z, filter_sizes=(2, 2, 2)), gram)
    assert not torch.allclose(hierarchical_ntk(-x, z, filter_sizes=(2, 2, 2)), gram)


def test_any_norms_normalisation_and_homogeneity() -> None:
    x, z = torch.randn(6, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    gram = hierarchical_ntk(x, z, filter_sizes=(2, 2))
    assert torch.allclose(hierarchical_ntk(3 * x, 0.5 * z, filter_sizes=(2, 2)), 1.5 * gram)
    unit = x.unflatten(1, (4, 2))
    unit = (unit / unit.norm(dim=2, keepdim=True)).flatten(1)
    normal = hierarchical_ntk(x, filter_sizes=(2, 2), normalize=True)
    assert torch.allclose(normal, hierarchical_ntk(unit, filter_sizes=(2, 2)))
    assert torch.allclose(
        hierarchical_ntk(x, filter_sizes=(2, 2), kind="nngp").diagonal(), x.square().sum(1) / 4, rtol=1e-12
    )


def test_images_are_trees_of_squares() -> None:
    images = torch.randn(4, 8, 8, dtype=torch.float64)
    order = torch.arange(64).reshape(8, 8)
    tree = order.reshape(2, 2, 2, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(-1)
    flat = images.flatten(1)[:, tree]
    for sizes in ((2,), (2, 2), (2, 2, 2), (4, 2)):
        squares = tuple(s * s for s in sizes)
        told = hierarchical_ntk(images, filter_sizes=sizes, dims=2)
        if sizes[0] == 2:
            assert torch.allclose(told, hierarchical_ntk(flat, filter_sizes=squares), rtol=1e-10)
    whole = hierarchical_ntk(images, filter_sizes=(8,), dims=2)
    assert torch.allclose(whole, hierarchical_ntk(images.flatten(1), filter_sizes=(64,)))


@pytest.mark.parametrize("sign", [1, -1])
def test_float32_keeps_its_digits(sign: int) -> None:
    x = samples(1).float()
    z = sign * (x + torch.tensor([1e-2, 1e-3, 1e-4, 0.0])[:, None] * torch.randn(4, 8))
    exact = hierarchical_ntk(x.double(), z.double(), filter_sizes=(2, 2))
    assert torch.allclose(hierarchical_ntk(x, z, filter_sizes=(2, 2)).double(), exact, atol=3e-6)


def test_matvec_gradients_and_edges() -> None:
    x, z = samples(70), samples(5, seed=1)
    v = torch.randn(5, 2, dtype=torch.float64)
    gram = hierarchical_ntk(x, z, filter_sizes=(2, 2))
    assert torch.allclose(hierarchical_ntk_matvec(x, z, v, filter_sizes=(2, 2)), gram @ v)
    a, b = samples(3).requires_grad_(), samples(2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: hierarchical_ntk(p, q, filter_sizes=(2, 2)), (a, b))
    hierarchical_ntk(a, filter_sizes=(2, 2)).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert hierarchical_ntk(x[:0], z, filter_sizes=(2,)).shape == (0, 5)
    assert hierarchical_ntk(torch.full((1, 8), math.nan), filter_sizes=(2,)).isnan().all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 8), {"filter_sizes": (3,)}, "do not divide"),
        ((3, 8), {"filter_sizes": ()}, "do not divide"),
        ((3, 8, 4), {"filter_sizes": (2,), "dims": 2}, "square"),
        ((3, 8), {"filter_sizes": (2,), "kind": "rfk"}, "'rfk'"),
    ],
)
def test_faults_are_told(shape: tuple[int, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(ZooInvalid, match=message):
        hierarchical_ntk(torch.ones(shape), **options)


def test_finite_networks_close_in_on_the_kernel() -> None:
    x = samples(3)
    limit = hierarchical_ntk(x, filter_sizes=(2, 2)) / 2**2 / 2
    found = {}
    for width in (32, 256):
        torch.manual_seed(0)
        nets = [LocalConvNet1d(width, 1, 8, (2, 2), dtype=torch.float64) for _ in range(20)]
        kernels = []
        for net in nets:
            rows = [torch.autograd.grad(net(point[None, None])[0], list(net.parameters())) for point in x]
            jacobian = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
            kernels.append(jacobian @ jacobian.T)
        found[width] = torch.stack(kernels)
    wide = found[256]
    assert ((wide.mean(0) - limit).abs() / (wide.std(0) / math.sqrt(20))).max() < 3.5
    assert 1.6 < float(found[32].std(0).mean() / wide.std(0).mean()) < 5
    net = torch.nn.Sequential(LocalConvNet1d(8, 1, 8, (2, 2), dtype=torch.float64), torch.nn.Unflatten(0, (-1, 1)))
    assert empirical_ntk(net, x[:, None], outputs="trace").shape == (3, 3)


def test_spectrum_of_one_patch_is_that_of_the_circle() -> None:
    angles = torch.arange(512, dtype=torch.float64) * (2 * math.pi / 512)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    found = torch.linalg.eigvalsh(hierarchical_ntk(circle, filter_sizes=(2,)) / 512).flip(0)
    c = angles.cos().clamp(-1, 1)
    t = torch.acos(c)
    profile = c * (math.pi - t) / math.pi + (t.sin() + (math.pi - t) * c) / math.pi
    fourier = torch.fft.rfft(profile).real / 512
    # Each frequency but the constant comes twice: sine and cosine.
    expected = torch.cat([fourier[:1], fourier[1:20].repeat_interleave(2)]).sort(descending=True).values
    assert torch.allclose(found[:20], expected[:20], rtol=1e-6)


def test_theory() -> None:
    assert [effective_dimension((3, 2, 2), k) for k in (1, 2, 3)] == [2, 4, 8]
    assert [learning_curve_exponent((2, 2, 2), k) for k in (1, 2, 3)] == pytest.approx([0.625, 5 / 12, 0.25])
    with pytest.raises(ZooInvalid, match="level is 4"):
        effective_dimension((2, 2, 2), 4)
    with pytest.raises(ZooInvalid, match="share it"):
        TeacherStudent.of((2,), (4, 2), 8)


def test_learning_curves_are_those_of_the_table() -> None:
    slopes = []
    for level in (1, 2, 3):
        ours, dense = curves((256, 512), level)
        assert decay_error(ours, level) < 0.1
        assert ours[256] == pytest.approx(TABLE[level][256], rel=0.25)
        slopes.append(math.log(ours[256] / ours[512]))
        if level == 1:
            assert dense[512] > 1.8 * ours[512]
    assert slopes[0] > slopes[1] > slopes[2] > 0


def test_curve_is_regression_with_each_number_of_samples() -> None:
    pair = TeacherStudent.of((2,), (2, 2), 4)
    generator = torch.Generator().manual_seed(3)
    found = pair.curve((10, 40), n_test=30, n_fields=2, seed=3)
    x = sample_patches(70, 4, 2, generator)
    gram = pair.teacher(x)
    variance = float(gram.diagonal().mean() - gram.mean())
    gram.diagonal().add_(1e-12 * gram.diagonal().mean())
    y = torch.linalg.cholesky(gram) @ torch.randn(70, 2, generator=generator, dtype=torch.float64)
    for n in (10, 40):
        model = HierarchicalNTKRegressor((2, 2)).fit(x[:n].numpy(), y[:n, 0].numpy())
        other = HierarchicalNTKRegressor((2, 2)).fit(x[:n].numpy(), y[:n, 1].numpy())
        told = np.stack([model.predict(x[40:].numpy()), other.predict(x[40:].numpy())], 1)
        error = ((told - y[40:].numpy()) ** 2).mean() / variance
        assert found[n] == pytest.approx(error, rel=1e-5)


def test_digits_are_local() -> None:
    x, y = load_digits(return_X_y=True)
    x = x / 16 + 0.01
    shuffled = x[:, np.random.default_rng(0).permutation(64)]
    scores = [
        HierarchicalNTKClassifier((2, 2), dims=2).fit(f[:600], y[:600]).score(f[600:1200], y[600:1200])
        for f in (x, shuffled)
    ]
    assert scores[0] > 0.9
    assert scores[0] > scores[1]


@pytest.mark.parametrize("kind", [HierarchicalNTKRegressor, HierarchicalNTKClassifier])
def test_estimators_keep_scikit_learns_contract(kind: type) -> None:
    check_estimator(kind(alpha=0.1))


def test_hot_operation_is_the_kernel_and_a_task() -> None:
    (operation,) = SYSTEM.operations
    x, z = (torch.nn.functional.normalize(t.double(), dim=2) for t in operation.arguments())
    told = hierarchical_ntk(x.flatten(1), z.flatten(1), filter_sizes=(2, 2))
    assert torch.allclose(hier_ntk_gram(x, z), told, atol=1e-7)
    assert operation.task().name == operation.name
