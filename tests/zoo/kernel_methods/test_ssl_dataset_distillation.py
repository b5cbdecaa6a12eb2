import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.ssl_dataset_distillation import (
    KRRST,
    SYSTEM,
    BarlowTwins,
    ConvExtractor,
    DistilledSet,
    KernelInducingPoints,
    KernelRidgeSolver,
    ModelPool,
    barlow_loss,
    finetune,
    herding,
    linear_probe,
    outer_loss,
    pretrain_on,
    real_pairs,
    relu_ntk,
    ridge_loss,
)
from kernelwright.zoo.kernel_methods.ssl_dataset_distillation._digits import shifted


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TwoLayers(nn.Module):
    """An extractor of two smooth layers, with a batch norm whose statistics must not move."""

    def __init__(self, inputs: int = 3, width: int = 4, outputs: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, width), nn.Tanh())
        self.head = nn.Linear(width, outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def extractor(seed: int = 0) -> TwoLayers:
    torch.manual_seed(seed)
    return TwoLayers().double()


# ── the solver ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("m", "p"), [(5, 8), (8, 5), (1, 1)])
def test_the_dual_is_primal_ridge_on_features_with_a_constant(m: int, p: int) -> None:
    f_s, f_t, y = draw(m, p), draw(6, p, seed=1), draw(m, 3, seed=2)
    one_s, one_t = torch.cat([f_s, torch.ones(m, 1)], 1), torch.cat([f_t, torch.ones(6, 1)], 1)
    primal = one_t @ torch.linalg.solve(one_s.T @ one_s + 0.1 * torch.eye(p + 1), one_s.T @ y)
    torch.testing.assert_close(KernelRidgeSolver("fixed", 0.1).predict(f_t, f_s, y), primal)


def test_limits_of_the_ridge() -> None:
    f, y = draw(5, 9), draw(5, 2, seed=1)
    torch.testing.assert_close(KernelRidgeSolver("fixed", 1e-12).predict(f, f, y), y)
    assert float(KernelRidgeSolver("fixed", 1e12).predict(f, f, y).abs().max()) < 1e-9


def test_rotated_features_predict_the_same() -> None:
    f_s, f_t, y = draw(5, 4), draw(3, 4, seed=1), draw(5, 2, seed=2)
    rotation = torch.linalg.qr(draw(4, 4, seed=3)).Q
    solver = KernelRidgeSolver(reg_scale=1e-2)
    torch.testing.assert_close(solver.predict(f_t @ rotation, f_s @ rotation, y), solver.predict(f_t, f_s, y))


def test_no_gradient_passes_through_the_trace() -> None:
    f_s, f_t, y = draw(5, 4).requires_grad_(), draw(3, 4, seed=1), draw(5, 2, seed=2)
    trace = float((f_s.square().sum() + 5).detach())
    (by_trace,) = torch.autograd.grad(KernelRidgeSolver("trace", 0.1).predict(f_t, f_s, y).sum(), f_s)
    (by_number,) = torch.autograd.grad(KernelRidgeSolver("fixed", 0.1 * trace).predict(f_t, f_s, y).sum(), f_s)
    torch.testing.assert_close(by_trace, by_number)


# ── the outer gradient ───────────────────────────────────────────────────────────────────────────────────────────────
def test_the_outer_gradient_is_that_of_finite_differences() -> None:
    network, x_t, y_t = extractor(), draw(6, 3, seed=3), draw(6, 2, seed=4)
    solver = KernelRidgeSolver("fixed", 0.05)
    pairs = draw(4, 3, seed=1).requires_grad_(), draw(4, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: outer_loss(network, solver, x, y, x_t, y_t), pairs)


def test_permuted_pairs_have_permuted_gradients() -> None:
    network, x_t, y_t, order = extractor(), draw(6, 3, seed=3), draw(6, 2, seed=4), torch.tensor([2, 0, 3, 1])

    def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
        return torch.autograd.grad(outer_loss(network, KernelRidgeSolver(reg_scale=1e-2), x, y, x_t, y_t), (x, y))

    x, y = draw(4, 3, seed=1), draw(4, 2, seed=2)
    for plain, permuted in zip(gradients(x, y), gradients(x[order], y[order]), strict=True):
        torch.testing.assert_close(plain[order], permuted)


def test_the_extractor_gets_no_gradient_and_comes_back_as_it_was() -> None:
    network = extractor().train()
    network.head.requires_grad_(False)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x = draw(4, 3, seed=1).requires_grad_()
    outer_loss(network, KernelRidgeSolver(), x, draw(4, 2), draw(6, 3), draw(6, 2)).backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [True] * 6 + [False] * 2
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])


