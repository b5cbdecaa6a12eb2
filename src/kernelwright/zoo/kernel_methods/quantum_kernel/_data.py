"""Labels that the feature map can tell and little else can: the paper's test data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import unitary_group
from sklearn.utils import check_random_state

from ....errors import ZooInvalid
from ._states import ZZFeatureMap

_BATCH = 4096
_MOST_BATCHES = 100


def make_ad_hoc(
    n_train: int, n_test: int, n_qubits: int = 2, gap: float = 0.3, random_state: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """``x_train, y_train, x_test, y_test`` with so many points for EACH of the labels -1 and +1.

    A Haar-random unitary V gives O = V^dagger Z...Z V; points uniform in (0, 2 pi]^n are labelled by the sign of
    <Phi(x)|O|Phi(x)> and rejected where it is within ``gap`` of 0 (arXiv 1804.11326, "Data"). Points are drawn, not
    taken from a grid, so none is in both sets. Raises ``ZooInvalid`` where such points are too rare to be found.

    >>> make_ad_hoc(20, 10, random_state=0)[0].shape
    (40, 2)
    """
    generator = check_random_state(random_state)
    feature_map = ZZFeatureMap(n_qubits)
    rotation = torch.as_tensor(unitary_group.rvs(1 << n_qubits, random_state=generator))
    parity = feature_map.table(torch.zeros(0, dtype=torch.float64))[:n_qubits].prod(0)
    wanted = n_train + n_test
    found: dict[int, list[np.ndarray]] = {-1: [], 1: []}
    for _ in range(_MOST_BATCHES):
        if all(sum(map(len, kept)) >= wanted for kept in found.values()):
            break
        x = 2 * np.pi * (1 - generator.random_sample((_BATCH, n_qubits)))
        value = ((feature_map.states(x) @ rotation.mT).abs().square() @ parity).numpy()
        for label, kept in found.items():
            kept.append(x[label * value > gap])
    else:
        raise ZooInvalid(
            f"gap is {gap}; hardly any points of {n_qubits} qubits lie outside it, a smaller one is right."
        )
    split = {label: np.concatenate(kept)[:wanted] for label, kept in found.items()}
    x_train, x_test = (
        np.concatenate([s[part] for s in split.values()]) for part in (slice(n_train), slice(n_train, None))
    )
    return x_train, np.repeat([-1, 1], n_train), x_test, np.repeat([-1, 1], n_test)


__all__ = ["make_ad_hoc"]
