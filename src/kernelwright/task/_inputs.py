"""Input structures: how to draw data that a wrong kernel cannot pass by luck, and that the reference still accepts.

A task's own inputs are often uniform in [0, 1): they never meet a negative value, a zero or an overflow. Each structure
redraws the floating tensors by a law of its own; integers, bools and non-tensors stay as the task drew them.

What a tensor *is* limits how it may be redrawn (:class:`Character`, read off the given draw): labels (+-1), one-hot
rows, 0/1 values, rows that sum to one, integral values, triangular, symmetric and non-finite (masks) tensors stay so.
Values that merely are all non-negative or all in [0, 1] may be a probability or just ``torch.rand``: they are drawn
signed when the reference gives no new NaN and does not raise for signed data, and stay in their range otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

#: The structures that ``Reference.draw`` knows. Laws for a free tensor of root mean square ``s`` (``z`` is normal):
#: given: the task's own draw · normal: ``s z`` · constant: one value of few bits ·
#: sparse: ``s z``, 19 of 20 elements zero · sorted: ``s z`` ascending along the last dim ·
#: large: ``1e3 s z`` (less where the reference overflows) · small: ``1e-3 s z`` · offset: ``s (30 + z)`` ·
#: heavy: ``s z exp|z|`` with outliers of ``+-1e3 s`` planted ·
#: special: ``s z`` with NaN, inf, -inf, -0 and denormals at random places.
STRUCTURES = ("given", "normal", "constant", "sparse", "sorted", "large", "small", "offset", "heavy", "special")


@dataclass(frozen=True)
class Character:
    """What redrawing must preserve of a tensor.

    ``kind``: free, fixed (kept as it is), permuted (values or one-hot rows change places), simplex (rows sum to one).
    ``lo``/``hi``: observed range. ``signed``: may leave [lo, hi] when free. ``form``: "", triu, tril, symmetric.
    """

    kind: str
    lo: float
    hi: float
    rms: float
    signed: bool
    rows: bool = False
    form: str = ""

    @property
    def doubtful(self) -> bool:
        """True when only the reference can tell whether the tensor may be drawn signed."""
        return self.kind == "free" and self.lo >= 0.0


def characterise(given: Tensor) -> Character:
    """Read the character of a floating tensor off one draw."""
    if given.numel() == 0 or not bool(torch.isfinite(given).all()):
        return Character("fixed", 0.0, 0.0, 1.0, False)
    data = given.detach().to(torch.float64 if given.dtype == torch.float64 else torch.float32)
    lo, hi = float(data.min()), float(data.max())
    rms = float(data.square().mean().sqrt()) or 1.0
    base = Character("free", lo, hi, rms if math.isfinite(rms) else 1.0, True, form=_form(data))
    if _is_simplex(data, lo, hi):
        one_hot = bool(((data == 0) | (data == 1)).all())
        return replace(base, kind="permuted" if one_hot else "simplex", signed=False, rows=True)
    if data.numel() > 1 and lo != hi and bool((data == data.round()).all()):
        return replace(base, kind="permuted", signed=False)  # labels, 0/1 values, integral values
    return base


def _form(data: Tensor) -> str:
    if data.dim() < 2 or data.shape[-1] != data.shape[-2] or data.shape[-1] < 3:
        return ""
    if not bool(data.tril(-1).any()):
        return "triu"
    if not bool(data.triu(1).any()):
        return "tril"
    return "symmetric" if torch.equal(data, data.mT) else ""


def _is_simplex(data: Tensor, lo: float, hi: float) -> bool:
    if data.dim() < 2 or lo < 0 or hi > 1 or data.shape[-1] < 2:
        return False
    return bool(((data.sum(-1) - 1).abs() < 1e-3).all())


def redraw(given: Tensor, structure: str, character: Character, seed: int, scale: float = 1.0) -> Tensor:
    """A tensor of ``given``'s shape, strides and dtype by the law of ``structure``; ``scale`` tempers "large"."""
    core = compact(given)
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if core.dtype == torch.float64 else torch.float32
    if character.kind == "fixed":
        values = core
    elif character.kind == "permuted":
        values = _permute(core, structure, character.rows, generator)
    else:
        draw = _Draw(tuple(core.shape), dtype, generator, scale)
        values = _shape_values(draw, structure, character, core.dtype)
        if structure == "constant" and character.kind == "free":
            values = _short(values)
    values = _apply_form(values, character.form)
    if values is not core and core.is_contiguous() and core is given and values.dtype == given.dtype:
        return values.contiguous()
    result = clone(given)
    compact(result).copy_(values)
    return result


