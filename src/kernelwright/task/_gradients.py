"""A task with gradients is a task like any other, of another callable: one that takes cotangents and gives gradients.

Where the reference is called with ``(x, w)``, it is now called with ``(x, w, cotangents)`` and returns
``(result, gradients)``, those of <result, cotangents>. What draws inputs, bounds errors, times and stores need not know
more. Forward and backward are two steps (:meth:`Differentiated.start`, :meth:`Differentiated.finish`): cotangents can
be kept from whoever computes the result.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kernelwright.errors import InputsInvalid, NoGradient
from kernelwright.task._inputs import Character, redraw

Sources = Callable[[], Sequence[Tensor]]
Turn = Callable[[Tensor], Tensor]  # the gradient in what a callable holds to that in what the reference holds

_UNIT = Character("free", -1.0, 1.0, 1.0, True)
_LAWS = ("sparse", "small", "offset", "constant")  # of inputs that cotangents follow; else they are normal


@dataclass(frozen=True)
class Gradients:
    """In what gradients are asked: ``inputs`` by position among the tensor arguments, ``parameters`` by name.

    ``titles`` name them to people, in the order in which the gradients are returned.
    """

    inputs: tuple[int, ...]
    parameters: tuple[str, ...]
    titles: tuple[str, ...]

    @property
    def listed(self) -> str:
        """The titles as people list them."""
        *most, last = self.titles
        return f"{', '.join(most)} and {last}" if most else last


@dataclass
class Form:
    """What one look at the reference told: ``outputs``, the positions of the results that carry gradients, and
    ``reached``, those of the gradients that are more than zeros."""

    outputs: tuple[int, ...] = ()
    reached: tuple[bool, ...] = ()


@dataclass
class Started:
    """A forward pass whose backward pass is still to come."""

    result: Any
    sources: list[Tensor]


class Differentiated:
    """A callable whose results carry gradients, as one that takes cotangents too and returns gradients with them.

    ``parameters`` gives the tensors to differentiate by besides the arguments, in the order of ``asked.parameters``;
    ``turns``, by name, where they lie in another order than the reference's. Raises ``NoGradient`` where the callable
    gives none although the reference does.
    """

    def __init__(
        self, call: Callable[..., Any], asked: Gradients, form: Form, parameters: Sources,
        turns: Mapping[str, Turn] | None = None,
    ) -> None:  # fmt: skip
        self.call, self.asked, self.form, self.parameters = call, asked, form, parameters
        turned = [(turns or {}).get(name) for name in asked.parameters]
        self._turns: list[Turn | None] = [*(None for _ in asked.inputs), *turned]

    def __call__(self, *args: Any) -> Any:
        return self.finish(self.start(args[:-1]), args[-1])

    def start(self, args: tuple[Any, ...]) -> Started:
        """The forward pass, on leaves of its own."""
        leaves, spec = pytree.tree_flatten(args)
        places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        for position in self.asked.inputs:
            leaves[places[position]] = leaves[places[position]].detach().requires_grad_()
        sources = [leaves[places[position]] for position in self.asked.inputs]
        with torch.enable_grad():
            result = self.call(*pytree.tree_unflatten(leaves, spec))
        return Started(result, [*sources, *self.parameters()])

    def finish(self, started: Started, cotangents: Sequence[Tensor]) -> tuple[Any, tuple[Tensor, ...]]:
        """The backward pass. Results of another form than the reference's get zeros: their form is what is wrong."""
        leaves = [leaf for leaf in pytree.tree_leaves(started.result) if isinstance(leaf, Tensor)]
        plain = pytree.tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, started.result)
        chosen = [leaves[k] for k in self.form.outputs if k < len(leaves)]
        fits = len(chosen) == len(cotangents) and all(
            mine.shape == its.shape and mine.dtype == its.dtype for mine, its in zip(chosen, cotangents, strict=True)
        )
        if not fits:
            return plain, tuple(torch.zeros_like(source) for source in started.sources)
        self._demand(chosen)
        with torch.enable_grad():
            found = torch.autograd.grad(chosen, started.sources, list(cotangents), allow_unused=True)
        return plain, tuple(
            self._whole(gradient, source, k)
            for k, (gradient, source) in enumerate(zip(found, started.sources, strict=True))
        )

    def _demand(self, outputs: Sequence[Tensor]) -> None:
        for k, output in zip(self.form.outputs, outputs, strict=True):
            if not output.requires_grad:
                which = "the output" if len(outputs) == 1 else f"output {k}"
                raise NoGradient(
                    f"{which} carries no gradient although the task asks for gradients in {self.asked.listed}"
                )

    def _whole(self, gradient: Tensor | None, source: Tensor, k: int) -> Tensor:
        turn = self._turns[k]
        if gradient is not None:
            return gradient.detach() if turn is None else turn(gradient.detach())
        if self.form.reached[k]:
            raise NoGradient(
                f"the output carries no gradient in {self.asked.titles[k]} although the task asks for gradients in it"
            )
        zeros = torch.zeros_like(source)
        return zeros if turn is None else turn(zeros)


