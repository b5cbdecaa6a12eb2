"""The alignment's identities, Gram matrices by three ways, cells as graphs, searches on a fitness that is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.lga_nas import (
    SYSTEM,
    LGAScorer,
    NASBench201Space,
    SmallCellSpace,
    kernel_change,
    label_gradient_alignment,
    ntk_gram,
    ntk_metrics,
    random_search,
    rank_correlation,
    regularized_evolution,
    train_epochs,
)

MIXED = (3, 2, 1, 4, 3, 1)  # every operation but none


def _labels(count: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def _images(count: int, channels: int = 1, side: int = 8) -> torch.Tensor:
    return torch.randn(count, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _gram(count: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(count, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows @ rows.mT


def test_alignment_knows_the_labels_own_matrix_and_nothing_in_noise() -> None:
    y = _labels(200)
    same = torch.where(y[:, None] == y, 1.0, -1.0).double()
    assert label_gradient_alignment(same, y) == pytest.approx(1)
    assert label_gradient_alignment(-same, y) == pytest.approx(-1)
    noise = torch.randn(200, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert abs(label_gradient_alignment(1 + 0.01 * noise, y)) < 4 / 200


def test_alignment_knows_no_scale_constant_or_order() -> None:
    gram, y = _gram(30), _labels(30)
    value = label_gradient_alignment(gram, y)
    assert label_gradient_alignment(5 * gram + 7, y) == pytest.approx(float(value))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    assert label_gradient_alignment(gram[order][:, order], y[order]) == pytest.approx(float(value))
    batch = label_gradient_alignment(torch.stack([gram, -gram]), y)
    assert torch.allclose(batch, torch.stack([value, -value]))


def test_alignment_is_pearsons_correlation() -> None:
    gram, y = _gram(20), torch.arange(20) % 2
    same = np.where((y[:, None] == y).numpy(), 1.0, -1.0)
    expected = np.corrcoef(gram.numpy().ravel(), same.ravel())[0, 1]
    assert label_gradient_alignment(gram, y) == pytest.approx(expected)


@pytest.mark.parametrize("gram", [torch.zeros(4, 4), torch.full((4, 4), 0.3), torch.ones(4, 4, dtype=torch.float64)])
def test_alignment_of_nothing_is_zero(gram: torch.Tensor) -> None:
    assert label_gradient_alignment(gram, torch.tensor([0, 0, 1, 2])) == 0
    assert label_gradient_alignment(torch.eye(4), torch.zeros(4)) == 0


def test_the_gram_of_a_linear_model_is_that_of_its_inputs() -> None:
    x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(5, 1).double()
    for method in ("loop", "batched", "layerwise"):
        assert torch.allclose(ntk_gram(model, x, method=method), x @ x.mT)  # type: ignore[arg-type]
        assert torch.allclose(ntk_gram(model, x, method=method, params="all"), x @ x.mT + 1)  # type: ignore[arg-type]
    three = nn.Linear(5, 3).double()
    assert torch.allclose(ntk_gram(three, x), 3 * x @ x.mT)
    assert torch.allclose(ntk_gram(three, x, outputs="per-class-trace"), 3 * x @ x.mT)


def _convolutional() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1, bias=False)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 4)).double()
    train_epochs(model, _images(64, 2), _labels(64, 4), 1)  # so that running statistics are not those at the start
    return model, _images(9, 2)


@pytest.mark.parametrize("outputs", ["sum", "per-class-trace"])
@pytest.mark.parametrize("params", ["weights", "all"])
@pytest.mark.parametrize("bn_mode", ["train", "eval"])
def test_all_ways_to_the_gram_agree(bn_mode: str, params: str, outputs: str) -> None:
    model, x = _convolutional()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"bn_mode": bn_mode, "params": params, "outputs": outputs}
    loop = ntk_gram(model, x, method="loop", **options)  # type: ignore[arg-type]
    for method in ("batched", "auto", *(("layerwise",) if bn_mode == "eval" else ())):
        found = ntk_gram(model, x, method=method, **options)  # type: ignore[arg-type]
        assert torch.allclose(found, loop, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_batch_statistics_matter_and_need_the_other_ways() -> None:
    model, x = _convolutional()
    by_batch, by_running = (ntk_gram(model, x, bn_mode=mode) for mode in ("train", "eval"))  # type: ignore[arg-type]
    assert not torch.allclose(by_batch, by_running, rtol=0.01)
    with pytest.raises(ZooInvalid, match="batch norm"):
        ntk_gram(model, x, method="layerwise")


@pytest.mark.parametrize("bn_mode", ["train", "eval"])
def test_the_gram_of_a_cells_network(bn_mode: str) -> None:
    model = SmallCellSpace((4, 8)).build(MIXED, torch.Generator().manual_seed(0)).double()
    x = _images(6)
    loop = ntk_gram(model, x, bn_mode=bn_mode, method="loop")  # type: ignore[arg-type]
    found = ntk_gram(model, x, bn_mode=bn_mode)  # type: ignore[arg-type]
    assert torch.allclose(found, loop, rtol=1e-8)
    assert torch.linalg.eigvalsh(found)[0] > -1e-9 * found.diagonal().max()


def test_a_module_called_twice_has_one_gradient() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.tanh(self.layer(x)))

    torch.manual_seed(0)
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = Twice()
    assert torch.allclose(ntk_gram(model, x, method="layerwise"), ntk_gram(model, x, method="loop"))


def test_metrics_of_a_known_gram() -> None:
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    model = nn.Linear(3, 1).double()
    y = torch.tensor([0, 1, 2])
    found = ntk_metrics(model, x, y, 0.9 * x, y)
    assert found["frobenius"] == pytest.approx(np.sqrt(1 + 16 + 81))
    assert found["mean"] == pytest.approx(14 / 9)
    assert found["condition"] == pytest.approx(-9)
    assert found["eigenvalues"] == pytest.approx(-sum(np.log(v + 1) + 1 / (v + 1) for v in (1, 4, 9)))
    assert found["regression"] == 1
    assert ntk_metrics(model, torch.ones(3, 3).double(), y)["condition"] == -1e5


def test_changes_and_correlations() -> None:
    gram = _gram(6)
    assert kernel_change(2 * gram, gram) == pytest.approx((1, 0))
    scores = torch.arange(12.0)
    assert rank_correlation(scores, scores**3) == pytest.approx({"kendall": 1, "spearman": 1, "low": 1, "high": 1})
    assert rank_correlation(torch.ones(5), torch.arange(5.0))["kendall"] == 0
    one = rank_correlation(scores, torch.randn(12, generator=torch.Generator().manual_seed(0)))
    assert one["low"] < one["kendall"] < one["high"]


def test_cells_are_sums_over_their_edges() -> None:
    x = _images(2, 4)
    only_skip = SmallCellSpace((4,)).build((0, 0, 0, 1, 0, 0))[2]
    assert torch.equal(only_skip(x), x)  # type: ignore[operator]
    through = SmallCellSpace((4,)).build((1, 1, 1, 1, 1, 1))[2]
    assert torch.allclose(through(x), 4 * x)  # type: ignore[operator]  # nodes x, x, 2x, then x + x + 2x


def test_the_space_has_the_benchmarks_sizes_and_stays_connected() -> None:
    model = NASBench201Space().build((3, 3, 3, 3, 3, 3))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 1 + 15 * 6 + 2 * 3
    space, generator = SmallCellSpace(), np.random.default_rng(0)
    cell = space.sample(generator)
    for _ in range(50):
        changed = space.mutate(cell, generator)
        assert sum(a != b for a, b in zip(cell, changed, strict=True)) == 1
        cell = changed
    for wrong in ((0, 0), (0, 0, 0, 0, 0, 5)):
        with pytest.raises(ZooInvalid, match="The cell is"):
            space.build(wrong)


def test_searches_find_what_a_known_fitness_likes() -> None:
    def fitness(cell: tuple[int, ...]) -> float:
        return float(sum(kind == 3 for kind in cell))

    space = SmallCellSpace()
    drawn, _ = random_search(space, fitness, 60, seed=0)
    evolved, history = regularized_evolution(space, fitness, 10, 4, 120, seed=0)
    assert fitness(evolved) >= fitness(drawn)
    assert fitness(evolved) == 6
    assert len(history) == 120
    assert regularized_evolution(space, fitness, 10, 4, 30, seed=1) == regularized_evolution(
        space, fitness, 10, 4, 30, 1
    )
    with pytest.raises(ZooInvalid, match="population"):
        regularized_evolution(space, fitness, 5, 6, 10)
    with pytest.raises(ZooInvalid, match="n is 0"):
        random_search(space, fitness, 0)


def test_alignment_rises_with_training_on_true_labels_alone() -> None:
    split = load("digits")
    x, y = split.train_x[:300].view(-1, 1, 8, 8), split.train_y[:300]
    model = SmallCellSpace((4, 8)).build(MIXED, torch.Generator().manual_seed(0))
    mixed = y[torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    grams = [ntk_gram(model, x[:48]).double()]
    train_epochs(model, x, y, 10)
    grams.append(ntk_gram(model, x[:48]).double())
    true, shuffled = ([float(label_gradient_alignment(gram, labels)) for gram in grams] for labels in (y[:48], mixed))
    # Both matrices are largest on their diagonals, whatever the labels: a little of any rise is owed to that.
    assert true[1] - true[0] > 0.05 + abs(shuffled[1] - shuffled[0])


def test_the_scorer_is_the_alignment_after_its_epochs() -> None:
    split = load("digits")
    x, y = split.train_x[:64].view(-1, 1, 8, 8), split.train_y[:64]
    space = SmallCellSpace((4, 8))
    model = space.build(MIXED, torch.Generator().manual_seed(0))
    train_epochs(model, x, y, 1, of=5)
    expected = label_gradient_alignment(ntk_gram(model, x[:16]).double(), y[:16])
    assert LGAScorer(space, x, y, epochs=1, batch=16)(MIXED) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    "call",
    [
        lambda: label_gradient_alignment(torch.zeros(3, 3), torch.zeros(4)),
        lambda: ntk_gram(nn.Linear(2, 2), torch.zeros(1, 2), params="biases"),  # type: ignore[arg-type]
        lambda: ntk_gram(nn.Linear(2, 2), torch.zeros(1, 2), method="slow"),  # type: ignore[arg-type]
    ],
)
def test_faults_are_sentences(call: Callable[[], object]) -> None:
    with pytest.raises(ZooInvalid):
        call()


def test_hot_operations_run() -> None:
    for operation in SYSTEM.operations:
        operation.function(*operation.arguments())
