"""Contractions: every matrix product, einsum and convolution is one Reduce over a product of two loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..program import Expr, Index, Size
from ._builder import Epilogue, require
from ._driver import Lowering, lowers
from ._lazy import Indices, Lazy, cast, compute, const, is_one, op, pointwise, same
from .pointwise import elementwise
from .reductions import reduced
from .views import permuted, selected, transposed


def contract(
    low: Lowering, lhs: Lazy, rhs: Lazy, lhs_dims: str, rhs_dims: str, out_dims: str, dtype: str,
    finish: Epilogue | None = None,
) -> Lazy:  # fmt: skip
    """An einsum of two operands, letters naming dims; a dim of size 1 broadcasts against the other operand's."""
    sizes: dict[str, Size] = {}
    for value, dims in ((lhs, lhs_dims), (rhs, rhs_dims)):
        for letter, size in zip(dims, value.shape, strict=True):
            if letter not in sizes or is_one(sizes[letter]):
                sizes[letter] = size
    kind = compute(dtype)
    if not kind.startswith("float"):
        require(kind.startswith("int"), "a product of booleans")
    left, right = low.operand(lhs), low.operand(rhs)
    summed = "".join(dict.fromkeys(c for c in lhs_dims + rhs_dims if c not in out_dims))

    def value_at(index: Indices, rindex: Indices) -> Expr:
        where = dict(zip(out_dims + summed, index + rindex, strict=True))
        a = left.at(tuple(Index() if is_one(s) else where[c] for c, s in zip(lhs_dims, left.shape, strict=True)))
        b = right.at(tuple(Index() if is_one(s) else where[c] for c, s in zip(rhs_dims, right.shape, strict=True)))
        return op("mul", cast(a, kind), cast(b, kind))

    shape = tuple(sizes[c] for c in out_dims)
    return low.reduce(shape, tuple(sizes[c] for c in summed), "sum", value_at, dtype, finish)


# ── matrix products ──


@lowers("mm")
def mm(low: Lowering, self: Lazy, mat2: Lazy) -> Lazy:
    return contract(low, self, mat2, "mk", "kn", "mn", low.dtype)


@lowers("bmm")
def bmm(low: Lowering, self: Lazy, mat2: Lazy) -> Lazy:
    return contract(low, self, mat2, "bmk", "bkn", "bmn", low.dtype)


@lowers("dot", "vdot")
def dot(low: Lowering, self: Lazy, tensor: Any = None, other: Any = None) -> Lazy:
    return contract(low, self, tensor if tensor is not None else other, "k", "k", "", low.dtype)


@lowers("mv")
def mv(low: Lowering, self: Lazy, vec: Lazy) -> Lazy:
    return contract(low, self, vec, "mk", "k", "m", low.dtype)


@lowers("outer", "ger")
def outer(low: Lowering, self: Lazy, vec2: Lazy) -> Lazy:
    shape = low.shape
    left, right = low.reshape(self, (shape[0], 1)), vec2
    return elementwise(low, lambda a, b: op("mul", a, b), left, right)


def _added(low: Lowering, bias: Lazy, product: Lazy, beta: float, alpha: float) -> Lazy:
    kind = compute(low.dtype)

    def combine(b: Expr, p: Expr) -> Expr:
        p = cast(p, kind) if alpha == 1 else op("mul", cast(p, kind), const(alpha, kind))
        if beta == 0:
            return p
        return op("add", p, cast(b, kind) if beta == 1 else op("mul", cast(b, kind), const(beta, kind)))

    return pointwise(low.shape, low.dtype, combine, low.broadcast(bias, low.shape), product)


@lowers("addmm")
def addmm(low: Lowering, self: Lazy, mat1: Lazy, mat2: Lazy, beta: float = 1, alpha: float = 1) -> Lazy:
    return _added(low, self, contract(low, mat1, mat2, "mk", "kn", "mn", low.dtype), beta, alpha)


