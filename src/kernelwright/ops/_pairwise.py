"""Reductions over pairs of points: lazy matrices ``[n, m]`` of a formula, never held, and what is asked of their rows.

In the spirit of KeOps (Charlier et al., JMLR 2021): the formula is written as if the matrix were there; what is
computed is the reduction. Named kernels are formulas like any other.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import PairwiseInvalid
from ..kernels.pairwise import KINDS, Node, Reduction, apply, at, const, linearise, mul
from ..search import Kernel
from ._pairwise_gradients import logsumexp, matrix, transposed, weighted
from ._pairwise_run import best, prepare

Tensor = torch.Tensor
Scalar = float | Tensor
Points = Tensor | np.ndarray
_FLOATS = (torch.float32, torch.float64)
_BAKED = 16  # whole and half numbers up to it belong to a formula; other numbers are parameters


class LazyMatrix:
    """A matrix ``[n, m]`` whose element (i, j) is a formula of the pair (x_i, z_j); it is never held.

    Formulas are joined by ``+ - * / **``, with other lazy matrices of the same pairs and with numbers or tensors of one
    element (through which gradients flow), and by ``exp``, ``log``, ``sqrt``, ``square``, ``abs``, ``cos``, ``sin``,
    ``acos``, ``asin``, ``atan``, ``tanh``, ``maximum``, ``minimum`` and ``clamp``. Reductions go along the second axis:
    ``K @ v``, ``sum``, ``logsumexp``, ``max``, ``argmax``, ``min``, ``argmin``, ``topk``; ``dense`` gives the matrix
    itself. All are differentiable in the points, in v and in tensors inside the formula, also twice.

    >>> x, z = torch.randn(5, 3), torch.randn(4, 3)
    >>> K = (-pairs(x, z).sqdist / 2).exp()
    >>> torch.allclose(K @ torch.ones(4), torch.exp(-torch.cdist(x, z) ** 2 / 2).sum(1))
    True
    """

    __array_ufunc__ = None  # numpy leaves operators to us
    __slots__ = ("_node", "device", "dtype", "shape")

    def __init__(self, node: Node, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
        self._node = node
        self.shape, self.dtype, self.device = shape, dtype, device

    def __repr__(self) -> str:
        return f"LazyMatrix(shape={self.shape}, dtype={self.dtype})"

    # ── formulas ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _other(self, other: LazyMatrix | Scalar) -> Node:
        if isinstance(other, LazyMatrix):
            if (other.shape, other.dtype, other.device) != (self.shape, self.dtype, self.device):
                raise PairwiseInvalid(f"{other} does not fit {self}: shapes, dtypes and devices must be the same.")
            return other._node
        return _number(other, self.dtype, self.device)

    def _new(self, node: Node) -> LazyMatrix:
        return LazyMatrix(node, self.shape, self.dtype, self.device)

    def _binary(self, op: str, other: LazyMatrix | Scalar, swapped: bool = False) -> LazyMatrix:
        node = self._other(other)
        return self._new(apply(op, node, self._node) if swapped else apply(op, self._node, node))

    def __add__(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        return self._binary("add", other)

    def __radd__(self, other: Scalar) -> LazyMatrix:
        return self._binary("add", other, True)

    def __sub__(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        return self._binary("sub", other)

    def __rsub__(self, other: Scalar) -> LazyMatrix:
        return self._binary("sub", other, True)

    def __mul__(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        return self._binary("mul", other)

    def __rmul__(self, other: Scalar) -> LazyMatrix:
        return self._binary("mul", other, True)

    def __truediv__(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        return self._binary("div", other)

    def __rtruediv__(self, other: Scalar) -> LazyMatrix:
        return self._binary("div", other, True)

    def __neg__(self) -> LazyMatrix:
        return self._new(apply("neg", self._node))

    def __pow__(self, exponent: float) -> LazyMatrix:
        """A whole number, or a half: 0.5, 1.5, ..."""
        if not isinstance(exponent, int | float) or 2 * exponent != round(2 * exponent) or abs(exponent) > _BAKED:
            raise PairwiseInvalid(f"the exponent is {exponent!r}; a whole or half number up to {_BAKED} is right.")
        whole = math.floor(exponent)
        power = apply("pow", self._node, value=whole)
        return self._new(power if whole == exponent else mul(power, apply("sqrt", self._node)))

    def exp(self) -> LazyMatrix:
        """e to the power of each element."""
        return self._new(apply("exp", self._node))

    def log(self) -> LazyMatrix:
        """The natural logarithm."""
        return self._new(apply("log", self._node))

    def sqrt(self) -> LazyMatrix:
        """The square root; its derivative at 0 is taken to be 0."""
        return self._new(apply("sqrt", self._node))

    def square(self) -> LazyMatrix:
        """Each element times itself."""
        return self**2

    def abs(self) -> LazyMatrix:
        """The magnitude."""
        return self._new(apply("abs", self._node))

    def cos(self) -> LazyMatrix:
        """The cosine."""
        return self._new(apply("cos", self._node))

    def sin(self) -> LazyMatrix:
        """The sine."""
        return self._new(apply("sin", self._node))

    def acos(self) -> LazyMatrix:
        """The angle whose cosine it is; its derivative at 1 and -1 is taken to be 0."""
        return self._new(apply("acos", self._node))

    def asin(self) -> LazyMatrix:
        """The angle whose sine it is; its derivative at 1 and -1 is taken to be 0."""
        return self._new(apply("asin", self._node))

    def atan(self) -> LazyMatrix:
        """The angle whose tangent it is."""
        return self._new(apply("atan", self._node))

    def tanh(self) -> LazyMatrix:
        """The hyperbolic tangent."""
        return self._new(apply("tanh", self._node))

    def maximum(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        """The larger one, element by element."""
        return self._binary("maximum", other)

    def minimum(self, other: LazyMatrix | Scalar) -> LazyMatrix:
        """The smaller one, element by element."""
        return self._binary("minimum", other)

    def clamp(self, low: Scalar, high: Scalar) -> LazyMatrix:
        """Bounded from both sides."""
        return self.maximum(low).minimum(high)

    @property
    def T(self) -> LazyMatrix:
        """The matrix ``[m, n]`` with rows and columns changed."""
        return LazyMatrix(transposed(self._node), (self.shape[1], self.shape[0]), self.dtype, self.device)

    # ── reductions along the second axis ─────────────────────────────────────────────────────────────────────────────
    def __matmul__(self, v: Tensor) -> Tensor:
        """``[n, r]`` for v ``[m, r]``, ``[n]`` for ``[m]``: weighted sums over the columns."""
        if not isinstance(v, Tensor) or v.ndim not in (1, 2) or v.shape[0] != self.shape[1] or v.dtype != self.dtype:
            what = f"{v.dtype} of shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
            raise PairwiseInvalid(f"v is {what}; {self.dtype} of shape ({self.shape[1]}, r) is right.")
        total = weighted(self._node, self.shape, v if v.ndim == 2 else v[:, None])
        return total if v.ndim == 2 else total[:, 0]

    def sum(self) -> Tensor:
        """``[n]``: the sum of each row."""
        return self @ torch.ones(self.shape[1], dtype=self.dtype, device=self.device)

    def mean(self) -> Tensor:
        """``[n]``: the mean of each row."""
        return self.sum() / self.shape[1]

    def logsumexp(self) -> Tensor:
        """``[n]``: log of the sum of e to the power of each row's elements, without overflow."""
        return logsumexp(self._node, self.shape)

    def topk(self, k: int, *, largest: bool = True) -> tuple[Tensor, Tensor]:
        """Values ``[n, k]``, the largest (smallest) first, and their columns (int64)."""
        if not isinstance(k, int) or not 0 <= k <= self.shape[1]:
            raise PairwiseInvalid(f"k is {k!r}; rows have {self.shape[1]} elements to choose from.")
        places = best(self._node, self.shape, k, largest)
        return at(self._node, places), places

    def argtopk(self, k: int, *, largest: bool = True) -> Tensor:
        """The columns ``[n, k]`` (int64) of :meth:`topk`, without the values."""
        return self.topk(k, largest=largest)[1]

    def max(self) -> Tensor:
        """``[n]``: the largest element of each row."""
        return self._best(True)[0]

    def argmax(self) -> Tensor:
        """``[n]``: the column of each row's largest element (int64)."""
        return self._best(True)[1]

    def min(self) -> Tensor:
        """``[n]``: the smallest element of each row."""
        return self._best(False)[0]

    def argmin(self) -> Tensor:
        """``[n]``: the column of each row's smallest element (int64)."""
        return self._best(False)[1]

    def _best(self, largest: bool) -> tuple[Tensor, Tensor]:
        if not self.shape[1]:
            raise PairwiseInvalid("z holds no points; the largest and the smallest of no elements do not exist.")
        values, places = self.topk(1, largest=largest)
        return values[:, 0], places[:, 0]

    def dense(self) -> Tensor:
        """The matrix itself, ``[n, m]``."""
        return matrix(self._node, self.shape)

    def prepare(self, kind: str = "sum", k: int = 1) -> Kernel:
        """The judged kernel of a reduction of this formula, searched for now if this machine has not seen it yet.

        ``kind``: "sum" (``@``, ``sum``, ``mean``), "logsumexp", "largest" (``max``, ``topk``), "smallest" or "dense".
        Large reductions do this by themselves; after it, small ones use the kernel too. It takes some seconds once.
        """
        if kind not in KINDS:
            raise PairwiseInvalid(f"kind is {kind!r}; one of {', '.join(KINDS)} is right.")
        program, tensors = linearise(self._node)
        return prepare(Reduction(program, kind, k), tensors)


