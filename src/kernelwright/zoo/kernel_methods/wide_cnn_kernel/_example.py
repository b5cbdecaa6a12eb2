"""The example: a deep CNN's kernel learns a local target fast and a global one slowly; a dense network's does not."""

from __future__ import annotations

from torch import Tensor

from ..._system import Measured, Result, Track
from ...common import COLOURS, axes, legend
from ..ntk._gram import mlp
from ._kernel import learning_curve_exponent
from ._learning import TeacherStudent

STUDENT = (2, 2, 2)
TABLE = {  # measured when this system was described: errors over variance for teachers of 1, 2 and 3 levels
    1: {256: 0.0468, 512: 0.0322, 1024: 0.0218, 2048: 0.0145},
    2: {256: 0.1290, 512: 0.0949, 1024: 0.0703, 2048: 0.0528},
    3: {256: 0.2978, 512: 0.2389, 1024: 0.1931, 2048: 0.1558},
}


def dense_student(x: Tensor) -> Tensor:
    """The tangent kernel of a fully connected network of three hidden layers, for inputs of unit length."""
    unit = x / x.norm(dim=1, keepdim=True)
    return mlp(4, w_var=2.0, b_std=0.0, input_scale="1").ntk(unit)


def curves(ns: tuple[int, ...], level: int, n_test: int = 512) -> tuple[dict[int, float], dict[int, float]]:
    """Errors of the CNN's and of the dense network's kernel for a teacher of ``level`` levels; d = 8."""
    pair = TeacherStudent.of(STUDENT[:level], STUDENT, 8)
    dense = TeacherStudent(pair.teacher, dense_student, 8, STUDENT[0])
    return pair.curve(ns, n_test), dense.curve(ns, n_test)


def decay_error(curve: dict[int, float], level: int) -> float:
    """How far, at most, the decay of a curve is from the table's; its scale depends on which fields are drawn."""
    ns = [n for n in curve if n in TABLE[level]]
    first = curve[ns[0]] / TABLE[level][ns[0]]
    return max(abs(curve[n] / TABLE[level][n] / first - 1) for n in ns)


def example(track: Track, ns: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> Result:
    """Learning curves for teachers of one, two and three levels, with the exponents that the theory gives."""
    figure, (at,) = axes(width=6.4, height=4.2)
    found = {}
    for colour, level in zip(COLOURS, track((1, 2, 3), "teachers"), strict=False):
        ours, dense = curves(ns, level)
        found[level] = ours, dense
        name = f"{level} level{'s' * (level > 1)}"
        exponent = learning_curve_exponent(STUDENT, level)
        at.loglog(list(ours), list(ours.values()), "o-", color=colour, label=f"{name}: deep CNN")
        at.loglog(list(dense), list(dense.values()), "s:", color=colour, ms=4, label=f"{name}: dense network")
        law = [ours[ns[-1]] * (n / ns[-1]) ** -exponent for n in ns]
        at.loglog(ns, law, "--", color=colour, lw=0.9, alpha=0.7)
    at.set_xlabel("samples")
    at.set_ylabel("error / variance")
    at.set_title("Teachers of growing reach (dashed: theory)", loc="left")
    legend(at, fontsize=8)
    wrong = max(decay_error(found[k][0], k) for k in TABLE)
    near, far = (found[k][1][ns[-1]] / found[k][0][ns[-1]] for k in (1, 3))
    return Result(
        (
            Measured("decay of the errors, largest deviation from the table", wrong, "below 0.1", wrong < 0.1),
            Measured("local target: dense network's error over the CNN's", near, "at least 2", near >= 2),
            Measured("global target: the same", far, "below 1.6", far < 1.6),
        ),
        figure,
    )


__all__ = ["STUDENT", "TABLE", "curves", "decay_error", "dense_student", "example"]