def test_a_gradient_through_one_random_inner_problem_is_biased_and_the_regression_s_is_not() -> None:
    """Inner: (θ - a x)² + r θ², a in {0.5, 1.5}; outer: (θ - t)². The bias is 2 x var(a) / (1 + r)²."""
    r, t, draws = 0.25, 2.0, torch.tensor([0.5, 1.5], dtype=torch.float64)
    x = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)

    def through(a: Tensor) -> Tensor:
        return torch.autograd.grad((a * x / (1 + r) - t) ** 2, x)[0]

    single = torch.stack([through(a) for a in draws]).mean()
    expected = through(draws.mean())  # E (θ - a x)² has its minimum where (θ - E[a] x)² has
    bias = 2 * float(x.detach()) * 0.25 / (1 + r) ** 2
    torch.testing.assert_close(single - expected, torch.tensor(bias, dtype=torch.float64))
    assert abs(bias) > 0.1
    inputs = draws[:, None]
    solver = KernelRidgeSolver("fixed", 0.25, add_bias=False)
    predicted = solver.predict(torch.ones(1, 1, dtype=torch.float64), inputs, inputs * x)
    (exact,) = torch.autograd.grad(((predicted - t) ** 2).sum(), x)
    scale = 2.5 / (2.5 + 0.25)  # of Σ a² / (Σ a² + ridge)
    torch.testing.assert_close(exact, (2 * (scale * x - t) * scale).detach())


# ── the pool and the outer loop ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("reset", "steps"), [("intended", [1, 2, 0, 1, 2, 0]), ("official", [1, 2, 2, 2, 2, 2])])
def test_a_pool_resets_as_asked(reset: str, steps: list[int]) -> None:
    torch.manual_seed(0)
    pool = ModelPool(lambda: TwoLayers().double(), 1, 2, reset=reset)  # type: ignore[arg-type]
    seen = []
    for _ in steps:
        pool.advance(0, draw(4, 3), draw(4, 2))
        seen.append(pool.members[0].steps)
    assert seen == steps
    # Intended: after 6 picks a fresh network, which the next pick trains. Published: every pick draws another.
    network = pool.members[0].network
    pool.advance(0, draw(4, 3), draw(4, 2))
    assert (pool.members[0].network is network) == (reset == "intended")


def distiller(**options: object) -> KRRST:
    frozen = draw(3, 2, seed=9).float()
    return KRRST(lambda x: torch.tanh(x @ frozen), TwoLayers, 4, **{"pool_size": 2, "max_inner_steps": 5} | options)  # type: ignore[arg-type]


def batches() -> list[Tensor]:
    return list(draw(128, 3, seed=5).float().split(32))


def test_distillation_comes_nearer_to_the_teacher() -> None:
    found = distiller(outer_lr=3e-2, max_inner_steps=20)
    pairs = found.fit(batches(), 150)
    assert pairs.x.shape == (4, 3)
    assert pairs.y.shape == (4, 2)
    assert not pairs.x.requires_grad
    first, last = sum(found.losses_[:15]), sum(found.losses_[-15:])
    assert last < 0.8 * first


def test_distillation_is_reproducible_and_leaves_the_process_s_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, two = distiller().fit(batches(), 5), distiller().fit([(b, 0) for b in batches()], 5)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.y, two.y)


@pytest.mark.parametrize("learned", ["x", "y"])
def test_what_is_not_learned_stays(learned: str) -> None:
    first = draw(4, 3, seed=6).float()
    model = distiller(learn=(learned,))
    pairs = model.fit(batches(), 3, initial=first)
    assert torch.equal(pairs.x, first) == (learned == "y")
    assert torch.equal(pairs.y, model.teacher(first)) == (learned == "x")


def test_a_distilled_set_survives_a_file(tmp_path: Path) -> None:
    pairs = DistilledSet(torch.rand(3, 1, 2, 2), torch.rand(3, 4))
    pairs.save(tmp_path / "set.pt")
    again = DistilledSet.load(tmp_path / "set.pt")
    assert torch.equal(again.x, pairs.x)
    assert torch.equal(again.y, pairs.y)
    torch.save({"z": 1}, tmp_path / "other.pt")
    with pytest.raises(ZooInvalid, match="no distilled set"):
        DistilledSet.load(tmp_path / "other.pt")


# ── baselines, teacher, transfer ─────────────────────────────────────────────────────────────────────────────────────
def test_herding_follows_the_mean_better_than_the_first_rows_do() -> None:
    features = draw(200, 5)
    chosen = herding(features, 20)
    assert len(set(chosen.tolist())) == 20

    def away(rows: Tensor) -> float:
        return float((features[rows].mean(0) - features.mean(0)).norm())

    assert away(chosen) < 0.3 * away(torch.arange(20))
    assert sorted(herding(features[:6], 6).tolist()) == list(range(6))


def test_the_tangent_kernel_has_its_known_values() -> None:
    eye = torch.eye(2, dtype=torch.float64) * 2
    kernel = relu_ntk(eye, eye)
    torch.testing.assert_close(kernel.diagonal(), torch.full((2,), 8.0, dtype=torch.float64), rtol=2e-3, atol=0)
    assert float(kernel[0, 1]) == pytest.approx(4 / torch.pi)