@dataclass(frozen=True)
class Pairs:
    """All pairs of the points ``x`` ``[n, d]`` and ``z`` ``[m, d]``: what formulas are made of."""

    x: Tensor
    z: Tensor

    @property
    def inner(self) -> LazyMatrix:
        """<x_i, z_j>"""
        return self._lazy(Node("inner", tensors=(self.x, self.z)))

    @property
    def sqdist(self) -> LazyMatrix:
        """|x_i - z_j|^2"""
        return self._lazy(Node("sqdist", tensors=(self.x, self.z)))

    @property
    def left_sq(self) -> LazyMatrix:
        """|x_i|^2"""
        return self.left(self.x.square().sum(1))

    @property
    def right_sq(self) -> LazyMatrix:
        """|z_j|^2"""
        return self.right(self.z.square().sum(1))

    def left(self, a: Tensor) -> LazyMatrix:
        """a_i, for a tensor ``[n]``."""
        return self._lazy(Node("row", tensors=(self._vector("a", a, len(self.x)),)))

    def right(self, b: Tensor) -> LazyMatrix:
        """b_j, for a tensor ``[m]``."""
        return self._lazy(Node("col", tensors=(self._vector("b", b, len(self.z)),)))

    def _vector(self, name: str, given: Tensor, size: int) -> Tensor:
        if tuple(given.shape) != (size,) or given.dtype != self.x.dtype or given.device != self.x.device:
            about = f"{given.dtype} of shape {tuple(given.shape)} on {given.device}"
            raise PairwiseInvalid(f"{name} is {about}; {self.x.dtype} of shape ({size},) on {self.x.device} is right.")
        return given

    def _lazy(self, node: Node) -> LazyMatrix:
        return LazyMatrix(node, (len(self.x), len(self.z)), self.x.dtype, self.x.device)


