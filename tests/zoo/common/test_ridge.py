import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common._ridge import ridge_solve


def _features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 1), (6, 2, 4)])
def test_solves_what_a_general_solver_solves(shape: tuple[int, int, int]) -> None:
    n, p, c = shape
    features, targets = _features(n, p), _features(n, c)
    gram = features @ features.T
    expected = torch.linalg.solve(gram + 0.3 * torch.eye(n), targets)
    torch.testing.assert_close(ridge_solve(gram, targets, 0.3), expected)


def test_gradients_reach_features_targets_and_ridge_and_are_right() -> None:
    features, targets = _features(4, 3).requires_grad_(), _features(4, 2).requires_grad_()
    ridge = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, y, r: ridge_solve(f @ f.T, y, r), (features, targets, ridge))


def test_a_batch_has_a_ridge_each() -> None:
    features, targets = _features(3, 4, 5).requires_grad_(), _features(3, 4, 2)
    ridge = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64, requires_grad=True)
    together = ridge_solve(features @ features.mT, targets, ridge)
    for i in range(3):
        torch.testing.assert_close(
            together[i], ridge_solve(features[i] @ features[i].T, targets[i], float(ridge[i].detach()))
        )
    assert torch.autograd.gradcheck(lambda f, r: ridge_solve(f @ f.mT, targets, r), (features, ridge))


def test_a_float32_system_that_rounding_made_indefinite_is_solved_in_float64() -> None:
    features = (_features(30, 2) * 100).round().float().requires_grad_()  # integers: the Gram matrix is exact
    gram = features @ features.T
    assert int(torch.linalg.cholesky_ex(gram + 1e-4 * torch.eye(30)).info) != 0
    solution = ridge_solve(gram, torch.ones(30, 1), 1e-4)
    solution.sum().backward()
    assert solution.dtype == torch.float32
    assert torch.isfinite(solution).all()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_faults_are_sentences() -> None:
    with pytest.raises(ZooInvalid, match="not positive definite"):
        ridge_solve(-torch.eye(3), torch.ones(3, 1), 0.1)
    with pytest.raises(ZooInvalid, match="not positive definite"):
        ridge_solve(torch.full((2, 2), float("nan")), torch.ones(2, 1), 0.1)
    with pytest.raises(ZooInvalid, match=r"targets \[\.\.\., n, c\]"):
        ridge_solve(torch.eye(3), torch.ones(4, 1), 0.1)
