import math

import pytest
import torch
from torch import Tensor, nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import blobs
from kernelwright.zoo.continual.generative_kernel import (
    SYSTEM,
    ClassConditionalVAE,
    GenerativeKernelClassifier,
    KernelContinualClassifier,
    KernelRidgeHead,
    LearningTask,
    Training,
    VariationalFourier,
    average_accuracy,
    digits_vae,
    feature_net,
    fit_predict,
    forgetting,
    gaussian_kl,
    l1_gram,
    learn,
    permuted_digits,
    split_digits,
    supervised_contrast,
)

KERNELS = ("linear", "poly", "laplacian", "rbf", "rff")
QUICK = Training(epochs=2, generator_steps=60, generator_batch=32)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def head(kernel: str = "linear", **options: float) -> KernelRidgeHead:
    torch.manual_seed(0)
    return KernelRidgeHead(kernel, n_features=4, **options).double().eval()  # type: ignore[arg-type]


# ── the head ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("n", "d"), [(6, 4), (3, 4), (1, 4)])
def test_the_linear_head_is_primal_ridge(n: int, d: int) -> None:
    s, y, q = draw(n, d), draw(n, 2, seed=1), draw(5, d, seed=2)
    primal = q @ torch.linalg.solve(s.T @ s + 0.11 * torch.eye(d), s.T @ y)
    torch.testing.assert_close(head()(s, y, q), primal, rtol=1e-6, atol=1e-6)  # the head's numbers began in float32


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_through_the_solve_are_right(kernel: str) -> None:
    model = head(kernel)
    s, y, q = draw(4, 4).requires_grad_(), draw(4, 2, seed=1), draw(3, 4, seed=2).requires_grad_()

    def logits(s: Tensor, q: Tensor, lmd: Tensor, scale: Tensor) -> Tensor:
        held = {"lmd": lmd, "scale": scale}
        result = torch.func.functional_call(model, held, (s, y, q))
        assert isinstance(result, Tensor)
        return result

    numbers = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, 1.5)]
    assert torch.autograd.gradcheck(logits, (s, q, *numbers))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_large_ridge_leaves_the_bias(kernel: str) -> None:
    model = head(kernel, reg=1e12)
    with torch.no_grad():
        model.bias.fill_(0.7)
    logits = model(draw(4, 4), draw(4, 2, seed=1), draw(3, 4, seed=2))
    torch.testing.assert_close(logits, torch.full((3, 2), 0.7, dtype=torch.float32).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_doubled_support_with_a_doubled_ridge_predicts_the_same(kernel: str) -> None:
    s, y, q = draw(4, 4), draw(4, 2, seed=1), draw(3, 4, seed=2)
    one, two = head(kernel, reg=0.2, learn_reg=False), head(kernel, reg=0.4, learn_reg=False)
    torch.testing.assert_close(two(torch.cat([s, s]), torch.cat([y, y]), q), one(s, y, q))


def test_kernels_are_what_their_names_say() -> None:
    s, q = draw(4, 4), draw(3, 4, seed=1)

    def cross(kernel: str) -> Tensor:
        return head(kernel).grams(s, q)[1]

    torch.testing.assert_close(cross("poly"), (q @ s.T + 1) ** 3)
    torch.testing.assert_close(cross("laplacian"), l1_gram(q, s))
    torch.testing.assert_close(cross("rbf"), torch.exp(-0.25 * torch.cdist(q, s) ** 2))


def test_fourier_features_tend_to_the_kernel_of_their_frequencies() -> None:
    fourier = VariationalFourier(4, 20000).double().eval()
    with torch.no_grad():
        for parameter in fourier.posterior[-1].parameters():
            parameter.zero_()  # W ~ N(0, I): the Gaussian kernel of bandwidth 1
    s, q = draw(5, 4), draw(3, 4, seed=1)
    torch.testing.assert_close(fourier(s, q)[1], torch.exp(-(torch.cdist(q, s) ** 2) / 2), rtol=0, atol=0.04)
    assert torch.equal(fourier(s, q)[0], fourier(s, q)[0])
    fourier.train()
    assert not torch.equal(fourier(s, q)[0], fourier(s, q)[0])
    assert float(fourier.kl(s, q).detach()) > 0


# ── the generator ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_divergence_is_zero_only_at_the_prior_and_agrees_with_sampling() -> None:
    mean, variance = draw(3), draw(3, seed=1).exp()
    other, spread = draw(3, seed=2), draw(3, seed=3).exp()
    assert float(gaussian_kl(mean, variance, mean, variance)) == 0
    exact = float(gaussian_kl(mean, variance, other, spread))
    assert exact > 0
    z = mean + variance.sqrt() * draw(400_000, 3, seed=4)

    def density(m: Tensor, v: Tensor) -> Tensor:
        return (-(z - m).square() / (2 * v) - v.log() / 2).sum(1)

    sampled = density(mean, variance) - density(other, spread)
    error = float(sampled.std()) / math.sqrt(len(z))
    assert abs(float(sampled.mean()) - exact) < min(4 * error, 0.01 * exact)


def test_the_contrast_of_collapsed_classes_tends_to_the_logarithm_of_their_partners() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    latents = torch.eye(2, dtype=torch.float64)[labels]
    assert float(supervised_contrast(latents, labels, 0.01)) == pytest.approx(math.log(2), abs=1e-12)
    # At temperature 1: log((2e + 3) / e).
    assert float(supervised_contrast(latents, labels, 1.0)) == pytest.approx(math.log(2 + 3 / math.e))


def test_the_contrast_knows_no_order_and_leaves_out_the_lonely() -> None:
    latents, labels = draw(7, 3), torch.tensor([0, 1, 0, 2, 1, 0, 1])
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    whole = supervised_contrast(latents, labels)
    torch.testing.assert_close(supervised_contrast(latents[order], labels[order]), whole)
    latents.requires_grad_()
    (gradient,) = torch.autograd.grad(supervised_contrast(latents, labels), latents)
    assert torch.isfinite(gradient).all()
    alone = supervised_contrast(latents, torch.arange(7))
    alone.backward()
    assert alone.item() == 0
    assert torch.equal(latents.grad, torch.zeros(7, 3))  # type: ignore[arg-type]


def test_a_generator_learns_where_its_classes_lie() -> None:
    torch.manual_seed(0)
    x, labels = blobs(200, 4, 2, spread=0.1)
    vae = ClassConditionalVAE(nn.Linear(4, 4), nn.Linear(2, 4), n_classes=2, z_dim=2, noise=0.1)
    optimiser = torch.optim.Adam(vae.parameters(), lr=2e-2)
    for _ in range(300):
        optimiser.zero_grad()
        loss = vae.loss(x, labels)
        loss.backward()
        optimiser.step()
    drawn = vae.sample([0, 1], 200, torch.Generator().manual_seed(0)).reshape(2, 200, 4).mean(1)
    true = torch.stack([x[labels == c].mean(0) for c in (0, 1)])
    assert float((drawn - true).norm(dim=1).max()) < 0.2 * float((true[0] - true[1]).norm())


def test_new_classes_leave_the_old_ones_as_they_were_and_variances_have_a_floor() -> None:
    vae = ClassConditionalVAE(nn.Linear(4, 6), nn.Linear(3, 4), n_classes=2, z_dim=3)
    frozen = vae.freeze_copy()
    before = vae.sample([0, 1], 3, torch.Generator().manual_seed(1))
    vae.add_classes(2)
    assert (vae.n_classes, frozen.n_classes) == (4, 2)
    assert torch.equal(vae.sample([0, 1], 3, torch.Generator().manual_seed(1)), before)
    assert not any(p.requires_grad for p in frozen.parameters())
    with torch.no_grad():
        vae.prior_raw.fill_(-100)
    assert float(vae.prior(torch.tensor([0]))[1].min().detach()) == pytest.approx(1e-3)


# ── learners ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def clouds(count: int = 3) -> list[LearningTask]:
    """Tasks of two clouds each in 64 dimensions, labels 10 t and 10 t + 1."""
    tasks = []
    for t in range(count):
        x, y = blobs(80, 64, 2, spread=0.3, seed=t)
        x = torch.sigmoid(x)
        tasks.append(LearningTask(x[:60], y[:60] + 10 * t, x[60:], y[60:] + 10 * t))
    return tasks


def generative(**options: object) -> GenerativeKernelClassifier:
    return GenerativeKernelClassifier(feature_net(), digits_vae(), training=QUICK, **options)  # type: ignore[arg-type]


def test_generated_supports_learn_tasks_in_turn_and_memory_grows_by_priors_and_heads_alone() -> None:
    learner = generative(coreset_per_class=5)
    course = learn(learner, clouds())
    assert average_accuracy(course.accuracies) > 0.8
    assert course.accuracies[0].isnan().tolist() == [False, True, True]
    priors_and_head = 4 * (2 * 2 * 32 + 3)
    assert [b - a for a, b in zip(course.memory[:-1], course.memory[1:], strict=True)] == [priors_and_head] * 2


def test_stored_supports_grow_memory_by_a_coreset_a_task() -> None:
    learner = KernelContinualClassifier(feature_net(), 10, training=QUICK)
    course = learn(learner, clouds())
    assert average_accuracy(course.accuracies) > 0.9
    assert course.memory == tuple(t * (10 * (64 * 4 + 8) + 12) for t in (1, 2, 3))
    _, places = learner.support(0)
    assert places.sum() == 5  # as many of each class


def test_predictions_of_old_tasks_stay_bit_for_bit_when_only_priors_are_added() -> None:
    learner, task = generative(coreset_per_class=3), clouds(1)[0]
    learner.partial_fit_task(task.train_x, task.train_y, 0)
    before = learner.logits(task.test_x, 0)
    learner.vae.add_classes(4)
    assert torch.equal(learner.logits(task.test_x, 0), before)


def test_predictions_depend_on_no_other_row() -> None:
    learner, task = generative(coreset_per_class=3), clouds(1)[0]
    learner.partial_fit_task(task.train_x, task.train_y, 0)
    torch.testing.assert_close(learner.logits(task.test_x[:1], 0), learner.logits(task.test_x, 0)[:1])


def test_untold_the_task_all_labels_are_in_play() -> None:
    learner, tasks = KernelContinualClassifier(feature_net(), 20, training=QUICK), clouds(2)
    learn(learner, tasks)
    found = torch.cat([learner.predict(task.test_x) for task in tasks])
    truth = torch.cat([task.test_y for task in tasks])
    assert set(found.tolist()) <= {0, 1, 10, 11}
    assert float((found == truth).float().mean()) > 0.7


def test_the_old_generator_speaks_only_where_there_is_replay() -> None:
    """Without it, an old class is drawn worse after another task was learned."""
    tasks = clouds(2)
    drift = {}
    for replay in (True, False):
        learner = generative(replay=replay, coreset_per_class=50)
        learn(learner, tasks[:1])
        before = learner.support(0)[0].reshape(2, 50, 64).mean(1)
        learner.partial_fit_task(tasks[1].train_x, tasks[1].train_y, 1)
        drift[replay] = float((learner.support(0)[0].reshape(2, 50, 64).mean(1) - before).norm())
    assert drift[True] < 0.6 * drift[False]


def test_fourier_features_train_with_the_rest() -> None:
    learner = KernelContinualClassifier(feature_net(width=8), 10, "rff", training=Training(epochs=1))
    task = clouds(1)[0]
    learner.partial_fit_task(task.train_x, task.train_y, 0)
    assert torch.isfinite(learner.logits(task.test_x, 0)).all()
    weights = learner.heads[0].grams.prior[0].weight  # type: ignore[union-attr]
    assert weights.grad is not None


def test_learning_leaves_the_process_s_random_numbers_alone() -> None:
    task = clouds(1)[0]
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    KernelContinualClassifier(feature_net(), 4, training=QUICK).partial_fit_task(task.train_x, task.train_y, 0)
    assert torch.equal(torch.rand(2), expected)


# ── tasks and measures ───────────────────────────────────────────────────────────────────────────────────────────────
def test_tasks_of_digits() -> None:
    split = split_digits()
    assert [task.train_y.unique().tolist() for task in split] == [[t, t + 1] for t in range(0, 10, 2)]
    first, second = permuted_digits(2)
    assert not torch.equal(first.train_x, second.train_x)
    torch.testing.assert_close(first.test_x.sort(1).values, second.test_x.sort(1).values)


def test_measures_of_a_course() -> None:
    nan = torch.nan
    accuracies = torch.tensor([[0.9, nan, nan], [0.95, 0.8, nan], [0.5, 0.85, 1.0]])
    assert average_accuracy(accuracies) == pytest.approx((0.5 + 0.85 + 1) / 3)
    assert forgetting(accuracies) == pytest.approx((0.45 + 0.0) / 2)
    assert forgetting(torch.ones(1, 1)) == 0


def test_the_hot_operations_are_the_system_s_own() -> None:
    for operation in SYSTEM.operations:
        assert torch.isfinite(operation.function(*operation.arguments())).all()
    s, y, q = draw(2, 5, 4).float(), draw(2, 5, 3, seed=1).float(), draw(2, 6, 4, seed=2).float()
    for i in range(2):
        torch.testing.assert_close(fit_predict(s, y, q)[i], KernelRidgeHead()(s[i], y[i], q[i]).detach())


def test_faults_are_sentences() -> None:
    with pytest.raises(ZooInvalid, match="there are linear, poly, laplacian, rbf and rff"):
        KernelRidgeHead("sigmoid")
    with pytest.raises(ZooInvalid, match="needs n_features"):
        KernelRidgeHead("rff")
    with pytest.raises(ZooInvalid, match="reg is -1"):
        KernelRidgeHead(reg=-1)
    with pytest.raises(ZooInvalid, match=r"A support \[n, D\]"):
        head()(draw(4, 4), draw(3, 2), draw(2, 4))
    with pytest.raises(ZooInvalid, match="z_dim is at least 1"):
        ClassConditionalVAE(nn.Identity(), nn.Identity(), z_dim=0)
    with pytest.raises(ZooInvalid, match="there are 0 classes"):
        digits_vae().sample([0], 1)
    with_classes = ClassConditionalVAE(nn.Linear(4, 6), nn.Linear(3, 4), n_classes=1, z_dim=3)
    with pytest.raises(ZooInvalid, match="comes without classes"):
        GenerativeKernelClassifier(feature_net(), with_classes)
    with pytest.raises(ZooInvalid, match="coreset_size is 0"):
        KernelContinualClassifier(feature_net(), 0)
    learner = KernelContinualClassifier(feature_net(), 2, training=QUICK)
    with pytest.raises(ZooInvalid, match="No task was learned"):
        learner.predict(torch.rand(2, 64))
    with pytest.raises(ZooInvalid, match="Task 3 was not learned"):
        learner.predict(torch.rand(2, 64), 3)
    with pytest.raises(ZooInvalid, match="n >= 1 images"):
        learner.partial_fit_task(torch.rand(2, 64), torch.zeros(3), 0)
    learner.partial_fit_task(torch.rand(8, 64), torch.arange(8) % 2, 0)
    with pytest.raises(ZooInvalid, match="learned before"):
        learner.partial_fit_task(torch.rand(8, 64), torch.arange(8) % 2, 0)
    with pytest.raises(ZooInvalid, match=r"\[T, T\]"):
        average_accuracy(torch.ones(2, 3))
