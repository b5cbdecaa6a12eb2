"""Small models: shapes, that they learn, that the same seed is the same training."""

from __future__ import annotations

import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo import plainly
from kernelwright.zoo.common import accuracy, blobs, cnn, mlp, train


def test_shapes() -> None:
    assert mlp([3, 5, 2])(torch.zeros(4, 3)).shape == (4, 2)
    assert len(mlp([3, 2])) == 1
    assert cnn([1, 4], 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert cnn([3, 4, 4, 4], 7)(torch.zeros(2, 3, 9, 11)).shape == (2, 7)
    for bad in ([3], [3, 0]):
        with pytest.raises(ZooInvalid):
            mlp(bad)
        with pytest.raises(ZooInvalid):
            cnn(bad, 2)


def test_training_learns_and_repeats() -> None:
    x, y = blobs(300, 2, 3, apart=8.0)
    losses, models = [], []
    for _ in range(2):
        torch.manual_seed(0)
        model = mlp([2, 16, 3])
        losses.append(train(model, x, y, epochs=10, lr=1e-2, track=plainly))
        models.append(model)
    assert losses[0] == losses[1]
    assert torch.equal(models[0](x), models[1](x))
    assert accuracy(models[0], x, y, batch=7) > 0.95
    with pytest.raises(ZooInvalid):
        train(model, x, y[:-1], epochs=1)
    with pytest.raises(ZooInvalid):
        accuracy(model, x[:0], y[:0])


def test_accuracy_keeps_the_mode() -> None:
    model = cnn([1, 2], 2)
    accuracy(model, torch.zeros(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))
    assert model.training