@lowers("baddbmm")
def baddbmm(low: Lowering, self: Lazy, batch1: Lazy, batch2: Lazy, beta: float = 1, alpha: float = 1) -> Lazy:
    return _added(low, self, contract(low, batch1, batch2, "bmk", "bkn", "bmn", low.dtype), beta, alpha)


@lowers("addmv")
def addmv(low: Lowering, self: Lazy, mat: Lazy, vec: Lazy, beta: float = 1, alpha: float = 1) -> Lazy:
    return _added(low, self, contract(low, mat, vec, "mk", "k", "m", low.dtype), beta, alpha)


_BATCH = "abcdefgh"


@lowers("linear")
def linear(low: Lowering, input: Lazy, weight: Lazy, bias: Lazy | None = None) -> Lazy:
    lead = _BATCH[: input.rank - 1]
    require(len(lead) == input.rank - 1, "too many dims")
    if weight.rank == 1:
        product = contract(low, input, weight, lead + "k", "k", lead, low.dtype)
    else:
        product = contract(low, input, weight, lead + "k", "nk", lead + "n", low.dtype)
    if bias is None:
        return product
    return elementwise(low, lambda p, b: op("add", p, b), product, bias)


@lowers("matmul")
def matmul(low: Lowering, self: Lazy, other: Lazy) -> Lazy:
    a, b = self, other
    lead_a, lead_b = max(a.rank - 2, 0), max(b.rank - 2, 0)
    lead = max(lead_a, lead_b)
    require(lead <= len(_BATCH), "too many dims")
    batch = _BATCH[:lead]
    dims_a = batch[lead - lead_a :] + ("mk" if a.rank > 1 else "k")
    dims_b = batch[lead - lead_b :] + ("kn" if b.rank > 1 else "k")
    out = batch + ("m" if a.rank > 1 else "") + ("n" if b.rank > 1 else "")
    return contract(low, a, b, dims_a, dims_b, out, low.dtype)


# ── einsum ──


@lowers("einsum")
def einsum(low: Lowering, equation: str, tensors: list[Lazy], path: Any = None) -> Lazy:
    require("." not in equation, "an ellipsis")
    text = equation.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = "".join(terms)
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    operands = _paired(low, [_diagonals(t, v) for t, v in zip(terms, tensors, strict=True)], out)
    if len(operands) == 1:
        return _single(low, *operands[0], out)
    (dims_a, a), (dims_b, b) = operands
    dims_a, a = _sum_alone(low, dims_a, a, dims_b + out)
    dims_b, b = _sum_alone(low, dims_b, b, dims_a + out)
    if set(dims_a + dims_b) == set(out):  # nothing is summed: an outer product
        return elementwise(
            low, lambda x, y: op("mul", x, y), _aligned(low, dims_a, a, out), _aligned(low, dims_b, b, out)
        )
    return contract(low, a, b, dims_a, dims_b, out, low.dtype)


def _diagonals(dims: str, value: Lazy) -> tuple[str, Lazy]:
    require(len(set(dims)) == len(dims), "a repeated letter")
    return dims, value


Operand = tuple[str, Lazy]


def _paired(low: Lowering, operands: list[Operand], out: str) -> list[Operand]:
    """Contract from left to right, as torch does, until there are no more than two operands."""
    while len(operands) > 2:
        first, second, *others = operands
        operands = [_pair(low, first, second, out, "".join(dims for dims, _ in others)), *others]
    return operands


def _pair(low: Lowering, first: Operand, second: Operand, out: str, others: str) -> Operand:
    """Contract two operands, keeping the letters that anyone still needs."""
    (dims_a, a), (dims_b, b) = first, second
    needed = out + others
    dims_a, a = _sum_alone(low, dims_a, a, dims_b + needed)
    dims_b, b = _sum_alone(low, dims_b, b, dims_a + needed)
    dims = "".join(dict.fromkeys(c for c in dims_a + dims_b if c in needed))
    if set(dims) != set(dims_a + dims_b):
        return dims, contract(low, a, b, dims_a, dims_b, dims, low.dtype)
    left, right = _aligned(low, dims_a, a, dims), _aligned(low, dims_b, b, dims)
    shape = tuple(y if is_one(x) else x for x, y in zip(left.shape, right.shape, strict=True))
    kids = (low.broadcast(left, shape), low.broadcast(right, shape))
    return dims, low.realise(pointwise(shape, low.dtype, lambda x, y: op("mul", x, y), *kids))


