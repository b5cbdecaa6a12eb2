"""Feature learning at infinite width: which rule does what, exact limits, and finite networks that close in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import mlp
from kernelwright.zoo.kernel_methods.infinite_feature_learning import (
    ABC,
    SYSTEM,
    InfGP1LP,
    InfiniteLinear1LP,
    InfNTK1LP,
    ParametrisedMLP,
    Word2VecCBOW,
    apply_mup,
    distances,
    drawn_corpus,
    movements,
    mup_param_groups,
    slope,
)


def points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


RULES = [(ABC.standard(3), 0.5), (ABC.ntk(4), 0.5), (ABC.mean_field(), 0.0), (ABC.mup(2), 0.0), (ABC.mup(5), 0.0)]


@pytest.mark.parametrize(("rule", "r"), RULES)
@pytest.mark.parametrize("t", [0.0, -1.0, 0.3])
def test_the_dichotomy(rule: ABC, r: float, t: float) -> None:
    verdict = rule.shifted(t).classify()
    assert verdict.stable
    assert not verdict.trivial
    assert verdict.r == pytest.approx(r)
    assert verdict.feature_learning == (r == 0)


def test_rules_that_fail() -> None:
    assert not ABC.standard(3, c=0.0).classify().stable
    assert ABC.standard(3, c=2.0).classify().stable
    slow = ABC.ntk(3)
    assert ABC(slow.a, (0.0, 0.0, 0.5), 1.0).classify().trivial
    with pytest.raises(ZooInvalid, match="one for each layer"):
        ABC((0.0, 1.0), (0.0,), 0.0)


def test_shifted_rules_train_alike() -> None:
    x, results = points(5, 4).float(), []
    for rule in (ABC.mup(3), ABC.mup(3).shifted(0.4)):
        torch.manual_seed(0)
        net = ParametrisedMLP((4, 32, 32, 2), rule)
        optimizer = torch.optim.SGD(net.parameters(), lr=net.rate(0.3))
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        results.append(net(x))
    assert torch.allclose(*results, rtol=1e-3, atol=1e-5)


def test_features_move_under_maximal_updates_alone() -> None:
    moved = movements((128, 256, 512))
    assert abs(slope(moved["maximal updates"])) < 0.1
    assert abs(slope(moved["tangent kernel"]) + 0.5) < 0.12
    assert slope(moved["standard, rate / n"]) < -0.38  # its input layer falls faster still


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_groups_keep_the_movement_of_any_model(optimizer: str) -> None:
    x, y = points(32, 6).float(), points(32, 2, 1).float()
    by_rule: dict[str, dict[int, float]] = {"mup": {}, "plain": {}}
    for width in (64, 256, 1024):
        for rule in by_rule:
            torch.manual_seed(0)
            net, base = mlp([6, width, width, 2]), mlp([6, 64, 64, 2])
            make = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
            lr = 0.1 if optimizer == "sgd" else 0.003
            if rule == "mup":
                apply_mup(net, base)
            groups = mup_param_groups(net, base, lr, optimizer) if rule == "mup" else net.parameters()
            trainer, body = make(groups, lr=lr), net[:3]
            start = body(x).detach()
            for _ in range(4):
                trainer.zero_grad()
                (net(x) - y).square().mean().backward()
                trainer.step()
            by_rule[rule][width] = float((body(x) - start).abs().mean().detach())
    assert abs(slope(by_rule["mup"])) < 0.2
    assert abs(slope(by_rule["plain"])) > abs(slope(by_rule["mup"])) + 0.15


def test_groups_hold_every_parameter_once_and_refuse_other_models() -> None:
    net, base = mlp([6, 32, 2]), mlp([6, 8, 2])
    groups = mup_param_groups(net, base, 0.1)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in net.parameters())
    by_shape = {tuple(p.shape): g["lr"] for g in groups for p in g["params"]}
    assert by_shape == pytest.approx({(32, 6): 0.4, (32,): 0.4, (2, 32): 0.025, (2,): 0.1})
    for other, message in [
        (mlp([6, 8, 8, 2]), "differ in the parameters"),
        (nn.Sequential(nn.Conv1d(6, 8, 3)), "differ in the parameters"),
    ]:
        with pytest.raises(ZooInvalid, match=message):
            mup_param_groups(net, other, 0.1)
    with pytest.raises(ZooInvalid, match="'sgd' or 'adam'"):
        mup_param_groups(net, base, 0.1, "lion")


def test_linear_limit_is_approached_as_the_root_of_the_width() -> None:
    assert -0.65 <= slope(distances((64, 256, 1024), 10)) <= -0.35


def test_linear_limit_is_the_scalar_recursion() -> None:
    """U = A U_0 + B V_0, V = C V_0 + D U_0 with f = (A D + B C) x, by hand for the loss (f - y)² / 2."""
    net = InfiniteLinear1LP(1, 1, dtype=torch.float64)
    a, b, c, d = 1.0, 0.0, 1.0, 0.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in [(1.0, 0.5), (-0.7, 1.0), (0.3, 2.0), (1.5, -1.0)]:
        f = (a * d + b * c) * x
        assert net(torch.tensor([[x]], dtype=torch.float64)).item() == pytest.approx(f, abs=1e-12)
        optimizer.zero_grad()
        ((net(torch.tensor([[x]], dtype=torch.float64)) - y) ** 2 / 2).sum().backward()
        optimizer.step()
        g = 0.1 * (f - y) * x
        a, b, c, d = a - g * d, b - g * c, c - g * b, d - g * a
    assert net.A.flatten().tolist() == pytest.approx([a, b], abs=1e-12)
    assert net.B.flatten().tolist() == pytest.approx([d, c], abs=1e-12)


def test_sampled_networks_mean_the_same() -> None:
    torch.manual_seed(0)
    net = InfiniteLinear1LP(4, 2, bias_alpha=2.0, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    x = points(6, 4)
    assert torch.allclose(net.sample(400_000)(x), net(x), atol=0.1)
    assert set(net.state_dict()) == {"A", "B", "bias"}
    with pytest.raises(ZooInvalid, match="width is 0"):
        net.sample(0)


@pytest.mark.parametrize("kind", [InfNTK1LP, InfGP1LP])
def test_function_space_learner_is_kernel_gradient_descent(kind: type[InfNTK1LP]) -> None:
    x, y, test = points(9, 4), points(9, 2, 1), points(5, 4, 2)
    learner = kind(4, 2, var_b=0.5, dtype=torch.float64)
    values, told = torch.zeros(9, 2).double(), torch.zeros(5, 2).double()
    states = []
    for _ in range(6):
        states.append((learner.checkpoint(), learner(test)))
        residual = values - y
        told = told - 0.05 * learner.kernel(test, x) @ residual
        values = values - 0.05 * learner.kernel(x, x) @ residual
        learner.step(x, learner(x) - y, 0.05)
    assert torch.allclose(learner(test), told, atol=1e-10)
    for state, seen in states:
        learner.restore(state)
        assert torch.equal(learner(test), seen)


@pytest.mark.parametrize("kind", [InfNTK1LP, InfGP1LP])
def test_function_space_kernel_is_that_of_wide_networks(kind: type[InfNTK1LP]) -> None:
    x = points(4, 3)
    n = 200_000
    torch.manual_seed(0)
    w = torch.randn(n, 3, dtype=torch.float64)
    h = (x @ w.T).relu()
    slopes = ((x @ w.T) > 0).double()
    expected = h @ h.T / n + (0.0 if kind is InfGP1LP else (x @ x.T) * (slopes @ slopes.T) / n)
    assert torch.allclose(kind(3, 1, dtype=torch.float64).kernel(x, x), expected, atol=0.1, rtol=0.02)


def test_cap_keeps_the_newest() -> None:
    learner = InfNTK1LP(2, 1, cap=3)
    for k in range(4):
        learner.step(torch.full((2, 2), float(k)), torch.ones(2, 1), 0.1)
    assert learner.checkpoint()[0][:, 0].tolist() == [2, 3, 3]
    with pytest.raises(ZooInvalid, match="one gradient for each"):
        learner.step(torch.ones(2, 2), torch.ones(3, 1), 0.1)


def test_cbow_closes_in_on_its_infinite_width() -> None:
    corpus = drawn_corpus(150, words=60)
    limit = Word2VecCBOW(math.inf, epochs=2).fit(corpus)
    off = {}
    for width in (16, 64, 256, 1024):
        found = Word2VecCBOW(width, epochs=2).fit(corpus)
        off[width] = float(np.sqrt(((found.cosines(50) - limit.cosines(50)) ** 2).mean()))
    assert sorted(off.values(), reverse=True) == list(off.values())
    assert -0.7 <= slope(off) <= -0.3


def test_one_step_of_cbow_by_hand() -> None:
    model = Word2VecCBOW(math.inf, window=1, negative=1, min_count=1, epochs=1, lr=0.1, weight_decay=0.0)
    model.words_, model.index_ = ["a", "b", "c"], {"a": 0, "b": 1, "c": 2}
    model._start()
    loss = model._update(np.array([0, 2]), np.array([1, 2]), 0.1)
    assert loss == pytest.approx(2 * math.log(2))
    assert np.allclose(model.contexts_, [[0, 0, 0], [0.025, 0, 0.025], [-0.025, 0, -0.025]])
    assert np.allclose(model.vectors_, np.eye(3))  # the old V was zero
    assert model.most_similar("a", 1)[0][1] == pytest.approx(0)
    assert model.analogy_accuracy([("a", "b", "a", "b")]) in (0.0, 1.0)
    with pytest.raises(ZooInvalid, match="'x'"):
        model.most_similar("x")


def test_cbow_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(ZooInvalid, match="at least two"):
        Word2VecCBOW(8).fit([["a"]])
    with pytest.raises(ZooInvalid, match=r"width is 2\.5"):
        Word2VecCBOW(2.5)


def test_hot_operations_are_tasks() -> None:
    for operation in SYSTEM.operations:
        assert operation.task().name == operation.name
