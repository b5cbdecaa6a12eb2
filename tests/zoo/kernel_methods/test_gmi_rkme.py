"""gmi-rkme: limits and identities of the score, the reduced set, swapped prompts and the hub of 16 models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.gmi_rkme import (
    ModelHubIndex,
    ModelSpecification,
    ReducedKernelMeanEmbedding,
    median_gamma,
    optimal_weights,
    point_gradient,
    rbf,
    top_k,
    weighted_scores,
)
from kernelwright.zoo.kernel_methods.gmi_rkme._example import distances, pair_accuracy
from kernelwright.zoo.kernel_methods.gmi_rkme._worlds import swapped, transformed


@pytest.fixture(scope="module")
def world():
    return transformed(tasks=1)


def _specification(count=6, seed=0, weights=None):
    draw = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=draw, dtype=torch.float64)
    prompts = torch.nn.functional.normalize(torch.randn(count, 4, generator=draw, dtype=torch.float64), dim=1)
    return ModelSpecification(points, prompts, torch.full((count,), 1 / count) if weights is None else weights)


def _distance(specification, z, q, temperature, gamma=0.7):
    index = ModelHubIndex(gamma, temperature)
    index.add("m", specification)
    return float(index.distances(z, q))


Z = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
Q = torch.tensor([0.5, 0.5, 0.5, 0.5], dtype=torch.float64)


# ── the score ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_infinite_temperature_is_the_basic_score():
    spec = _specification()
    beta = torch.full((6,), 1 / 6, dtype=torch.float64)
    gram, cross = rbf(spec.images, spec.images, 0.7), rbf(spec.images, Z, 0.7)[:, 0]
    basic = float(beta @ gram @ beta - 2 * beta @ cross + 1)
    assert _distance(spec, Z, Q, float("inf")) == pytest.approx(basic, abs=1e-12)
    assert _distance(spec, Z, None, 0.05) == pytest.approx(basic, abs=1e-12)
    assert _distance(spec, Z, Q, 1e9) == pytest.approx(basic, abs=1e-7)


def test_low_temperature_is_the_best_prompts_item():
    spec = _specification()
    best = int((spec.prompts @ Q).argmax())
    alone = 2 - 2 * float(rbf(spec.images[best : best + 1], Z, 0.7))
    assert _distance(spec, Z, Q, 1e-4) == pytest.approx(alone, abs=1e-12)


def test_one_point_and_the_query_itself():
    spec = _specification(1)
    assert _distance(spec, Z, Q, 0.1) == pytest.approx(2 - 2 * float(rbf(spec.images, Z, 0.7)), abs=1e-12)
    assert _distance(spec, spec.images, Q, 0.1) == pytest.approx(0, abs=1e-12)


def test_order_and_split_items_change_nothing():
    spec = _specification()
    before = _distance(spec, Z, Q, 0.3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = ModelSpecification(spec.images[order], spec.prompts[order], spec.weights[order])
    twice = torch.tensor([0, 0, 1, 2, 3, 4, 5])
    halves = torch.tensor([0.25, 0.75, 1, 1, 1, 1, 1])
    split = ModelSpecification(spec.images[twice], spec.prompts[twice], spec.weights[twice] * halves)
    assert _distance(shuffled, Z, Q, 0.3) == pytest.approx(before, abs=1e-12)
    assert _distance(split, Z, Q, 0.3) == pytest.approx(before, abs=1e-7)


def test_specifications_of_other_lengths_and_scales_of_weights_compare():
    small, large = _specification(2, 1), _specification(9, 2, torch.full((9,), 5.0))
    index = ModelHubIndex(0.7, 0.3)
    index.add("small", small)
    index.add("large", large)
    assert torch.allclose(
        index.distances(Z, Q), torch.tensor([_distance(s, Z, Q, 0.3) for s in (small, large)], dtype=torch.float64)
    )
    assert (index.distances(Z, Q) >= 0).all()


def test_several_images_average_their_embedding():
    spec = _specification()
    both = torch.cat([Z, -Z])
    weight = torch.full((6,), 1 / 6, dtype=torch.float64)
    gap = torch.cat([weight, torch.full((2,), -0.5, dtype=torch.float64)])
    points = torch.cat([spec.images, both])
    assert _distance(spec, both, None, 1.0) == pytest.approx(float(gap @ rbf(points, points, 0.7) @ gap), abs=1e-7)


def test_the_score_has_gradients():
    specs = [_specification(4, seed) for seed in range(3)]
    points = torch.stack([s.images for s in specs]).requires_grad_()
    prompts = torch.stack([s.prompts for s in specs]).requires_grad_()
    logs = torch.zeros(3, 4, dtype=torch.float64)

    def score(points, prompts):
        return weighted_scores(points, prompts, logs, rbf(points, points, 0.7), Z, Q, 0.7, 0.5)

    assert torch.autograd.gradcheck(score, (points, prompts))


def test_far_models_do_not_tie_in_float32():
    index = ModelHubIndex(20.0)
    for name, at in (("near", 1.4), ("far", 1.5)):
        index.add(name, ModelSpecification(torch.full((2, 2), at), torch.ones(2, 1), torch.ones(2)))
    assert [m.name for m in index.identify(torch.ones(1, 2), torch.ones(1))] == ["near", "far"]


# ── the hub ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hub_survives_saving(tmp_path):
    index = ModelHubIndex("median", 0.2)
    for seed in range(3):
        index.add(f"model {seed}", _specification(3 + seed, seed))
    index.save(tmp_path / "hub.pt")
    again = ModelHubIndex.load(tmp_path / "hub.pt")
    assert len(again) == 3
    assert again.identify(Z, Q, top_k=2) == index.identify(Z, Q, top_k=2)


def test_encoders_and_interrogator_are_asked():
    def encode(images):
        return torch.as_tensor(images, dtype=torch.float64)

    def text(prompts):
        return torch.eye(2, dtype=torch.float64)[[int(p == "b") for p in prompts]]

    index = ModelHubIndex(1.0, image_encoder=encode, text_encoder=text, interrogator=lambda images: ["b"])
    images = [[0.0], [5.0]]
    for name, prompts in (("first", ["a", "b"]), ("second", ["b", "a"])):
        index.add(name, ModelSpecification.generated(images, prompts, encode, text))
    assert index.identify([[5.0]], top_k=1)[0].name == "first"  # read as "b": who draws 5 for it?
    assert index.identify([[5.0]], ["a"], top_k=1)[0].name == "second"


def test_faults_are_sentences():
    with pytest.raises(ZooInvalid, match="empty"):
        ModelHubIndex().identify(Z)
    with pytest.raises(ZooInvalid, match="temperature"):
        ModelHubIndex(temperature=0.0)
    with pytest.raises(ZooInvalid, match=r"\[N, D\]"):
        ModelSpecification(torch.zeros(2, 3), torch.zeros(3, 3), torch.ones(2))
    with pytest.raises(ZooInvalid, match="negative"):
        ModelSpecification(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1.0, -1.0]))
    index = ModelHubIndex()
    index.add("m", _specification())
    with pytest.raises(ZooInvalid, match="widths"):
        index.add("n", ModelSpecification(torch.zeros(2, 5), torch.zeros(2, 4), torch.ones(2)))


# ── the reduced set ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_gradient_of_the_points():
    rng = np.random.default_rng(0)
    z, x = torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_(), torch.from_numpy(rng.normal(size=(9, 3)))
    beta, weight = torch.from_numpy(rng.normal(size=4)), torch.from_numpy(rng.dirichlet(np.ones(9)))
    value = beta @ rbf(z, z, 0.4) @ beta - 2 * beta @ rbf(z, x, 0.4) @ weight
    value.backward()
    assert torch.allclose(z.grad, point_gradient(z.detach(), x, beta, weight, 0.4), atol=1e-11)


@pytest.mark.parametrize("sum_to_one", [False, True])
@pytest.mark.parametrize("nonneg", [False, True])
def test_weights_satisfy_the_optimality_conditions(nonneg, sum_to_one):
    rng = np.random.default_rng(1)
    z, x = torch.from_numpy(rng.normal(size=(12, 2))), torch.from_numpy(rng.normal(size=(60, 2)) + 1)
    gram, target = rbf(z, z, 0.5), rbf(z, x, 0.5).mean(1)
    beta = optimal_weights(gram, target, nonneg, sum_to_one)
    slope = gram @ beta - target
    level = (beta @ slope) if sum_to_one else 0.0  # the multiplier of the sum
    assert not sum_to_one or float(beta.sum()) == pytest.approx(1)
    free = beta > 1e-12 if nonneg else torch.ones(12, dtype=torch.bool)
    assert torch.allclose(slope[free], slope[free] * 0 + level, atol=1e-6)
    if nonneg:
        assert (beta >= 0).all()
        assert not free.all()  # the constraint is felt
        assert (slope[~free] >= level - 1e-6).all()


def test_more_points_are_nearer_and_beat_a_random_subset(world):
    points = world.specifications[0].images.numpy()
    fits = [ReducedKernelMeanEmbedding(m, random_state=0).fit(points) for m in (5, 10, 20)]
    found = [fit.mmd2_ for fit in fits]
    assert found[0] > found[1] > found[2]
    x, gamma = torch.from_numpy(points), median_gamma(points)
    some = torch.from_numpy(points[np.random.default_rng(0).choice(len(points), 20, replace=False)])
    random = rbf(x, x, gamma).mean() + rbf(some, some, gamma).mean() - 2 * rbf(some, x, gamma).mean()
    assert float(random) > 2 * found[2]
    assert ReducedKernelMeanEmbedding(20, n_iter=0, random_state=0).fit(points).mmd2_ > found[2]


def test_enough_points_are_the_data_itself():
    x = np.random.default_rng(2).normal(size=(15, 2))
    few = ReducedKernelMeanEmbedding(15).fit(x)
    assert few.mmd2_ == pytest.approx(0, abs=1e-7)
    assert few.mmd2(few) == 0
    single = ReducedKernelMeanEmbedding(1, gamma=0.5).fit(x[:1])
    assert np.allclose(single.distance(x), 2 - 2 * np.exp(-0.5 * np.square(x - x[0]).sum(1)))


def test_sample_weights_are_repeated_rows():
    x = np.random.default_rng(3).normal(size=(8, 2))
    times = np.array([1, 2, 1, 3, 1, 1, 0, 2])
    one = ReducedKernelMeanEmbedding(8, gamma=0.5).fit(x, sample_weight=times)
    two = ReducedKernelMeanEmbedding(8, gamma=0.5).fit(np.repeat(x, times, axis=0))
    assert one.mmd2(two) == pytest.approx(0, abs=1e-9)


def test_herding_follows_the_weights():
    x = np.array([[0.0], [10.0]])
    few = ReducedKernelMeanEmbedding(2, gamma=1.0).fit(x, sample_weight=[3.0, 1.0])
    assert sorted(few.herd(8)[:, 0]) == [0.0] * 6 + [10.0] * 2
    few.weights_ = np.array([1.0, -1.0])
    with pytest.raises(ValueError, match="negative"):
        few.herd(2)


def test_scikit_learn_conventions():
    check_estimator(ReducedKernelMeanEmbedding(n_points=5), on_skip=None)


def test_a_reduced_specification_keeps_prompts_and_answers(world):
    index = ModelHubIndex()
    full = ModelHubIndex()
    gamma = median_gamma(torch.cat([s.images for s in world.specifications]).numpy())
    for number, spec in enumerate(world.specifications[:2]):
        few = spec.reduced(4, gamma)
        assert len(few.images) == 40
        assert float(few.weights.sum()) == pytest.approx(1)
        index.add(str(number), few)
        full.add(str(number), spec)
    gap = index.distances(world.features[:1], world.prompts[0]) - full.distances(world.features[:1], world.prompts[0])
    assert gap.abs().max() < 0.05


# ── identification ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_swapped_prompts_need_the_weights():
    pairs = swapped(pairs=3, tasks=3)
    for one, two in zip(pairs.specifications[::2], pairs.specifications[1::2], strict=True):
        assert torch.allclose(one.images.sort(0).values, two.images.sort(0).values)
    found = distances(pairs, "median", "unweighted")
    own = torch.tensor(pairs.truth)
    rows = torch.arange(len(own))
    assert (found[rows, own] - found[rows, own ^ 1]).abs().max() < 1e-6
    assert pair_accuracy(pairs, "unweighted") == 0.5
    assert pair_accuracy(pairs, "true prompt") >= 0.95
    assert pair_accuracy(pairs, "read prompt") >= 0.85


def test_the_hub_of_sixteen(world):
    gamma = median_gamma(torch.cat([s.images for s in world.specifications]).numpy())
    weighted = distances(world, gamma, "read prompt")
    assert top_k(weighted, world.truth, 4) >= 0.80
    wide = [top_k(distances(world, 0.1 * gamma, way), world.truth, 1) for way in ("true prompt", "unweighted")]
    assert wide[0] >= wide[1] + 0.05