def _sum_alone(low: Lowering, dims: str, value: Lazy, needed: str) -> tuple[str, Lazy]:
    """Sum the letters that only this operand has."""
    alone = tuple(k for k, c in enumerate(dims) if c not in needed)
    if not alone:
        return dims, value
    return "".join(c for c in dims if c in needed), reduced(low, value, alone, "sum", value.dtype)


def _single(low: Lowering, dims: str, value: Lazy, out: str) -> Lazy:
    dims, value = _sum_alone(low, dims, value, out)
    return permuted(value, tuple(dims.index(c) for c in out))


def _aligned(low: Lowering, dims: str, value: Lazy, out: str) -> Lazy:
    """Permute to the order of ``out`` and put 1 for the letters that are missing."""
    present = [c for c in out if c in dims]
    value = permuted(value, tuple(dims.index(c) for c in present))
    sizes = dict(zip(present, value.shape, strict=True))
    return low.reshape(value, tuple(sizes.get(c, 1) for c in out))


@lowers("_trilinear")
def trilinear(
    low: Lowering, i1: Lazy, i2: Lazy, i3: Lazy, expand1: list[int], expand2: list[int], expand3: list[int],
    sumdim: list[int], unroll_dim: int = 1,
) -> Lazy:  # fmt: skip
    """A product of three operands, each lacking the dims in its ``expand``, summed over ``sumdim``."""
    rank = i1.rank + len(expand1)
    letters = "abcdefghijkl"[:rank]
    out = "".join(c for k, c in enumerate(letters) if k not in sumdim)
    named = [
        ("".join(c for k, c in enumerate(letters) if k not in missing), v)
        for v, missing in ((i1, expand1), (i2, expand2), (i3, expand3))
    ]
    (dims_a, a), (dims_b, b) = _paired(low, [_dropped(low, dims, value) for dims, value in named], out)
    return contract(low, a, b, dims_a, dims_b, out, low.dtype)


def _dropped(low: Lowering, dims: str, value: Lazy) -> tuple[str, Lazy]:
    require(not any(is_one(s) for s in value.shape), "a dim of size 1")
    return dims, value


@lowers("_cdist_forward")
def cdist(low: Lowering, x1: Lazy, x2: Lazy, p: float, compute_mode: int | None = None) -> Lazy:
    """Distances of all pairs of rows, as differences: the expanded square would cancel."""
    from .reductions import distance

    require(
        x1.rank == x2.rank and all(same(a, b) for a, b in zip(x1.shape[:-2], x2.shape[:-2], strict=True)), "broadcast"
    )
    left, right = (v if v.free else low.realise(v) for v in (x1, x2))
    kind = compute(low.dtype)
    name, each, finish = distance(float(p), kind)

    def at(index: Indices, rindex: Indices) -> Expr:
        a = cast(left.at((*index[:-2], index[-2], rindex[0])), kind)
        b = cast(right.at((*index[:-2], index[-1], rindex[0])), kind)
        return each(op("sub", a, b))

    return low.reduce(low.shape, (x1.shape[-1],), name, at, low.dtype, finish)


# ── convolution ──


