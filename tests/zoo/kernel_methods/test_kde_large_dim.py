"""Density estimates in many dimensions: thresholds and their limits, exact sums, the regimes as they are found."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.kde_large_dim import (
    HighDimKernelDensity,
    density_sums,
    kde_kl_theory,
    kde_thresholds,
    log_kernel_sum,
    multi_bandwidth_kde,
    partition_draws,
    stable_index,
)
from kernelwright.zoo.kernel_methods.kde_large_dim._example import figures, laws, regimes, skewness

# alpha: h_g, h_clt, h_opt, r_c, least divergence over d; solved independently from the closed equations.
TABLE = {
    0.1: (1.3708, 1.9386, 1.0386, 1.0786, 0.1378), 0.2: (1.0457, 1.4788, 0.8917, 0.7951, 0.0854),
    0.3: (0.8677, 1.2272, 0.7836, 0.6140, 0.0562), 0.5: (0.6521, 0.9223, 0.6224, 0.3874, 0.0259),
    1.0: (0.3721, 0.5262, 0.3693, 0.1364, 0.0040),
}  # fmt: skip


@pytest.mark.parametrize("alpha", TABLE)
def test_the_table(alpha: float) -> None:
    t = kde_thresholds(alpha)
    assert (t.h_g, t.h_clt, t.h_opt, t.r_c, t.kl_min) == pytest.approx(TABLE[alpha], abs=1e-4)
    g = t.h_g**2
    assert alpha == pytest.approx(0.5 * (math.log1p(1 / g) - g / (1 + g) ** 2), rel=1e-9), "the isotropic formula"
    assert t.r_c < g
    assert astuple(kde_thresholds(alpha, np.ones(7))) == pytest.approx(astuple(t), rel=1e-9)
    assert kde_kl_theory(t.h_opt, alpha) == pytest.approx(t.kl_min, abs=1e-12)


def test_limits_of_thresholds() -> None:
    assert 3 / (4 * kde_thresholds(1e-5).h_g ** 4) == pytest.approx(1e-5, rel=0.03)
    small, large = kde_thresholds(0.2, [1.0, 2.0]), kde_thresholds(0.2, [9.0, 18.0])
    assert large.h_g == pytest.approx(3 * small.h_g)
    assert large.h_opt == pytest.approx(3 * small.h_opt)
    assert large.kl_min == pytest.approx(small.kl_min), "a divergence knows no units"


@pytest.mark.parametrize("spectrum", [None, [0.1, 1.0, 4.0]])
def test_the_branches_of_the_divergence_join(spectrum: list[float] | None) -> None:
    t = kde_thresholds(0.3, spectrum)
    below, above = (kde_kl_theory(t.h_g * (1 + e), 0.3, spectrum) for e in (-1e-9, 1e-9))
    assert below == pytest.approx(above, abs=1e-8)
    slopes = [(kde_kl_theory(t.h_g * (1 + 2 * e), 0.3, spectrum) - kde_kl_theory(t.h_g * (1 + e), 0.3, spectrum)) / e
              for e in (-1e-5, 1e-5)]  # fmt: skip
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
    grid = [kde_kl_theory(h, 0.3, spectrum) for h in np.linspace(0.3, 3, 300) * t.h_g]
    assert min(grid) >= t.kl_min - 1e-12
    assert stable_index(t.h_g, 0.3, spectrum) == pytest.approx(1)
    assert stable_index(0.5 * t.h_g, 0.3, spectrum) == pytest.approx(0.25)
    assert stable_index(5 * t.h_g, 0.3, spectrum) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: kde_thresholds(0.0), lambda: kde_thresholds(math.inf), lambda: kde_thresholds(0.1, []),
        lambda: kde_thresholds(0.1, [-1.0]), lambda: kde_thresholds(0.1, [0.0]), lambda: kde_kl_theory(0.0, 0.1),
        lambda: stable_index(-1.0, 0.1), lambda: multi_bandwidth_kde(torch.ones(2, 2), torch.ones(3, 2), [0.0]),
        lambda: multi_bandwidth_kde(torch.ones(2, 2), torch.ones(3, 2), []),
        lambda: multi_bandwidth_kde(torch.ones(2, 2), torch.ones(0, 2), [1.0]),
        lambda: multi_bandwidth_kde(torch.ones(2, 2), torch.ones(3, 2), [1.0], leave_one_out=True),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call: object) -> None:
    assert callable(call)
    with pytest.raises(ZooInvalid):
        call()


def _brute(x: torch.Tensor, y: torch.Tensor, h: float, skip: bool) -> tuple[torch.Tensor, ...]:
    e = -((x[:, None] - y).double().square().sum(-1)) / (2 * h * h)
    if skip:
        e.fill_diagonal_(-math.inf)
    w = e.softmax(1)
    d, n = x.shape[1], len(y) - skip
    log = e.logsumexp(1) - math.log(n) - 0.5 * d * math.log(2 * math.pi * h * h)
    return log, 1 / w.square().sum(1), -torch.special.xlogy(w, w).sum(1), -e.amax(1) * 2 * h * h


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_sums_are_exact(skip: bool, dtype: torch.dtype, error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(137, 33, generator=generator, dtype=torch.float64).to(dtype)
    x = y if skip else torch.randn(29, 66, generator=generator, dtype=torch.float64).to(dtype)[:, ::2]
    bandwidths = [0.3, 1.0, 7.0]
    found = multi_bandwidth_kde(x, y, bandwidths, leave_one_out=skip)
    assert found.log_density.dtype == dtype
    for row, h in enumerate(bandwidths):
        log, parts, entropy, nearest = _brute(x, y, h, skip)
        assert torch.allclose(found.log_density[row].double(), log, rtol=error, atol=error)
        assert torch.allclose(found.participation[row].double(), parts, rtol=50 * error)
        assert torch.allclose(found.entropy[row].double(), entropy, atol=50 * error)
    assert torch.allclose(found.nearest.double(), nearest, rtol=error, atol=error)


def test_limits_and_shifts_of_sums() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 8, generator=generator), torch.randn(40, 8, generator=generator)
    wide, narrow = multi_bandwidth_kde(x, y, [1e4, 0.02]).participation
    assert torch.allclose(wide, torch.full((5,), 40.0), rtol=1e-4)
    assert torch.allclose(narrow, torch.ones(5), rtol=1e-4)
    plain, far = (multi_bandwidth_kde(x + s, y + s, [1.0]).log_density for s in (0, 1000))
    assert torch.allclose(plain, far, rtol=1e-4, atol=1e-2), "float32 holds four digits behind a thousand"
    alone = multi_bandwidth_kde(x[:1], y[:1], [1.0])
    assert float(alone.participation) == pytest.approx(1)


def test_the_plain_formulas_agree_with_the_fused_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(6, 4, generator=generator).double(), torch.randn(50, 4, generator=generator).double()
    logs, squares, nearest = density_sums(x, y, torch.tensor([1.0, 4.0]).double())
    found = multi_bandwidth_kde(x, y, [1.0, 0.5])
    norm = math.log(50) + 2 * math.log(2 * math.pi)
    assert torch.allclose(logs[0], log_kernel_sum(x, y))
    assert torch.allclose(logs[0] - norm, found.log_density[0])
    assert torch.allclose((2 * logs - squares).exp(), found.participation)
    assert torch.allclose(nearest, found.nearest)


def test_the_regimes_are_found() -> None:
    divergence, sums = regimes(seed=1)
    measured = {m.name: m for m in figures(divergence, sums, laws(250))}
    assert len(measured) == 8
    assert not [name for name, m in measured.items() if m.holds is False]


def test_draws_have_the_mean_that_theory_says() -> None:
    wide = partition_draws([3.0], 2000, 20, 200, seed=3)
    assert float(wide.mean()) == pytest.approx(1, abs=4 * float(wide.std()) / 200**0.5)
    assert torch.equal(wide, partition_draws([3.0], 2000, 20, 200, seed=3))
    assert float(skewness(torch.tensor([0.0, 0.0, 3.0]))) == pytest.approx(0.5**0.5)


def test_the_estimator_is_scikit_learns_for_a_given_bandwidth() -> None:
    draw = np.random.RandomState(0)
    x, new = draw.randn(80, 5), draw.randn(11, 5)
    model = HighDimKernelDensity(bandwidth=0.7).fit(x)
    assert model.score_samples(new) == pytest.approx(KernelDensity(bandwidth=0.7).fit(x).score_samples(new), rel=1e-9)
    assert model.score(new) == pytest.approx(float(model.score_samples(new).sum()))


def test_bandwidths_that_the_data_choose() -> None:
    x = np.random.RandomState(1).randn(400, 40)
    kl, loo = HighDimKernelDensity().fit(x), HighDimKernelDensity("loo", n_bandwidths=12).fit(x)
    assert 0.7 < loo.bandwidth_ / kl.bandwidth_ < 1.4
    assert loo.loo_curve_.shape == (2, 12)
    fresh = np.random.RandomState(2).randn(100, 40)
    assert loo.diagnose(fresh).regime == "condensed"
    assert HighDimKernelDensity(1.2 * kl.diagnose(fresh).h_g).fit(x).diagnose(fresh).regime == "stable"
    assert HighDimKernelDensity(3 * kl.diagnose(fresh).h_g).fit(x).diagnose(fresh).regime == "gaussian"
    scores = [HighDimKernelDensity(f * loo.bandwidth_).fit(x).score(fresh) for f in (0.6, 1, 2)]
    assert scores[1] == max(scores)


def test_digits_are_condensed_and_classical_rules_miss_it() -> None:
    x = load("digits", dtype=torch.float64).train_x[:600].numpy()
    model = HighDimKernelDensity("loo", n_bandwidths=16).fit(x)
    points = torch.from_numpy(x)
    scott = float(np.mean(x.std(0))) * len(x) ** (-1 / (64 + 4))
    best, classical = multi_bandwidth_kde(points, points, [model.bandwidth_, scott], leave_one_out=True).log_density
    parts = multi_bandwidth_kde(points, points, [model.bandwidth_], leave_one_out=True).participation
    assert float(parts.median()) < 10
    assert float((best - classical).mean()) > 1


def test_scikit_learn_accepts_the_estimator() -> None:
    check_estimator(HighDimKernelDensity())


@pytest.mark.parametrize("options", [{"bandwidth": "silverman"}, {"bandwidth": -1.0}, {"n_bandwidths": 2}])
def test_wrong_parameters_are_named(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is [-'\w]"):
        HighDimKernelDensity(**options).fit(np.eye(4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the same"):
        HighDimKernelDensity().fit(np.ones((4, 2)))