def pairs(x: Points, z: Points) -> Pairs:
    """All pairs of points ``x`` ``[n, d]`` and ``z`` ``[m, d]``, float32 or float64.

    Arrays of NumPy are taken as they lie, so that ``np.memmap`` (and ``torch.from_file``) may be larger than memory:
    reductions read them block by block, z once for every 131072 rows of x.

    >>> p = pairs(torch.zeros(2, 3), torch.ones(4, 3))
    >>> p.sqdist.min().tolist()
    [3.0, 3.0]

    Raises ``PairwiseInvalid`` where shapes, dtypes or devices do not fit.
    """
    x, z = _tensor(x), _tensor(z)
    for name, points in (("x", x), ("z", z)):
        if not isinstance(points, Tensor) or points.ndim != 2 or points.dtype not in _FLOATS:
            about = (
                f"{points.dtype} of shape {tuple(points.shape)}"
                if isinstance(points, Tensor)
                else type(points).__name__
            )
            raise PairwiseInvalid(f"{name} is {about}; points are float32 or float64 of shape (count, coordinates).")
    if x.shape[1] != z.shape[1] or x.dtype != z.dtype or x.device != z.device:
        raise PairwiseInvalid(
            f"x is {x.dtype} of shape {tuple(x.shape)} on {x.device} and z {z.dtype} of shape {tuple(z.shape)} on "
            f"{z.device}; both must have as many coordinates, one dtype and one device."
        )
    return Pairs(x, z)