class WithGradients(nn.Module):
    """The reference with gradients; a module, so that its parameters keep their names.

    ``cotangents(args, seed, structure)`` draws them for a call with ``args``.
    """

    inner: Callable[..., Any]

    def __init__(self, call: Callable[..., Any], asked: Gradients, name: str) -> None:
        super().__init__()
        self.asked, self.form, self.name = asked, Form(), name
        self.__dict__["inner"] = call  # no child: its parameters would have other names
        if isinstance(call, nn.Module):  # the very dictionaries: what is cast or replaced in one is in the other
            for shared in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training"):
                self.__dict__[shared] = call.__dict__[shared]
        self._shapes: dict[tuple[Any, ...], list[tuple[torch.Size, torch.dtype]]] = {}

    def forward(self, *args: Any) -> Any:
        return Differentiated(self.inner, self.asked, self.form, self._wanted)(*args)

    def around(
        self, call: Callable[..., Any], held: Sequence[Tensor] | None = None, turns: Mapping[str, Turn] | None = None
    ) -> Differentiated:
        """The same for whoever claims to compute what the reference does; ``held``: its own parameters, if it has any.

        See :class:`Differentiated` for ``turns``.
        """
        mine = list(self._wanted()) if held is None else list(held)
        return Differentiated(call, self.asked, self.form, lambda: mine, turns)

    def cotangents(self, args: tuple[Any, ...], seed: int, structure: str) -> tuple[Tensor, ...]:
        """One for each result that carries gradients."""
        key = tuple((tuple(t.shape), t.dtype) for t in pytree.tree_leaves(args) if isinstance(t, Tensor))
        if key not in self._shapes:
            self._shapes[key] = self._look(args)
        law = structure if structure in _LAWS else "normal"
        return tuple(
            redraw(torch.empty(shape, dtype=dtype), law, _UNIT, zlib.crc32(f"{seed}/cotangent {k}".encode()))
            for k, (shape, dtype) in enumerate(self._shapes[key])
        )

    def _wanted(self) -> Sequence[Tensor]:
        if not self.asked.parameters:
            return ()
        own = dict(self.named_parameters(remove_duplicate=False))
        return [own[name] for name in self.asked.parameters]

    def _look(self, args: tuple[Any, ...]) -> list[tuple[torch.Size, torch.dtype]]:
        """Call the reference once to see what its results look like; its state and the random stream stay."""
        probe = Differentiated(self.inner, self.asked, self.form, self._wanted)
        work = pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, args)
        before = {name: tensor.detach().clone() for name, tensor in self.named_buffers()}
        with torch.random.fork_rng(devices=[]):
            started = probe.start(work)
        for name, tensor in self.named_buffers():
            tensor.data.copy_(before[name])  # not as an operation: autograd may have kept what it changes
        leaves = [leaf for leaf in pytree.tree_leaves(started.result) if isinstance(leaf, Tensor)]
        outputs = tuple(k for k, leaf in enumerate(leaves) if leaf.requires_grad)
        if not outputs:
            raise InputsInvalid(
                f"The outputs of {self.name} have no gradients in {self.asked.listed}; judge it without gradients."
            )
        if not self.form.outputs:
            found = torch.autograd.grad(
                [leaves[k] for k in outputs], started.sources, [torch.ones_like(leaves[k]) for k in outputs],
                allow_unused=True,
            )  # fmt: skip
            self.form.outputs, self.form.reached = outputs, tuple(g is not None for g in found)
        return [(leaves[k].shape, leaves[k].dtype) for k in outputs]


def asked_gradients(
    call: Callable[..., Any], given: tuple[Any, ...], state: Mapping[str, Tensor], name: str, *, everything: bool
) -> Gradients | None:
    """In what a task asks for gradients: in the inputs that require them, or (``everything``) in all floating ones.

    Parameters that require gradients are asked for as well. None: in nothing.
    """
    tensors = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
    inputs = tuple(k for k, tensor in enumerate(tensors) if tensor.requires_grad)
    if not inputs and not everything:
        return None
    if not inputs:
        inputs = tuple(k for k, t in enumerate(tensors) if t.is_floating_point() or t.is_complex())
    trained = {id(t): n for n, t in reversed(list(state.items())) if isinstance(t, nn.Parameter) and t.requires_grad}
    parameters = tuple(n for n, t in state.items() if trained.get(id(t)) == n)  # tied ones once
    if not inputs and not parameters:
        raise InputsInvalid(
            f"{name} has no floating inputs and no parameters that require gradients; judge it without gradients."
        )
    names = _names(call, given)
    return Gradients(inputs, parameters, (*(names[k] for k in inputs), *parameters))


def _names(call: Callable[..., Any], given: tuple[Any, ...]) -> list[str]:
    """Names of the tensor arguments; of one inside a list or the like, that of the whole with its position."""
    try:
        signature = inspect.signature(call.forward if isinstance(call, nn.Module) else call)
        known = [
            p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):  # builtins without one
        known = []
    names: list[str] = []
    for k, argument in enumerate(given):
        title = known[k] if k < len(known) else f"argument {k}"
        inside = [leaf for leaf in pytree.tree_leaves(argument) if isinstance(leaf, Tensor)]
        names += [title] if isinstance(argument, Tensor) else [f"{title}[{i}]" for i in range(len(inside))]
    return names
