"""The paper's experiment, simulated: both classifiers on data that their feature map can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.svm import SVC

from ..._system import HotOperation, Measured, Result, System, Track
from ...common import COLOURS, axes, legend
from ._classifiers import QSVC
from ._data import make_ad_hoc
from ._kernel import fidelity_gram
from ._states import ZZFeatureMap, zz_feature_states
from ._variational import VariationalClassifier, circuit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (0, 1, 2, 3, 4)
_HARD = 1e3  # hardly any point may be on the wrong side: the labels are exact
_RBF = [(c, width) for c in (1.0, 10.0, 100.0, 1e3) for width in (0.1, 0.3, 1.0, 3.0, 10.0)]


def compare(seed: int, n_train: int = 20, n_test: int = 40) -> dict[str, float]:
    """Test accuracies of all ways on one drawn set, and training accuracies of the circuits by depth."""
    x, y, held, labels = make_ad_hoc(n_train, n_test, random_state=seed)
    found = {
        "kernel": QSVC(C=_HARD).fit(x, y).score(held, labels),
        "200 shots": QSVC(C=_HARD, shots=200, random_state=seed).fit(x, y).score(held, labels),
        "no pair phases": QSVC(C=_HARD, phi="none").fit(x, y).score(held, labels),
        "best RBF": max(SVC(C=c, gamma=width).fit(x, y).score(held, labels) for c, width in _RBF),
    }
    for depth in DEPTHS:
        model = VariationalClassifier(depth, "adam", n_steps=100, random_state=seed).fit(x, y)
        found[f"circuit {depth}"], found[f"trained {depth}"] = model.score(held, labels), model.score(x, y)
    return found


def summary(found: list[dict[str, float]]) -> tuple[Measured, ...]:
    """Means over the drawn sets, beside what is to be expected."""
    mean = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
    gain, depth = mean["kernel"] - mean["best RBF"], mean["trained 4"] - mean["trained 0"]
    loss = mean["kernel"] - mean["200 shots"]
    return (
        Measured("accuracy of the kernel SVM", mean["kernel"], ">= 0.97", mean["kernel"] >= 0.97),
        Measured("accuracy above the best RBF SVM", gain, ">= 0.10", gain >= 0.10),
        Measured("accuracy without pair phases", mean["no pair phases"], "< 0.85", mean["no pair phases"] < 0.85),
        Measured("accuracy lost with 200 shots an entry", loss, "<= 0.03", loss <= 0.03),
        Measured("training success of the circuit, depth 4", mean["trained 4"], ">= 0.95", mean["trained 4"] >= 0.95),
        Measured("training success above depth 0", depth, ">= 0.1", depth >= 0.1),
        Measured("test accuracy of the circuit, depth 4", mean["circuit 4"]),
    )


def picture(found: list[dict[str, float]], seed: int = 0) -> Figure:
    """What the kernel SVM decides over all angles, and success by the depth of the circuit."""
    figure, (left, right) = axes(1, 2, width=4.8, height=4.0)
    x, y, _, _ = make_ad_hoc(20, 1, random_state=seed)
    side = np.linspace(0.02, 2 * np.pi, 90)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    decision = QSVC(C=_HARD).fit(x, y).decision_function(grid).reshape(len(side), -1)
    limit = np.abs(decision).max()
    edge = (side[0], side[-1], side[0], side[-1])
    left.imshow(decision, origin="lower", extent=edge, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="bilinear")
    left.contour(side, side, decision, levels=[0.0], colors=COLOURS[4], linewidths=1.0)
    for label, colour in ((-1, COLOURS[2]), (1, COLOURS[1])):
        at = x[y == label]
        left.scatter(at[:, 0], at[:, 1], s=34, c=colour, edgecolors="white", linewidths=0.8, label=f"label {label:+d}")
    left.set(xlabel="first angle", ylabel="second angle", title="Decision of the kernel SVM, 2 qubits")
    left.grid(False)
    legend(left, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    success = np.array([[f[f"circuit {d}"] for d in DEPTHS] for f in found])
    for drawn in success:
        right.plot(DEPTHS, drawn, color=COLOURS[4], linewidth=0.9, alpha=0.45)
    right.plot(DEPTHS, success.mean(0), "o-", color=COLOURS[0], linewidth=2.2, label="circuit, mean")
    for key, colour, style in (("kernel", COLOURS[2], "-"), ("best RBF", COLOURS[1], "--")):
        right.axhline(float(np.mean([f[key] for f in found])), color=colour, linestyle=style, label=f"{key} SVM, mean")
    right.set(
        xlabel="depth of the circuit", ylabel="test accuracy", xticks=DEPTHS, title="Success, every set a thin line"
    )
    legend(right, loc="lower right")
    return figure


def _example(track: Track) -> Result:
    found = [compare(seed) for seed in track(range(5), "drawn sets")]
    return Result(summary(found), picture(found))


def _states_arguments() -> tuple[torch.Tensor, ...]:
    feature_map = ZZFeatureMap(8)
    x = 2 * torch.pi * torch.rand(2000, 8, generator=torch.Generator().manual_seed(0))
    return feature_map.coefficients(x), feature_map.table(x)


def _parts() -> torch.Tensor:
    feature_map = ZZFeatureMap(6)
    return feature_map.parts(2 * torch.pi * torch.rand(1000, 6, generator=torch.Generator().manual_seed(0)))


def _circuit_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    feature_map = ZZFeatureMap(4)
    states = feature_map.states(2 * torch.pi * torch.rand(500, 4, generator=generator))
    return torch.rand(8, 5, 4, 2, generator=generator), states, feature_map.table(states.real)[4:].prod(0)


SYSTEM = System(
    name="quantum-kernel",
    title="Supervised learning with quantum enhanced feature spaces",
    source="arXiv 1804.11326",
    claim="A shallow circuit's state overlaps are a kernel that tells apart what kernels on the raw angles cannot.",
    operations=(
        HotOperation("zz_feature_states", zz_feature_states, _states_arguments),
        HotOperation("fidelity_gram", fidelity_gram, lambda: (_parts(), _parts())),
        HotOperation("circuit_apply_batch", circuit, _circuit_arguments),
    ),
    example=_example,
)

__all__ = ["SYSTEM", "compare", "picture", "summary"]