def _shape_values(draw: _Draw, structure: str, character: Character, dtype: torch.dtype) -> Tensor:
    if character.kind == "simplex":
        values = draw.unit("normal" if structure == "special" else structure) + 1e-6
        return values / values.sum(-1, keepdim=True)
    if character.signed:
        values = draw.signed(structure) * character.rms
        if dtype == torch.float16:
            values = torch.where(values.isfinite(), values.clamp(-6e4, 6e4), values)
        return draw.plant(values) if structure == "special" else values
    if character.hi <= 1.0:
        return draw.unit(structure)
    return draw.signed("normal" if structure == "special" else structure).abs() * character.rms


def resample(given: Tensor, seed: int) -> Tensor:
    """Another draw of the same kind: bootstrapped with jitter inside the range; zeros, constants and forms stay.

    Integers are permuted unless sorted (offsets, positions); bools and non-finite tensors are kept.
    """
    generator = torch.Generator().manual_seed(seed)
    core = compact(given)
    if core.dtype == torch.bool or core.numel() < 2 or core.is_complex():
        return clone(given)
    if not core.is_floating_point():
        flat = core.reshape(-1)
        ordered = bool((core.diff(dim=-1) >= 0).all()) if core.dim() else True
        values = core if ordered else flat[torch.randperm(flat.numel(), generator=generator)].view(core.shape)
    else:
        values = _resample_floats(core, generator)
    result = clone(given)
    compact(result).copy_(values)
    return result


def _resample_floats(core: Tensor, generator: torch.Generator) -> Tensor:
    character = characterise(core)
    if character.kind == "fixed" or character.lo == character.hi:
        return core
    if character.kind == "permuted" or character.kind == "simplex":
        return _permute(core, "given", character.rows, generator)
    flat = core.reshape(-1).to(torch.float64 if core.dtype == torch.float64 else torch.float32)
    picked = flat[torch.randint(flat.numel(), (flat.numel(),), generator=generator)]
    jitter = torch.randn(flat.shape, generator=generator, dtype=flat.dtype) * (0.05 * flat.std())
    values = torch.where(picked == 0, picked, (picked + jitter).clamp(character.lo, character.hi))
    return _apply_form(values.view(core.shape), character.form)


