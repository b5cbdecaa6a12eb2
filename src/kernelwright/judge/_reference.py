"""Runs the plain reference: as the user runs it, and in float64, on ordinary and on slightly perturbed values.

A run's answer is one flat list of tensors: the returned ones, then the state entries the reference changes (running
statistics), then the arguments it changes in place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ..task import Reference
from ._arena import clone
from ._weights import State

Tensors = list[torch.Tensor]
_MATMULS = {"mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot"}
_HALVES = (torch.bfloat16, torch.float16)
_FLOATS = (*_HALVES, torch.float32)
_ALONG_DIM = {"_softmax", "_log_softmax", "cumsum", "cumprod", "logcumsumexp"}
_MOVES = {"index", "gather", "embedding", "index_select", "masked_select", "take", "empty", "copy", "_to_copy", "clone"}


@dataclass(frozen=True)
class Answer:
    """``tensors``: returned ones, changed state, changed arguments; ``others``: returned values that are no tensors."""

    tensors: Tensors
    others: list[Any]
    tree: str


class Runner:
    """The reference with its state under control: every run starts from the same state and the same random stream."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.pristine: dict[str, torch.Tensor] = {}  # only of state that the reference changes
        self.changed_args: list[int] = []
        self._double: Callable[..., Any] | None = None
        self.double_fault = ""
        self.narrow = False  # casts to half types inside (set by whoever watched a run)
        self.wide = False  # exact answers need more digits than float64 has (set by whoever found that)
        self.state = State(reference.state)

    def discover(self, args: tuple[Any, ...], seed: int) -> Answer:
        """First run: find out what the reference changes besides its results."""
        before = {name: tensor.detach().clone() for name, tensor in self.reference.state.items()}
        work = clone_tree(args)
        answer = self._call(self.reference.call, work, seed)
        state = self.reference.state
        self.pristine = {n: t for n, t in before.items() if not same_bits(t, state[n].detach())}
        given, after = tensor_leaves(args), tensor_leaves(work)
        self.changed_args = [k for k, (a, b) in enumerate(zip(given, after, strict=True)) if not same_bits(a, b)]
        return self._complete(answer, state, work)

    def restore(self) -> None:
        for name, tensor in self.pristine.items():
            self.reference.state[name].detach().copy_(tensor)

    def use_state(self, seed: int, args: tuple[Any, ...] = ()) -> None:
        """The task's own state (0) or another one; the reference is asked on ``args`` which it stands (:class:`State`).

        Raises ``InputsInvalid`` when there is no other.
        """
        if seed == self.state.seed:
            return
        self.restore()
        try:
            self.state.use(seed, lambda: self._largest(args))
        finally:
            self._keep_changing()

    def _keep_changing(self) -> None:
        for name in self.pristine:
            self.pristine[name] = self.reference.state[name].detach().clone()

    def _largest(self, args: tuple[Any, ...]) -> float:
        """The largest number in the reference's answer; NaN where it fails."""
        self._keep_changing()
        try:
            answer = self.eager(args, 0)
        except Exception as error:  # the user's code, with values it may not be made for
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise
            return float("nan")
        finally:
            self.restore()
        sizes = [t.abs().max().double() for t in answer.tensors if t.is_floating_point() and t.numel()]
        return float(torch.stack(sizes).max()) if sizes else 0.0

    def eager(self, args: tuple[Any, ...], seed: int) -> Answer:
        """As the user runs it."""
        self.restore()
        work = clone_tree(args) if self.changed_args else args
        answer = self._call(self.reference.call, work, seed)
        return self._complete(answer, self.reference.state, work)

    def exact(self, args: tuple[Any, ...], seed: int, noise: float = 0.0, noise_seed: int = 0) -> Answer:
        """In float64 (where that fails, see ``double_fault``, in its own precision), on values off by ``noise``.

        On the values as they are: with 106 bits and rounded to float64, if the runner is set to ``wide``.
        """
        generator = torch.Generator().manual_seed(noise_seed)
        if not self.double_fault:
            try:
                return self._exact(args, seed, noise, generator, self._digits() if not noise else None)
            except Exception as error:  # the user's code: anything may come
                if isinstance(error, MemoryError) or "allocate memory" in str(error):
                    raise
                if self.wide and not noise:  # rather fewer digits than none
                    self.wide = False
                    return self.exact(args, seed)
                self.double_fault = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        self.restore()
        work = pytree.tree_map(lambda leaf: _perturbed(leaf, noise, generator, None), args)
        return self._complete(self._call(self.reference.call, work, seed), self.reference.state, work)

    def _digits(self) -> AbstractContextManager[Any] | None:
        from ._wide import Wide

        return Wide() if self.wide else None

    def rounded(self, args: tuple[Any, ...], seed: int, noise_seed: int, dtype: torch.dtype) -> Answer:
        """In float64 with the roundings of another honest implementation's ``dtype`` (:class:`Rounding`)."""
        from ._rounding import Rounding

        rounding = Rounding(noise_seed, dtype=dtype, one_pass=noise_seed % 4 == 3)
        return self._exact(args, seed, 0.0, torch.Generator(), rounding)

    def _exact(
        self,
        args: tuple[Any, ...],
        seed: int,
        noise: float,
        generator: torch.Generator,
        around: AbstractContextManager[Any] | None = None,
    ) -> Answer:
        call = self._double_call()
        state = self._load_double(call, noise, generator)
        work = pytree.tree_map(lambda leaf: _perturbed(leaf, noise, generator, torch.float64), args)
        with _default_dtype(torch.float64), around or nullcontext(), Widened() if self.narrow else nullcontext():
            answer = self._call(call, work, seed)
        return self._complete(answer, state, work)

    def _double_call(self) -> Callable[..., Any]:
        if self._double is None:
            call = self.reference.call
            self._double = copy.deepcopy(call).double() if isinstance(call, torch.nn.Module) else call
        return self._double

    def _load_double(
        self, call: Callable[..., Any], noise: float, generator: torch.Generator
    ) -> Mapping[str, torch.Tensor]:
        if not isinstance(call, torch.nn.Module):
            return {}
        own = {**dict(call.named_parameters()), **dict(call.named_buffers())}
        for name, tensor in own.items():
            source = self.pristine.get(name)
            source = self.reference.state[name].detach() if source is None else source
            tensor.detach().copy_(_perturbed(source, noise, generator, tensor.dtype))
        return own

    def _call(self, call: Callable[..., Any], args: tuple[Any, ...], seed: int) -> Answer:
        torch.manual_seed(seed)
        with torch.no_grad():
            result = call(*args)
        leaves, spec = pytree.tree_flatten(result)
        tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return Answer(tensors, [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)], str(spec))

    def _complete(self, answer: Answer, state: Mapping[str, torch.Tensor], args: tuple[Any, ...]) -> Answer:
        after = tensor_leaves(args)
        extra = [state[name].detach().clone() for name in self.pristine] + [after[k] for k in self.changed_args]
        tensors = [t.clone() for t in answer.tensors] if self.pristine else answer.tensors
        return Answer(tensors + extra, answer.others, answer.tree)