def _tensor(points: Points) -> Tensor:
    """A NumPy array as a tensor of the same memory; what is mapped from a file stays there."""
    if not isinstance(points, np.ndarray):
        return points
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(points)


# ── named kernels ────────────────────────────────────────────────────────────────────────────────────────────────────
def gaussian(x: Points, z: Points, bandwidth: Scalar = 1.0) -> LazyMatrix:
    """exp(-|x - z|^2 / (2 bandwidth^2)); the bandwidth is a number or a tensor of one element.

    >>> gaussian(torch.zeros(1, 2), torch.ones(1, 2), bandwidth=1.0).dense().log().tolist()
    [[-1.0]]
    """
    return (pairs(x, z).sqdist * (-0.5 / _positive("bandwidth", bandwidth) ** 2)).exp()


def laplace(x: Points, z: Points, bandwidth: Scalar = 1.0) -> LazyMatrix:
    """exp(-|x - z| / bandwidth), with the Euclidean distance."""
    return (pairs(x, z).sqdist.sqrt() * (-1.0 / _positive("bandwidth", bandwidth))).exp()


def matern(x: Points, z: Points, nu: float = 1.5, bandwidth: Scalar = 1.0) -> LazyMatrix:
    """The Matérn kernel of smoothness ``nu`` (0.5, 1.5 or 2.5), with r = sqrt(2 nu) |x - z| / bandwidth.

    e^-r, (1 + r) e^-r, (1 + r + r^2 / 3) e^-r (Rasmussen and Williams 2006, equation 4.17).
    """
    if nu not in (0.5, 1.5, 2.5):
        raise PairwiseInvalid(f"nu is {nu!r}; the Matérn kernel is here for 0.5, 1.5 and 2.5.")
    square = pairs(x, z).sqdist * (2 * nu / _positive("bandwidth", bandwidth) ** 2)
    r = square.sqrt()
    decay = (-r).exp()
    if nu == 0.5:
        return decay
    return (r + 1) * decay if nu == 1.5 else (r + 1 + square / 3) * decay


def polynomial(x: Points, z: Points, degree: int = 3, scale: Scalar = 1.0, offset: Scalar = 1.0) -> LazyMatrix:
    """(scale <x, z> + offset)^degree"""
    if not isinstance(degree, int) or not 1 <= degree <= _BAKED:
        raise PairwiseInvalid(f"degree is {degree!r}; a whole number from 1 to {_BAKED} is right.")
    return (pairs(x, z).inner * scale + offset) ** degree