def _short(values: Tensor) -> Tensor:
    """The nearest numbers of five significant bits: sums of a constant are then exact, where the rounding of long
    ones would go the same way every time and grow with their number in the most honest of kernels."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp((mantissa * 32).round() / 32, exponent)


def _permute(core: Tensor, structure: str, rows: bool, generator: torch.Generator) -> Tensor:
    if structure == "constant":
        first = core.reshape(-1, core.shape[-1])[0] if rows else core.reshape(-1)[0]
        return first.expand(core.shape)
    flat = core.reshape(-1, core.shape[-1]) if rows else core.reshape(-1)
    if structure == "sorted" and not rows:
        return flat.sort().values.view(core.shape)
    return flat[torch.randperm(flat.shape[0], generator=generator)].view(core.shape)


def _apply_form(values: Tensor, form: str) -> Tensor:
    if form == "triu":
        return values.triu()
    if form == "tril":
        return values.tril()
    return values.triu() + values.triu(1).mT if form == "symmetric" else values


@dataclass(frozen=True)
class _Draw:
    """Laws of unit scale over a shape."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    generator: torch.Generator
    scale: float

    def normal(self) -> Tensor:
        return torch.randn(self.shape, generator=self.generator, dtype=self.dtype)

    def uniform(self) -> Tensor:
        return torch.rand(self.shape, generator=self.generator, dtype=self.dtype)

    def signed(self, structure: str) -> Tensor:
        return _SIGNED[structure](self)

    def unit(self, structure: str) -> Tensor:
        """The structure's counterpart inside [0, 1]."""
        return _UNIT[structure](self)

    def one(self) -> Tensor:
        return torch.rand((), generator=self.generator, dtype=self.dtype)

    def kept(self, share: float) -> Tensor:
        return self.uniform() < share

    def places(self, count: int) -> Tensor:
        numel = math.prod(self.shape)
        return torch.randint(max(numel, 1), (min(count, numel),), generator=self.generator)

    def outliers(self, values: Tensor) -> Tensor:
        flat = values.view(-1)
        places = self.places(max(2, flat.numel() // 4096))
        flat[places] = torch.where(places % 2 == 0, 1e3, -1e3).to(values.dtype)
        return values

    def plant(self, values: Tensor) -> Tensor:
        """Special values, few enough that most rows stay ordinary."""
        flat = values.contiguous().view(-1)
        each = max(1, min(64, flat.numel() // 4096))
        for special in (math.nan, math.inf, -math.inf, -0.0, 1e-40, -1e-40):
            flat[self.places(each)] = special
        return flat.view(self.shape)

    def edges(self) -> Tensor:
        """[0, 1] with its ends, -0 and a denormal planted."""
        flat = self.uniform().view(-1)
        for special in (0.0, 1.0, -0.0, 1e-40):
            flat[self.places(max(1, flat.numel() // 64))] = special
        return flat.view(self.shape)


def _ascending(values: Tensor) -> Tensor:
    return torch.from_numpy(np.sort(values.numpy(), axis=-1)) if values.dim() else values  # torch sorts indices, too


_Law = Callable[[_Draw], Tensor]
_SIGNED: dict[str, _Law] = {
    "normal": lambda d: d.normal(),
    "constant": lambda d: (0.5 + d.one()).expand(d.shape).clone(),
    "sparse": lambda d: d.normal() * d.kept(0.05),
    "sorted": lambda d: _ascending(d.normal()),
    "large": lambda d: d.normal() * (1e3 * d.scale),
    "small": lambda d: d.normal() * 1e-3,
    "offset": lambda d: d.normal() + 30.0,
    "heavy": lambda d: d.outliers(_heavy(d.normal())),
    "special": lambda d: d.normal(),
}
_UNIT: dict[str, _Law] = {
    "normal": lambda d: d.uniform(),
    "constant": lambda d: (0.25 + 0.5 * d.one()).expand(d.shape).clone(),
    "sparse": lambda d: d.uniform() * d.kept(0.05),
    "sorted": lambda d: _ascending(d.uniform()),
    "large": lambda d: 1.0 - 1e-3 * d.uniform(),
    "small": lambda d: 1e-3 * d.uniform(),
    "offset": lambda d: 0.5 + 0.05 * (d.uniform() - 0.5),
    "heavy": lambda d: d.uniform() ** 8,
    "special": lambda d: d.edges(),
}


def _heavy(z: Tensor) -> Tensor:
    return z * z.abs().clamp(max=4.0).exp()


def compact(tensor: Tensor) -> Tensor:
    """The tensor without the repeats of expanded (stride 0) dimensions, so that it can be written."""
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def clone(tensor: Tensor) -> Tensor:
    """A detached copy in memory of its own with the same strides, also of views and expanded tensors."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return tensor.clone()
    core = compact(tensor)
    copy = core.clone() if core.is_contiguous() else _clone_strided(core)
    return copy.expand(tensor.shape) if core.shape != tensor.shape else copy


def _clone_strided(core: Tensor) -> Tensor:
    extent = 1 + sum((size - 1) * stride for size, stride in zip(core.shape, core.stride(), strict=True))
    copy = torch.empty(extent, dtype=core.dtype).as_strided(core.shape, core.stride())
    return copy.copy_(core)