class ReductionLength(TorchDispatchMode):
    """Watches a run and keeps the longest reduction of any operator in it."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 1
        self.narrow = False  # does the reference itself compute in a half type?

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in the oracle, and importing torch._dynamo to say so takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.longest = max(self.longest, reduction_length(func.overloadpacket.__name__, args, result))
            self.narrow |= any(t.dtype in _HALVES for t in tensor_leaves(result))
        return result


class Widened(TorchDispatchMode):
    """Around a float64 run of a reference that casts to a half type: the cast rounds values, and they stay float64.

    Otherwise the "exact" answer would itself be a half type's arithmetic, and a candidate that carries more digits
    between two casts (as any fusion does) would be wrong for being better.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as above

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        dtype = kwargs.get("dtype")
        if func.overloadpacket.__name__ == "_to_copy" and args[0].dtype == torch.float64 and dtype in _FLOATS:
            rounded = func(*args, **kwargs) if dtype in _HALVES else args[0]
            return rounded.to(torch.float64, copy=True)
        return func(*args, **kwargs)


def reduction_length(name: str, args: Sequence[Any], result: Any) -> int:
    inputs = tensor_leaves(args)
    outputs = [t for t in tensor_leaves(result) if t.numel()]
    if not inputs or not outputs or name.rstrip("_") in _MOVES:
        return 1
    if name in _MATMULS:
        return int(inputs[-2].shape[-1])
    if name == "convolution":
        kernel = inputs[1]
        return int(kernel.numel() // max(kernel.shape[1 if args[6] else 0], 1))
    if name in _ALONG_DIM and inputs[0].dim():
        return int(inputs[0].shape[args[1]])
    if "attention" in name:
        return max(int(size) for t in inputs[:3] for size in t.shape[-2:])
    if "rnn" in name or "lstm" in name or "gru" in name:
        return max(int(t.shape[-1]) for t in inputs if t.dim())
    return int(max(t.numel() for t in inputs) // min(t.numel() for t in outputs))


def tensor_leaves(tree: Any) -> Tensors:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def clone_tree(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: clone(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.numel() == 0:
        return True
    if a.is_contiguous() and b.is_contiguous():
        width = {1: torch.uint8, 2: torch.int16, 4: torch.int32}.get(a.element_size(), torch.int64)
        return torch.equal(_bits(a, width), _bits(b, width))
    return same_bits(a.contiguous(), b.contiguous())


def _bits(x: torch.Tensor, width: torch.dtype) -> torch.Tensor:
    return torch.view_as_real(x.resolve_conj()).view(-1).view(torch.uint8) if x.is_complex() else x.view(-1).view(width)


def _perturbed(leaf: Any, noise: float, generator: torch.Generator, dtype: torch.dtype | None) -> Any:
    """The leaf with floating values in ``dtype`` (None: their own), every element off by the relative noise."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    if leaf.is_complex():
        result = leaf.to(torch.complex128) if dtype else leaf.clone()
    elif leaf.is_floating_point():
        result = leaf.to(dtype or leaf.dtype, copy=True)
    else:
        return leaf.clone()
    if noise:
        # Four values, 3/4 and 5/4 of either sign: of two alone, operands that cancel would move together half the time.
        step = torch.randint(0, 4, leaf.shape, generator=generator, dtype=torch.int8).to(torch.float64)
        size = step.remainder(2.0).mul_(0.5).add_(0.75).mul_(noise)
        result.mul_(torch.where(step < 2.0, size, -size).add_(1.0).to(result.real.dtype))
    return result


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
