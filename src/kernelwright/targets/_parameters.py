"""How a Python candidate comes by the reference's parameters: by name, by its own ``load_state_dict``, or by value.

The judge computes with other parameters than the task's own too, and a kernel must follow. What a class holds under the
reference's names, in the same shape and dtype, is the reference's own memory. A class that packs, joins or renames says
how in ``load_state_dict``, which gets the reference's state whenever that changes. Where it does not, a tensor that it
drew as the reference did is recognised by its values, its axes permuted or joined. What is left is ``missing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import torch
from torch import Tensor, nn

from ..errors import NoGradient

_GLANCE = 64  # elements that differ nearly always where tensors do
_MOST_AXES = 5


@dataclass(frozen=True)
class _Copy:
    """``own`` is ``state[name]`` with its axes in the order ``axes``, in the shape of ``own``."""

    own: Tensor
    name: str
    axes: tuple[int, ...]

    def refresh(self, source: Tensor) -> None:
        self.own.copy_(source.permute(self.axes).reshape(self.own.shape))

    def turn_back(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """The gradient in ``own`` as that in the source, which has ``shape``."""
        turned = gradient.reshape([shape[axis] for axis in self.axes])
        return turned.permute([self.axes.index(axis) for axis in range(len(self.axes))])


class Parameters:
    """Binds a module to the reference's ``state``. ``missing``: entries that the module has no way to follow."""

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        self._module, self._state = module, state
        self._copies: list[_Copy] = []
        self._followed: list[str] = []  # those that were recognised by value
        own = _entries(module)
        shared = {n for n, t in own.items() if n in state and _form(t) == _form(state[n])}
        self._trained = {n for n in shared if own[n].requires_grad}  # before they become the reference's own
        for name in shared:
            _put(module, name, state[name])
        self._loads = _takes_state(module)
        if not self._loads:
            self._find({n: t for n, t in own.items() if n not in shared}, [n for n in state if n not in shared])
        followed = shared | set(self._followed)
        self.missing = () if self._loads else tuple(n for n in state if n not in followed)
        self.follow()

    def follow(self) -> None:
        """Take over what the state is now; what is shared needs no more."""
        with torch.no_grad():
            for copy in self._copies:
                copy.refresh(self._state[copy.name].detach())
            if self._loads:
                self._module.load_state_dict({n: t.detach().clone() for n, t in self._state.items()})

    def trained(self, names: Sequence[str]) -> tuple[list[Tensor], dict[str, Callable[[Tensor], Tensor]]]:
        """The module's own tensors for these entries, and, by name, how a gradient in one is turned as the entry lies.

        Raises ``NoGradient`` where the module holds none, or one without gradients.
        """
        copies = {copy.name: copy for copy in self._copies}
        own: list[Tensor] = []
        turns: dict[str, Callable[[Tensor], Tensor]] = {}
        held = {id(tensor) for tensor in _entries(self._module).values()}
        for name in names:
            copy, entry = copies.get(name), self._state[name]
            if copy is None and id(entry) not in held:
                raise NoGradient(
                    f"it has no parameter that is the reference's {name}, and the task asks for gradients in {name}"
                )
            own.append(entry if copy is None else copy.own)
            if name not in self._trained:
                raise NoGradient(f"it holds {name} without gradients, and the task asks for gradients in it")
            if copy is not None:
                turns[name] = partial(copy.turn_back, shape=entry.shape)
        return own, turns

    def _find(self, own: Mapping[str, Tensor], names: list[str]) -> None:
        """Recognise by value; of equal ones in the order in which both sides have them."""
        for mine, tensor in own.items():
            left = [n for n in names if n not in self._followed]
            for name in (*left, *self._followed):  # tied ones last
                axes = _same_values(tensor.detach(), self._state[name].detach())
                if axes is None:
                    continue
                if tensor.requires_grad:
                    self._trained.add(name)
                if axes == tuple(range(len(axes))) and tensor.shape == self._state[name].shape:
                    _put(self._module, mine, self._state[name])
                else:
                    self._copies.append(_Copy(tensor, name, axes))
                self._followed.append(name)
                break


def _takes_state(module: nn.Module) -> bool:
    return type(module).load_state_dict is not nn.Module.load_state_dict or any(
        m._load_state_dict_pre_hooks or type(m)._load_from_state_dict is not nn.Module._load_from_state_dict
        for m in module.modules()
        if not type(m).__module__.startswith("torch.")
    )


def _entries(module: nn.Module) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    where, _, leaf = name.rpartition(".")
    holder = module.get_submodule(where)
    (holder._parameters if leaf in holder._parameters else holder._buffers)[leaf] = tensor  # type: ignore[assignment]


def _same_values(own: Tensor, other: Tensor) -> tuple[int, ...] | None:
    """The order of axes in which ``other`` has the values of ``own``, element for element; None: in none."""
    if own.numel() != other.numel() or own.dtype != other.dtype or own.numel() == 0:
        return None
    for axes in _orders(other):
        turned = other.permute(axes)
        if torch.equal(_head(turned), _head(own)) and torch.equal(turned.reshape(own.shape), own):
            return axes
    return None


def _orders(other: Tensor) -> Iterator[tuple[int, ...]]:
    """As it is, then turned."""
    yield tuple(range(other.dim()))
    if 1 < other.dim() <= _MOST_AXES:
        yield from list(permutations(range(other.dim())))[1:]


def _head(tensor: Tensor) -> Tensor:
    """The first elements in the order of the axes, without a copy of all."""
    while tensor.dim() > 1 and tensor[0].numel() >= _GLANCE:
        tensor = tensor[0]
    return tensor.reshape(-1)[:_GLANCE]
