"""What wide CNNs learn: learning curves by the reach of the target, and whether pixels' places matter on digits.

``python benchmarks/zoo/wide_cnn_kernel.py``
"""

from __future__ import annotations

import math

import numpy as np
import torch
from record import record
from sklearn.datasets import load_digits

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.wide_cnn_kernel import (
    STUDENT,
    SYSTEM,
    HierarchicalNTKClassifier,
    curves,
    decay_error,
    learning_curve_exponent,
)


def digits(train: int = 1000) -> tuple[float, float]:
    """Test accuracy on digits as they are, and with all images' pixels in one other order."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    x, y = x[order] / 16 + 0.01, y[order]
    shuffled = x[:, np.random.default_rng(0).permutation(64)]
    scores = [
        HierarchicalNTKClassifier((2, 2, 2), dims=2).fit(f[:train], y[:train]).score(f[train:], y[train:])
        for f in (x, shuffled)
    ]
    return scores[0], scores[1]


def main() -> None:
    torch.set_num_threads(2)
    shown = SYSTEM.example(plainly)
    ns = (256, 512, 1024, 2048)
    found = {level: curves(ns, level) for level in (1, 2, 3)}
    slopes = {k: math.log(ours[256] / ours[2048]) / math.log(8) for k, (ours, _) in found.items()}
    gap = min(slopes[1] - slopes[2], slopes[2] - slopes[3])
    wrong = max(decay_error(ours, k) for k, (ours, _) in found.items())
    near, far = (found[k][1][2048] / found[k][0][2048] for k in (1, 3))
    right, shuffled = digits()
    measured = [
        Measured("decay of the errors, largest deviation from the table", wrong, "below 0.1", wrong < 0.1),
        *(
            Measured(f"exponent, teacher of {k} levels", slopes[k], f"theory {learning_curve_exponent(STUDENT, k):.3f}")
            for k in slopes
        ),
        Measured("smallest gap between exponents", gap, "at least 0.08", gap >= 0.08),
        Measured("local target, n = 2048: dense network's error over the CNN's", near, "at least 2.5", near >= 2.5),
        Measured("global target, n = 2048: the same", far, "below 1.4", far < 1.4),
        Measured("digits, accuracy", right, "at least 0.97", right >= 0.97),
        Measured("digits, lost with shuffled pixels", right - shuffled, "at least 0.01", right - shuffled >= 0.01),
    ]
    record("wide-cnn-kernel", measured, picture=shown.picture, curves={str(k): v for k, v in found.items()})


if __name__ == "__main__":
    main()