def arccos(x: Points, z: Points, order: int = 1) -> LazyMatrix:
    """The arc-cosine kernel of ``order`` 0, 1 or 2 (Cho and Saul 2009, equations 3 to 6).

    ``|x|^order |z|^order J(angle) / pi`` with J = pi - t; sin t + (pi - t) cos t; and
    3 sin t cos t + (pi - t) (1 + 2 cos^2 t). A point at 0 has the angle pi / 2 to all others.
    """
    if order not in (0, 1, 2):
        raise PairwiseInvalid(f"order is {order!r}; the arc-cosine kernel is here for 0, 1 and 2.")
    p = pairs(x, z)
    lengths = p.left_sq.sqrt() * p.right_sq.sqrt()
    tiny, share = _fixed(lengths, torch.finfo(p.x.dtype).tiny), _fixed(lengths, 1 / math.pi)
    u = (p.inner / lengths.maximum(tiny)).clamp(-1, 1)
    rest = _fixed(lengths, math.pi) - u.acos()
    if order == 0:
        return rest * share
    sine = (1 - u.square()).sqrt()
    if order == 1:
        return lengths * (sine + rest * u) * share
    return lengths.square() * (3 * sine * u + rest * (1 + 2 * u.square())) * share


def inverse_multiquadric(x: Points, z: Points, bandwidth: Scalar = 1.0) -> LazyMatrix:
    """1 / sqrt(1 + |x - z|^2 / bandwidth^2)"""
    inside = pairs(x, z).sqdist * (1.0 / _positive("bandwidth", bandwidth) ** 2) + 1
    return inside**-0.5


def cosine(x: Tensor, frequencies: Tensor, phase: Tensor | None = None) -> LazyMatrix:
    """cos(<x_i, w_j> + phase_j): random features; ``@ v`` is the linear model on them (Rahimi and Recht 2007)."""
    p = pairs(x, frequencies)
    return p.inner.cos() if phase is None else (p.inner + p.right(phase)).cos()


def fidelity(x: Tensor, z: Tensor) -> LazyMatrix:
    """|<x_i, z_j>|^2 of complex points (complex64 or complex128): the overlap of quantum states."""
    for name, points in (("x", x), ("z", z)):
        if not points.is_complex() or points.ndim != 2:
            about = f"{points.dtype} of shape {tuple(points.shape)}"
            raise PairwiseInvalid(f"{name} is {about}; states are complex of shape (count, coordinates).")
    left = torch.cat([x.real, x.imag], 1)
    same, turned = torch.cat([z.real, z.imag], 1), torch.cat([z.imag, -z.real], 1)
    return pairs(left, same).inner.square() + pairs(left, turned).inner.square()


def _fixed(like: LazyMatrix, value: float) -> LazyMatrix:
    """A number that belongs to the formula, whatever its size."""
    return LazyMatrix(const(value), like.shape, like.dtype, like.device)


def _positive(name: str, given: Scalar) -> Scalar:
    if not isinstance(given, Tensor) and not 0 < given < math.inf:
        raise PairwiseInvalid(f"{name} is {given!r}; a positive number is right.")
    return given


def _number(given: Scalar, dtype: torch.dtype, device: torch.device) -> Node:
    if isinstance(given, Tensor):
        if given.numel() != 1 or not given.is_floating_point():
            about = f"{given.dtype} of shape {tuple(given.shape)}"
            raise PairwiseInvalid(f"a tensor in a formula is {about}; a floating tensor of one element is right.")
        return Node("param", tensors=(given.reshape(()).to(device=device, dtype=dtype),))
    if not isinstance(given, int | float):
        raise PairwiseInvalid(f"{type(given).__name__} stands in a formula; numbers and one-element tensors may.")
    if abs(given) <= _BAKED and 2 * given == round(2 * given):
        return const(given)
    return Node("param", tensors=(torch.tensor(given, dtype=dtype, device=device),))
