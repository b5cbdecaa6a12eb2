"""Other values for the reference's parameters and buffers: a kernel must use them, not the values it was made beside.

A task's own state says little about a kernel: biases are zero, norms' weights are one, running statistics are those of
nothing at all, and in a deep net of default weights the last bias is all that is left of the signal. So some cases
redraw the state, for the reference and the candidate alike, by the boldest of three laws that the reference accepts:

lively: matrices are normal and preserve the variance of what goes through them (never smaller than they were);
near:   every tensor is resampled from its own values, inside its range;
kept:   only tensors of one constant move.

In each of them a tensor of zeros becomes ``z / 4`` (``z`` is normal), any other constant keeps its sign and is
multiplied by ``exp(z / 2)`` (one too small to matter becomes ``|z| / 4``), and what must not move stays: bools, sorted
integers (offsets), 0/1 values with a form (masks), tensors with infinities. Accepted is what neither raises nor turns
finite results into NaN, infinity or numbers of another order.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import InputsInvalid
from ..task import Character, characterise, clone, redraw, resample

LAWS = ("lively", "near", "kept")
_LARGE = 1 << 20  # elements of which each is not worth a random number: a rotation makes all others
_TINY = 1e-2
_GROWTH = 1e4  # of the largest result, before the state counts as unfit for the reference
_Place = tuple[int, torch.Size, tuple[int, ...]]


class State:
    """The live tensors of a reference's state, which are the task's own (``seed`` 0) or a redraw of them."""

    def __init__(self, live: Mapping[str, Tensor]) -> None:
        self.live = live
        self.seed = 0
        self.law: str | None = None  # None: not settled; "": none
        self._given: dict[str, Tensor] = {}

    def use(self, seed: int, largest: Callable[[], float]) -> None:
        """Write the state of this seed, equal for equal seeds.

        ``largest()`` runs the reference with the state as it is and says the largest result (NaN: it fails). Raises
        ``InputsInvalid`` when the reference stands no state but its own; it has that again then.
        """
        if self.law is None:
            copies = {_place(t): t.detach().clone() for t in self.live.values()}
            self._given = {name: copies[_place(t)] for name, t in self.live.items()}
            self.law = self._settle(seed, largest)
        self.seed = seed if self.law else 0
        self._write(redraw_state(self._given, self.law, seed) if self.seed and self.law else self._given)
        if self.seed != seed:
            raise InputsInvalid("The reference stands no other parameters than its own.")

    def _settle(self, seed: int, largest: Callable[[], float]) -> str:
        if not any(t.is_floating_point() or t.numel() > 1 for t in self._given.values()):
            return ""
        usual = largest()
        for law in LAWS:
            new = redraw_state(self._given, law, seed)
            if all(torch.equal(new[name], tensor) for name, tensor in self._given.items()):
                continue  # there is nothing that this law moves
            self._write(new)
            if largest() <= _GROWTH * max(usual, 1.0):
                return law
        return ""

    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self.live.items():
            tensor.detach().copy_(values[name])


def redraw_state(given: Mapping[str, Tensor], law: str, seed: int) -> dict[str, Tensor]:
    """New values for every entry, in its shape and dtype; entries that share memory are drawn alike."""
    drawn: dict[_Place, Tensor] = {}
    for name, tensor in given.items():
        key = _place(tensor)
        if key not in drawn:
            drawn[key] = _redraw(tensor, law, zlib.crc32(f"{seed}/{name}".encode()), "var" in name.rsplit(".", 1)[-1])
    return {name: drawn[_place(tensor)] for name, tensor in given.items()}


def _place(tensor: Tensor) -> _Place:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _redraw(given: Tensor, law: str, seed: int, positive: bool) -> Tensor:
    if not given.is_floating_point() or given.numel() == 0:
        return resample(given, seed) if law != "kept" and given.numel() else clone(given)
    character = characterise(given)
    if character.kind == "fixed":
        return clone(given)
    if character.lo == character.hi:
        return _moved_constant(given, character.lo, law, positive, torch.Generator().manual_seed(seed))
    if law == "kept" or (character.kind == "permuted" and character.form):
        return clone(given)
    gain = _gain(given, character) if law == "lively" else 1.0
    if given.numel() >= _LARGE and not character.form:
        return _rotated(given, seed).mul_(gain)
    if gain > 1.0:
        return redraw(given, "normal", character, seed).mul_(gain)
    return resample(given, seed)


def _moved_constant(given: Tensor, value: float, law: str, positive: bool, generator: torch.Generator) -> Tensor:
    z = torch.randn(given.shape, generator=generator)
    if value == 0.0:
        values = 0.25 * (z.abs() if positive else z)
    elif abs(value) < _TINY and law == "lively" and given.numel() > 1:
        values = 0.25 * z.abs() * math.copysign(1.0, value)
    else:
        values = value * torch.exp(0.5 * z)
    result = clone(given)
    result.copy_(values)
    return result


def _gain(given: Tensor, character: Character) -> float:
    """What a matrix of random signs lacks to hand on the variance of its input through a relu."""
    if given.dim() < 2 or character.kind != "free" or not character.lo < 0.0 < character.hi:
        return 1.0
    terms = given.numel() / max(given.shape[0], 1)
    return max(1.0, math.sqrt(2.0 / max(terms, 1.0)) / character.rms)


def _rotated(given: Tensor, seed: int) -> Tensor:
    shift = 1 + seed % (given.numel() - 1)
    result = clone(given)
    result.copy_(given.detach().reshape(-1).roll(shift).view(given.shape))
    return result
