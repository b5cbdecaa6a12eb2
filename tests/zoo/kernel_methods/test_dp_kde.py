"""dp-kde: the accounting (exhaustive neighbours, noise statistics, privacy loss), the identities, the utility."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.zoo.kernel_methods.dp_kde import (
    DPDistanceSum,
    DPKernelDensity,
    DPSimilarityClassifier,
    gaussian_sums,
    kernel_sums,
)
from kernelwright.zoo.kernel_methods.dp_kde._features import KERNELS, Sketch
from kernelwright.zoo.kernel_methods.dp_kde._noise import discrete_laplace, gaussian_delta, gaussian_sigma, generators
from kernelwright.zoo.kernel_methods.dp_kde._privacy import Budget, Sensitivity
from kernelwright.zoo.kernel_methods.dp_kde._tree import (
    consistent_leaves,
    distance_table,
    dyadic_counts,
    leaf_indices,
    prefix_counts,
    tree_sensitivity,
)


def _neighbours(x: np.ndarray, universe: np.ndarray, adjacency: str) -> list[np.ndarray]:
    """Every dataset one step from ``x`` whose rows come from ``universe``."""
    if adjacency == "replace-one":
        return [np.vstack([np.delete(x, i, 0), row]) for i in range(len(x)) for row in universe]
    return [np.delete(x, i, 0) for i in range(len(x))] + [np.vstack([x, row]) for row in universe]


def _worst(statistic, x, universe, adjacency) -> tuple[float, float]:
    base = statistic(x)
    changes = [statistic(other) - base for other in _neighbours(x, universe, adjacency)]
    return max(np.abs(c).sum() for c in changes), max(np.sqrt(np.square(c).sum()) for c in changes)


def _grid(d: int, values: list[float]) -> np.ndarray:
    return np.array(list(itertools.product(values, repeat=d)))


# ── sensitivities ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("adjacency", ["replace-one", "add-remove"])
@pytest.mark.parametrize("d", [1, 2])
def test_the_trees_sensitivity_is_attained_and_never_passed(adjacency, d):
    def statistic(x):
        levels = dyadic_counts(leaf_indices(x, 0.0, 1.0, 8), 8)
        return np.concatenate(levels[1:] if adjacency == "replace-one" else levels, 1)

    universe = _grid(d, np.linspace(-0.2, 1.2, 11).tolist())
    l1, l2 = _worst(statistic, universe[[0, 3, 7]], universe, adjacency)
    bound = tree_sensitivity(d, 8, adjacency)
    assert (l1, l2) == (bound.l1, pytest.approx(bound.l2))


@pytest.mark.parametrize("adjacency", ["replace-one", "add-remove"])
@pytest.mark.parametrize("form", ["pair", "phase"])
def test_the_features_sensitivity_is_never_passed(adjacency, form):
    model = DPKernelDensity(epsilon=math.inf, form=form, adjacency=adjacency, n_features=3, random_state=0)
    universe = _grid(2, np.linspace(-4, 4, 25).tolist())
    model.fit(universe[:5])
    l1, l2 = _worst(lambda x: model._statistic(x)[0], universe[:5], universe, adjacency)
    assert l1 <= model.sensitivity_.l1 + 1e-12
    assert l2 <= model.sensitivity_.l2 + 1e-12
    assert l1 > 0.6 * model.sensitivity_.l1  # nothing is given away either


@pytest.mark.parametrize("form", ["pair", "phase"])
def test_one_frequency_attains_the_bound(form):
    sketch = Sketch(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1) if form == "phase" else None)
    x = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)[:, None]
    rows = np.stack([sketch.sums(row[None]) for row in x])
    change = np.abs(rows[:, None] - rows[None]).sum(-1).max()
    assert change == pytest.approx(sketch.sensitivity("replace-one").l1, rel=1e-4)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("adjacency", ["replace-one", "add-remove"])
def test_the_moments_sensitivity_is_never_passed(adjacency, normalise):
    model = DPDistanceSum("sqeuclidean", epsilon=math.inf, adjacency=adjacency, radius=1.5, normalise=normalise)
    universe = _grid(2, np.linspace(-2, 2, 17).tolist())
    model.fit(universe[:4])
    l1, l2 = _worst(lambda x: model._moments(x)[0], universe[[0, 5, 9]], universe, adjacency)
    assert 0.6 * model.sensitivity_.l1 < l1 <= model.sensitivity_.l1 + 1e-12
    assert l2 <= model.sensitivity_.l2 + 1e-12


def test_every_point_changes_one_node_a_level_and_coordinate():
    x = np.random.default_rng(0).random((50, 3))
    before, after = (dyadic_counts(leaf_indices(rows, 0, 1, 64), 64) for rows in (x[1:], x))
    for one, two in zip(before, after, strict=True):
        assert np.array_equal((two - one).sum(1), np.ones(3))
        assert np.abs(two - one).sum() == 3


# ── noise ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_discrete_laplace_has_its_law():
    draws = discrete_laplace(np.random.default_rng(1), 3, 1.5, 200_000)
    ratio = math.exp(-0.5)
    k = np.arange(-12, 13)
    expected = (1 - ratio) / (1 + ratio) * ratio ** np.abs(k)
    seen = np.array([(draws == value).sum() for value in k])
    rest = len(draws) - seen.sum()
    assert stats.chisquare(np.append(seen, rest), len(draws) * np.append(expected, 1 - expected.sum())).pvalue > 1e-4


@pytest.mark.parametrize("noise", ["discrete", "laplace", "gaussian"])
def test_released_noise_has_the_ledgers_scale(noise):
    budget = Budget(0.7, 1e-6 if noise == "gaussian" else 0.0, noise, "replace-one", np.random.default_rng(2))
    draws = budget.release("zeros", np.zeros(100_000), Sensitivity(200_000.0, 3.0))
    spent = budget.ledger.mechanisms[0]
    deviation = spent.scale * (1.0 if noise == "gaussian" else math.sqrt(2))
    assert draws.std() == pytest.approx(deviation, rel=0.02)
    assert abs(draws.mean()) < 5 * deviation / math.sqrt(draws.size)
    least = gaussian_sigma(0.7, 1e-6, 3.0) if noise == "gaussian" else 200_000 / 0.7
    assert least <= spent.scale <= 1.002 * least


@pytest.mark.parametrize("adjacency", ["replace-one", "add-remove"])
def test_node_noise_of_trees_is_what_composition_asks_for(adjacency):
    d, leaves, epsilon = 3, 2**14, 2.0
    model = DPDistanceSum(epsilon=epsilon, adjacency=adjacency, leaves=leaves, query="buckets", random_state=3)
    model.fit(np.zeros((1, d)))
    depth = 14
    scale = ((depth + 1) * d if adjacency == "add-remove" else 2 * depth * d) / epsilon
    assert model.ledger_.mechanisms[0].scale == pytest.approx(scale)
    noise = model._prefix[:, 1:-1:2] - model._prefix[:, 0:-2:2]  # adjacent prefixes: one leaf's own noise
    assert noise[:, 1:].std() == pytest.approx(math.sqrt(2) * scale, rel=0.02)


def test_gaussian_noise_is_the_least_that_is_private():
    for epsilon, delta in ((0.1, 1e-6), (1.0, 1e-5), (8.0, 1e-3)):
        sigma = gaussian_sigma(epsilon, delta, 2.5)
        assert gaussian_delta(sigma, epsilon, 2.5) <= delta < gaussian_delta(0.99 * sigma, epsilon, 2.5)
        z = np.linspace(-30, 30, 400_001) * sigma  # hockey-stick divergence by quadrature
        gap = stats.norm.pdf(z, 2.5, sigma) - np.exp(epsilon) * stats.norm.pdf(z, 0, sigma)
        assert np.maximum(gap, 0).sum() * (z[1] - z[0]) == pytest.approx(delta, rel=1e-3)


def _privacy_loss(epsilon_of_noise: float) -> float:
    """The largest log-ratio, less three standard errors, of outcomes on two neighbours: released with that epsilon."""
    rng = np.random.default_rng(4)
    counts = []
    for value in (0.0, 1.0):
        budget = Budget(epsilon_of_noise, 0.0, "discrete", "add-remove", rng)
        outcomes = budget.release("count", np.full(200_000, value), Sensitivity(1.0, 1.0), integral=True)
        counts.append(np.bincount((outcomes.clip(-6, 7) + 6).astype(int), minlength=14))
    zero, one = counts
    error = np.sqrt(1 / zero + 1 / one)
    return float((np.abs(np.log(zero / one)) - 3 * error).max())


def test_an_attacker_sees_no_more_than_epsilon_and_a_fake_is_found_out():
    assert _privacy_loss(1.0) <= 1.0
    assert _privacy_loss(1.6) > 1.0  # noise for 1.6, sold as 1


@pytest.mark.parametrize("adjacency", ["replace-one", "add-remove"])
def test_the_ledger_adds_up(adjacency):
    x = np.random.default_rng(5).random((60, 3))
    y = np.arange(60) % 3
    for model in (
        DPKernelDensity(epsilon=0.3, adjacency=adjacency),
        DPDistanceSum("sqeuclidean", epsilon=0.3, adjacency=adjacency),
        DPDistanceSum("l1", epsilon=0.3, adjacency=adjacency),
        DPSimilarityClassifier(epsilon=0.3, adjacency=adjacency),
    ):
        model.fit(x, y)
        assert (model.epsilon_spent_, model.delta_spent_) == (pytest.approx(0.3), 0.0)
    inner = model.structures_[0]
    assert inner.adjacency == "add-remove"
    assert inner.epsilon_spent_ == (0.3 if adjacency == "add-remove" else 0.15)
    private = DPKernelDensity(epsilon=0.3, delta=1e-6, noise="gaussian").fit(x)
    assert (private.epsilon_spent_, private.delta_spent_) == (0.3, 1e-6)


def test_noise_differs_without_a_seed_and_public_draws_do_not_share_its_stream():
    x = np.zeros((5, 1))
    one, two = (DPDistanceSum("sqeuclidean").fit(x).moments_ for _ in range(2))
    assert not np.array_equal(one, two)
    public, secret = generators(7)
    assert not np.allclose(public.random(4), secret.random(4))


# ── identities without noise ───────────────────────────────────────────────────────────────────────────────────────


def _brute(x, y, p):
    return (np.abs(y[:, None] - x[None]) ** p).sum((1, 2))


@pytest.mark.parametrize("p", [1.0, 2.0, 1.5])
@pytest.mark.parametrize("leaves", [2, 64])
def test_tables_are_exact_for_points_and_queries_on_the_grid(p, leaves):
    rng = np.random.default_rng(6)
    grid = np.linspace(-1, 3, leaves)
    x, y = rng.choice(grid, (40, 3)), rng.choice(grid, (9, 3))
    model = DPDistanceSum("lpp", p=p, epsilon=math.inf, bounds=(-1, 3), leaves=leaves).fit(x)
    assert np.allclose(model.distance_sum(y), _brute(x, y, p), rtol=1e-12, atol=1e-9)


def test_l1_is_right_to_grid_resolution_everywhere():
    rng = np.random.default_rng(7)
    x, y = rng.random((300, 2)), rng.random((50, 2))
    model = DPDistanceSum(epsilon=math.inf, leaves=256).fit(x)
    assert np.abs(model.distance_sum(y) - _brute(x, y, 1.0)).max() <= 2 * 300 / (2 * 255)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_the_bucket_rule_keeps_its_relative_error(alpha):
    rng = np.random.default_rng(8)
    grid = np.linspace(0, 1, 128)
    x, y = rng.choice(grid, (60, 2)), rng.choice(grid, (30, 2))
    model = DPDistanceSum(epsilon=math.inf, leaves=128, query="buckets", alpha=alpha).fit(x)
    ratio = model.distance_sum(y) / _brute(x, y, 1.0)
    assert ratio.min() >= 1 - 1e-12
    assert ratio.max() <= 1 + alpha + 1e-12


def test_squared_distances_are_exact_inside_the_radius_and_clipped_outside():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(7, 4))
    model = DPDistanceSum("sqeuclidean", epsilon=math.inf, radius=100.0).fit(x)
    assert np.allclose(model.distance_sum(y), _brute(x, y, 2.0), rtol=1e-12)
    short = x / np.maximum(1, np.linalg.norm(x, axis=1, keepdims=True))
    clipped = DPDistanceSum("sqeuclidean", epsilon=math.inf).fit(x).distance_sum(short[:3])
    assert np.allclose(clipped, _brute(short, short[:3], 2.0), rtol=1e-12)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for adjacency in ("replace-one", "add-remove"):
        model = DPDistanceSum("sqeuclidean", epsilon=math.inf, normalise=True, adjacency=adjacency).fit(x)
        assert np.allclose(model.distance_sum(7 * x[:3]), _brute(unit, unit[:3], 2.0), rtol=1e-12)


def test_l2_through_the_embedding():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(200, 6)) / 4
    model = DPDistanceSum("l2", epsilon=math.inf, radius=2.0, embedding_dim=512, random_state=0).fit(x)
    exact = np.linalg.norm(x[:5, None] - x[None], axis=-1).sum(1)
    assert np.abs(model.distance_sum(x[:5]) / exact - 1).max() < 0.1


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("form", ["pair", "phase"])
def test_random_features_are_unbiased(kernel, form):
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(4, 3))
    answers = np.stack(
        [
            DPKernelDensity(kernel, bandwidth=1.3, epsilon=math.inf, n_features=32, form=form, random_state=seed)
            .fit(x)
            .kernel_sum(y)
            for seed in range(60)
        ]
    )
    exact = kernel_sums(torch.from_numpy(x), torch.from_numpy(y), kernel, 1.3).numpy()
    assert (np.abs(answers.mean(0) - exact) < 4.5 * answers.std(0) / math.sqrt(60)).all()


def test_pairs_vary_less_than_phases_at_the_same_sensitivity():
    x, y = np.zeros((10, 2)), np.full((1, 2), 0.3)

    def spread(form):
        models = [DPKernelDensity(epsilon=math.inf, n_features=16, form=form, random_state=s) for s in range(100)]
        return np.std([model.fit(x).kernel_sum(y) for model in models])

    assert spread("pair") < 0.5 * spread("phase")


def test_exact_sums_agree():
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    assert torch.allclose(gaussian_sums(x, y), kernel_sums(x, y))


def test_consistent_leaves_are_the_least_squares_fit():
    rng = np.random.default_rng(12)
    m = 8
    rows = [np.kron(np.eye(2**depth), np.ones(m >> depth)) for depth in range(4)]
    levels = [rng.normal(size=(1, 2**depth)) for depth in range(4)]
    fit = np.linalg.lstsq(np.vstack(rows), np.concatenate(levels, 1)[0], rcond=None)[0]
    assert np.allclose(consistent_leaves(levels, exact_root=False)[0], fit)
    weights = np.repeat([1e7, 1, 1, 1], [1, 2, 4, 8])[:, None]  # a root that is known: a heavy row
    fit = np.linalg.lstsq(weights * np.vstack(rows), weights[:, 0] * np.concatenate(levels, 1)[0], rcond=None)[0]
    exact = consistent_leaves(levels, exact_root=True)[0]
    assert np.allclose(exact, fit, atol=1e-6)
    assert exact.sum() == pytest.approx(levels[0][0, 0])


def test_prefix_counts_use_the_bits():
    counts = np.random.default_rng(13).integers(0, 9, (2, 16)).astype(float)
    levels = [counts]
    while levels[0].shape[1] > 1:
        levels.insert(0, levels[0].reshape(2, -1, 2).sum(-1))
    assert np.allclose(prefix_counts(levels), np.pad(counts.cumsum(1), ((0, 0), (1, 0))))


def test_a_distance_table_is_the_plain_sum():
    counts = np.random.default_rng(14).normal(size=(2, 5))
    t = 0.5 * np.arange(5)
    assert np.allclose(distance_table(counts, 0.5, 1.5), counts @ np.abs(t[:, None] - t) ** 1.5)


# ── utility ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _error(x, seeds=12, **options):
    y = np.linspace(0.05, 0.95, 20)[:, None]
    exact = _brute(x, y, 1.0)
    models = (DPDistanceSum(random_state=seed, **options) for seed in range(seeds))
    return np.mean([np.abs(model.fit(x).distance_sum(y) - exact).mean() for model in models])


def test_the_tables_error_falls_as_one_over_epsilon():
    x = np.round(np.random.default_rng(15).beta(2, 5, (1000, 1)) * 1023) / 1023
    epsilons = np.array([0.1, 1.0, 10.0])
    errors = [_error(x, 25, epsilon=epsilon) for epsilon in epsilons]
    assert np.polyfit(np.log(epsilons), np.log(errors), 1)[0] == pytest.approx(-1, abs=0.1)


def test_the_table_beats_the_bucket_rule_twice():
    x = np.random.default_rng(16).beta(2, 5, (1000, 1))
    assert _error(x, epsilon=1.0, query="buckets", alpha=0.1) > 2 * _error(x, epsilon=1.0)


def test_more_features_hurt_when_epsilon_is_small_and_not_with_gaussian_noise():
    rng = np.random.default_rng(17)
    x = rng.normal(size=(4000, 4))
    exact = gaussian_sums(torch.from_numpy(x), torch.from_numpy(x[:40])).numpy()

    def error(count, **noise):
        models = (DPKernelDensity(epsilon=0.1, n_features=count, random_state=s, **noise) for s in range(6))
        return np.mean([np.abs(model.fit(x).kernel_sum(x[:40]) - exact).mean() / 4000 for model in models])

    few, right, many = error(4), error(36), error(1500)
    assert right < few
    assert many > 2 * right
    assert error(1500, noise="gaussian", delta=1e-6) < right


def test_add_remove_estimates_the_number_of_rows():
    x = np.random.default_rng(18).random((5000, 2))
    for model in (DPKernelDensity(), DPDistanceSum("sqeuclidean"), DPDistanceSum("l1")):
        model.set_params(adjacency="add-remove", epsilon=5.0, random_state=0)
        count = model.fit(x).count_
        assert count != 5000
        assert count == pytest.approx(5000, rel=0.2)


def test_digits_are_told_apart_privately():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(19).permutation(len(images))
    rows, labels = images[order] - 5.0, labels[order]  # 5 of 16 is a grey that anybody could name

    def accuracy(epsilon):
        models = (DPSimilarityClassifier(epsilon=epsilon, adjacency="add-remove", random_state=s) for s in range(5))
        return np.mean([model.fit(rows[:1000], labels[:1000]).score(rows[1000:], labels[1000:]) for model in models])

    free, five, little = accuracy(math.inf), accuracy(5.0), accuracy(0.1)
    assert free > 0.85
    assert five > free - 0.05
    assert little < free - 0.3


@pytest.mark.parametrize("similarity", ["gaussian", "l1"])
def test_other_similarities_classify_too(similarity):
    rng = np.random.default_rng(20)
    x = np.clip(rng.normal([[0.2, 0.2]] * 800 + [[0.8, 0.8]] * 800, 0.1), 0, 1)
    y = np.repeat(["low", "high"], 800)
    model = DPSimilarityClassifier(similarity, bandwidth=0.3, epsilon=2.0, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.95


# ── conventions and faults ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        DPKernelDensity(),
        DPKernelDensity(projection_dim=2, noise="gaussian", delta=1e-6, adjacency="add-remove"),
        DPDistanceSum(),
        DPDistanceSum("sqeuclidean", noise="laplace"),
        DPDistanceSum("l2"),
        DPSimilarityClassifier(),
    ],
    ids=lambda e: f"{type(e).__name__}-{getattr(e, 'metric', getattr(e, 'projection_dim', ''))}",
)
def test_scikit_learn_conventions(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"epsilon": math.nan},
        {"delta": 1e-6},
        {"noise": "gaussian"},
        {"noise": "uniform"},
        {"adjacency": "both"},
        {"kernel": "linear"},
        {"form": "triple"},
        {"bandwidth": 0.0},
        {"epsilon": 1e-9},
    ],
)
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))}=|delta="):
        DPKernelDensity(**options).fit(np.zeros((3, 2)))


@pytest.mark.parametrize(
    "options", [{"metric": "cosine"}, {"leaves": 100}, {"bounds": (1, 1)}, {"query": "tree"}, {"radius": 0}, {"p": -1}]
)
def test_distances_refuse_it_too(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        DPDistanceSum(**options).fit(np.zeros((3, 2)))