def test_distillation_from_labels_tells_clouds_apart() -> None:
    labels = torch.arange(90) % 3
    x = draw(90, 4).float() * 0.3 + 2 * torch.eye(3, 4)[labels]
    pairs = KernelInducingPoints(6, batch=32).fit(x, labels, 60)
    gram = relu_ntk(pairs.x, pairs.x)
    predicted = relu_ntk(x, pairs.x) @ torch.linalg.solve(gram + 1e-6 * gram.trace() * torch.eye(6), pairs.y)
    assert float((predicted.argmax(1) == labels).float().mean()) > 0.95


def test_barlow_twins_loss_is_zero_for_equal_views_without_redundancy() -> None:
    z = torch.linalg.qr(draw(64, 5) - draw(64, 5).mean(0)).Q
    z = torch.linalg.qr(z - z.mean(0)).Q
    assert float(barlow_loss(z * 8, z * 8)) == pytest.approx(0, abs=1e-3)
    assert float(barlow_loss(z, z.roll(1, 0))) > 1


def test_a_teacher_is_trained_and_frozen() -> None:
    x = draw(40, 1, 8, 8).float()

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 0.1 * torch.randn(images.shape, generator=generator)

    torch.manual_seed(0)
    encoder = ConvExtractor((4,), 6)
    before = encoder.head.weight.detach().clone()
    teacher = BarlowTwins(encoder, 6, augment, projection=8).fit(x, 2, batch=13)  # 40 = 3 * 13 + 1
    assert not torch.equal(encoder.head.weight, before)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())


def test_shifts_move_by_whole_pixels() -> None:
    x = draw(3, 1, 4, 4)
    still = shifted(x, torch.ones(3, 2, dtype=torch.int64))
    torch.testing.assert_close(still, x)
    up = shifted(x, torch.tensor([[2, 1]]).expand(3, 2))
    torch.testing.assert_close(up[:, :, :-1], x[:, :, 1:])
    assert bool((up[:, :, -1] == x.min()).all())


@pytest.mark.parametrize("judge", [linear_probe, finetune])
def test_separable_classes_are_told_apart(judge: Callable[..., float]) -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 2
    x = draw(60, 1, 8, 8).float() * 0.1
    x[labels == 1, :, :, :4] += 2
    data = (x[:40], labels[:40]), (x[40:], labels[40:])
    assert judge(ConvExtractor((4, 4), 3), *data) == 1.0


def test_pre_training_fits_the_pairs() -> None:
    torch.manual_seed(0)
    pairs = DistilledSet(draw(6, 1, 8, 8).float(), draw(6, 3).float())
    network = ConvExtractor((8,), 3)
    pretrain_on(pairs, network, 60, lr=0.02)
    assert not network.training
    assert float((network.train()(pairs.x).detach() - pairs.y).square().mean()) < 0.1 * float(pairs.y.square().mean())


# ── the system ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_hot_operations_are_the_system_s_own() -> None:
    for operation in SYSTEM.operations:
        assert torch.isfinite(operation.function(*operation.arguments())).all()
    f_s, f_t, y_s, y_t = draw(5, 8), draw(6, 8, seed=1), draw(5, 2, seed=2), draw(6, 2, seed=3)
    expected = (KernelRidgeSolver().predict(f_t, f_s, y_s) - y_t).square().mean()
    torch.testing.assert_close(ridge_loss(f_s, f_t, y_s, y_t), expected)


def test_real_pairs_are_images_and_what_the_teacher_says() -> None:
    x = draw(5, 3)
    pairs = real_pairs(x, lambda z: 2 * z, torch.tensor([4, 1]))
    torch.testing.assert_close(pairs.y, 2 * x[[4, 1]])


def test_faults_are_sentences() -> None:
    with pytest.raises(ZooInvalid, match="'trace' or 'fixed'"):
        KernelRidgeSolver("none")  # type: ignore[arg-type]
    with pytest.raises(ZooInvalid, match=r"Features \[b, p\]"):
        KernelRidgeSolver().predict(draw(2, 3), draw(2, 4), draw(2, 1))
    with pytest.raises(ZooInvalid, match="n_synthetic is at least 1"):
        distiller(learn=())
    with pytest.raises(ZooInvalid, match="initial holds 3 images"):
        distiller().fit(batches(), 1, initial=draw(3, 3).float())
    with pytest.raises(ZooInvalid, match="is empty"):
        distiller().fit([], 1)
    with pytest.raises(ZooInvalid, match="A pool has"):
        ModelPool(TwoLayers, 0, 5)
    with pytest.raises(ZooInvalid, match="no method features"):
        outer_loss(nn.Linear(3, 2), KernelRidgeSolver(), *itertools.repeat(draw(2, 3), 4))
    with pytest.raises(ZooInvalid, match="count is 9"):
        herding(draw(5, 2), 9)
    with pytest.raises(ZooInvalid, match="A distilled set"):
        DistilledSet(draw(2, 3), draw(3, 1))