@lowers("convolution")
def convolution(
    low: Lowering, input: Lazy, weight: Lazy, bias: Lazy | None, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Lazy:  # fmt: skip
    spatial = input.rank - 2
    steps, pads, gaps = _each(stride, spatial), _each(padding, spatial), _each(dilation, spatial)
    require(compute(low.dtype).startswith("float"), "an integer convolution")
    if transposed:
        result = transposed_convolution(low, input, weight, steps, pads, gaps, groups, low.shape, low.dtype)
    else:
        result = direct_convolution(low, input, weight, steps, pads, gaps, groups, low.shape, low.dtype)
    if bias is None:
        return result
    column = low.reshape(bias, (bias.shape[0],) + (1,) * spatial)
    return elementwise(low, lambda p, b: op("add", p, b), result, column)


def _each(values: Any, n: int) -> list[int]:
    values = [values] if isinstance(values, int) else list(values)
    require(all(isinstance(v, int) for v in values), "symbolic parameters")
    return values * n if len(values) == 1 else values


def direct_convolution(
    low: Lowering, x: Lazy, w: Lazy, steps: Sequence[int], pads: Sequence[int], gaps: Sequence[int], groups: int,
    shape: tuple[Size, ...], dtype: str,
) -> Lazy:  # fmt: skip
    """out[n, o, p] = sum over c, k of x[n, c, p*step - pad + k*gap] * w[o, c, k], group by group."""
    kind = compute(dtype)
    source = _padded(low, x, pads)
    weight = low.operand(w)
    n, channels, out_space, kernel = shape[0], w.shape[1], shape[2:], w.shape[2:]
    per_group = _exact(shape[1], groups)

    def at(index: Indices, rindex: Indices) -> Expr:
        batch, group, o, pixel = index[0], index[1], index[2], index[3:]
        c, taps = rindex[0], rindex[1:]
        place = tuple(p * s - d + k * g for p, s, d, k, g in zip(pixel, steps, pads, taps, gaps, strict=True))
        a = source.at((batch, group * channels + c, *place))
        b = weight.at((group * per_group + o, c, *taps))
        return op("mul", cast(a, kind), cast(b, kind))

    out = low.tensor(shape, dtype)
    low.reduce_into(
        out, (n, groups, per_group, *out_space), (channels, *kernel), "sum", at,
        at=lambda i: (i[0], i[1] * per_group + i[2], *i[3:]),
    )  # fmt: skip
    return out


def _padded(low: Lowering, x: Lazy, pads: Sequence[int]) -> Lazy:
    dims = frozenset(k + 2 for k, p in enumerate(pads) if p)
    return low.with_fill(x, 0.0, dims) if dims else low.operand(x)


def _exact(size: Size, parts: int) -> Size:
    return size // parts if isinstance(size, int) else size / parts


def transposed_convolution(
    low: Lowering, x: Lazy, w: Lazy, steps: Sequence[int], pads: Sequence[int], gaps: Sequence[int], groups: int,
    shape: tuple[Size, ...], dtype: str,
) -> Lazy:  # fmt: skip
    """One Reduce per residue of the output position: each reads only the taps that reach it, no inserted zeros."""
    require(all(isinstance(s, int) for s in (*shape[2:], *w.shape)), "a transposed convolution of a varying size")
    out = low.tensor(shape, dtype)
    source, weight = _padded(low, x, [1] * len(steps)), low.operand(w)
    for residue in _residues(steps):
        _phase(low, out, source, weight, residue, steps, pads, gaps, groups)
    return out


def _residues(steps: Sequence[int]) -> list[tuple[int, ...]]:
    result: list[tuple[int, ...]] = [()]
    for step in steps:
        result = [(*r, k) for r in result for k in range(step)]
    return result


def _phase(
    low: Lowering, out: Lazy, source: Lazy, weight: Lazy, residue: tuple[int, ...], steps: Sequence[int],
    pads: Sequence[int], gaps: Sequence[int], groups: int,
) -> None:  # fmt: skip
    """Outputs p = q*step + residue: the taps k with (p + pad - k*gap) divisible by step, i.e. k = first + t*period."""
    kind = compute(out.dtype)
    per_in, per_out = _exact(weight.shape[0], groups), weight.shape[1]
    space, taps, first, period = [], [], [], []
    for d, (r, step, pad, gap) in enumerate(zip(residue, steps, pads, gaps, strict=True)):
        kernel = int(weight.shape[2 + d])
        fits = [k for k in range(kernel) if (r + pad - k * gap) % step == 0]
        space.append(max(0, -(-(int(out.shape[2 + d]) - r) // step)))
        taps.append(len(fits))
        first.append(fits[0] if fits else 0)
        period.append(fits[1] - fits[0] if len(fits) > 1 else 1)
    if any(s == 0 for s in space):
        return
    offsets = [(r + p - f * g) // s for r, p, f, g, s in zip(residue, pads, first, gaps, steps, strict=True)]
    back = [t * g // s for t, g, s in zip(period, gaps, steps, strict=True)]

    def at(index: Indices, rindex: Indices) -> Expr:
        batch, group, o, pixel = index[0], index[1], index[2], index[3:]
        c, tap = rindex[0], rindex[1:]
        place = tuple(q + off - t * b for q, off, t, b in zip(pixel, offsets, tap, back, strict=True))
        where = tuple(t * p + f for t, p, f in zip(tap, period, first, strict=True))
        a = source.at((batch, group * per_in + c, *place))
        b = weight.at((group * per_in + c, o, *where))
        return op("mul", cast(a, kind), cast(b, kind))

    def store(i: Indices) -> Indices:
        pixel = tuple(q * s + r for q, s, r in zip(i[3:], steps, residue, strict=True))
        return (i[0], i[1] * per_out + i[2], *pixel)

    batch = out.shape[0]
    if any(t == 0 for t in taps):  # no tap reaches these outputs
        zero = pointwise((batch, groups, per_out, *space), out.dtype, lambda: const(0.0, kind))
        low.store(zero, out, store)
        return
    low.reduce_into(out, (batch, groups, per_out, *space), (per_in, *taps), "sum", at, at=store)


@lowers("convolution_backward")
def convolution_backward(
    low: Lowering, grad_output: Lazy, input: Lazy, weight: Lazy, bias_sizes: Any, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: int, output_mask: list[bool],
) -> tuple[Lazy | None, Lazy | None, Lazy | None]:  # fmt: skip
    require(not transposed, "the gradient of a transposed convolution")
    spatial = input.rank - 2
    steps, pads, gaps = _each(stride, spatial), _each(padding, spatial), _each(dilation, spatial)
    grad = grad_output if grad_output.free else low.realise(grad_output)
    to_input = to_weight = to_bias = None
    if output_mask[0]:
        to_input = transposed_convolution(low, grad, weight, steps, pads, gaps, groups, input.shape, input.dtype)
    if output_mask[1]:
        to_weight = _weight_gradient(low, grad, input, weight, steps, pads, gaps, groups)
    if output_mask[2]:
        to_bias = reduced(low, grad, (0, *range(2, grad.rank)), "sum", grad.dtype)
    return to_input, to_weight, to_bias


def _weight_gradient(
    low: Lowering, grad: Lazy, x: Lazy, w: Lazy, steps: Sequence[int], pads: Sequence[int], gaps: Sequence[int],
    groups: int,
) -> Lazy:  # fmt: skip
    """dw[o, c, k] = sum over n, p of grad[n, o, p] * x[n, c, p*step - pad + k*gap]."""
    kind = compute(w.dtype)
    source, upstream = _padded(low, x, pads), low.operand(grad)
    per_out, channels = _exact(w.shape[0], groups), w.shape[1]

    def at(index: Indices, rindex: Indices) -> Expr:
        group, o, c, taps = index[0], index[1], index[2], index[3:]
        batch, pixel = rindex[0], rindex[1:]
        place = tuple(p * s - d + k * g for p, s, d, k, g in zip(pixel, steps, pads, taps, gaps, strict=True))
        a = upstream.at((batch, group * per_out + o, *pixel))
        b = source.at((batch, group * channels + c, *place))
        return op("mul", cast(a, kind), cast(b, kind))

    out = low.tensor(w.shape, w.dtype)
    low.reduce_into(
        out, (groups, per_out, channels, *w.shape[2:]), (grad.shape[0], *grad.shape[2:]), "sum", at,
        at=lambda i: (i[0] * per_out + i[1], *i[2:]),
    )  # fmt: skip
    return out


__all__ = ["contract", "same", "selected", "transposed"]
