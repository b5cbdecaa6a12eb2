"""What a reference costs: flops, least traffic, and what eager execution moves, counted without computing anything.

The reference runs on fake tensors under a dispatch mode that sees every ATen operator. Conventions: contractions,
convolutions and attention by :mod:`torch.utils.flop_counter` (2 per multiply-add); pointwise operators 1 per output
element; reductions and scans 1 per input element; softmax 5 and normalisation 8 per element; pooling 1 per element of a
window; views, copies and gathers 0.
"""

from __future__ import annotations

import contextlib
import copy
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from kernelwright.task._task import Cost

_aten = torch.ops.aten
_PER_ELEMENT = {"softmax": 5, "log_softmax": 5, "layer_norm": 8, "group_norm": 8, "batch_norm": 8, "rms_norm": 4}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REDUCTIONS = _names(
    "sum mean prod amax amin max min argmax argmin var std var_mean std_mean norm linalg_vector_norm logsumexp any all "
    "cumsum cumprod cummax cummin logcumsumexp sort topk median nansum count_nonzero aminmax nll_loss_forward "
    "nll_loss2d_forward l1_loss mse_loss"
)
_FREE = _names(
    "copy copy_ _to_copy clone contiguous cat stack gather index index_select embedding take scatter scatter_ "
    "constant_pad_nd empty zeros ones full arange rand randn randint fill_ zero_ repeat roll flip tril triu "
    "masked_select nonzero slice_scatter select_scatter index_put index_put_ lift_fresh where"
)
_GATHERS = _names("embedding index index_select gather take slice select narrow as_strided")


@dataclass
class Trace:
    """Totals of one run on fake tensors: ``flops``, ``traffic`` (bytes eager moves), ``peak`` (bytes alive at once)
    and ``steps`` (name, output shapes, what is reduced over) of every operator in order."""

    flops: float = 0.0
    traffic: float = 0.0
    live: int = 0
    peak: int = 0
    steps: list[Step] = field(default_factory=list)
    read: dict[int, float] = field(default_factory=dict)  # storage -> bytes of it that some operator read


@dataclass(frozen=True)
class Step:
    """One operator's run: its packet's name, arguments and results (fake tensors' shapes)."""

    op: str
    reduced: tuple[int, ...]


def cost(reference: Callable[..., Any], args: tuple[Any, ...]) -> Cost:
    """Flops of one call and the bytes it must at least move: inputs and parameters that are read, plus outputs.

    ``args`` may be real or fake tensors; nothing is computed and neither they nor the module change. Raises whatever
    the reference raises on fake tensors (e.g. for sizes that depend on data).
    """
    with fake_mode(args) as mode:
        inputs = pytree.tree_map(lambda leaf: to_fake(leaf, mode), args)
        call = to_fake_module(reference, mode)
        output, trace = trace_call(call, inputs)
    state = list(call.parameters()) + list(call.buffers()) if isinstance(call, nn.Module) else []
    return _total(trace, [*_tensors(inputs), *state], _tensors(inputs), _tensors(output))


def measured_cost(call: Callable[[], Any], inputs: list[Tensor], state: list[Tensor]) -> Cost:
    """The same of one real run; for processes where importing what fake tensors need would take longer than a run.

    ``inputs`` and ``state`` are the tensors that ``call`` reads.
    """
    counter = _Counter()
    with torch.no_grad(), counter:
        output = call()
    return _total(counter.trace, [*inputs, *state], inputs, _tensors(output))


def _total(trace: Trace, read: list[Tensor], inputs: list[Tensor], output: list[Tensor]) -> Cost:
    moved = sum(_bytes_read(t, trace) for t in unique(read))
    kept = {_key(t) for t in inputs}
    written = sum(tensor_bytes(t) for t in unique(output) if _key(t) not in kept)
    return Cost(flops=trace.flops, bytes=float(moved + written))


def trace_call(call: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Trace]:
    """Run a callable on fake inputs (inside their mode) and count."""
    counter = _Counter()
    with torch.no_grad(), counter:
        output = call(*inputs)
    return output, counter.trace


@contextlib.contextmanager
def fake_mode(args: Any = ()) -> Iterator[FakeTensorMode]:
    """A fake tensor mode that is entered: the one the arguments already belong to, else a new one."""
    leaves = pytree.tree_leaves(args)
    own = next((leaf.fake_mode for leaf in leaves if isinstance(leaf, FakeTensor)), None)
    with torch.random.fork_rng(devices=[]), own or FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def to_fake(leaf: Any, mode: FakeTensorMode) -> Any:
    """A fake twin of a real tensor; anything else as it is."""
    if isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor):
        return mode.from_tensor(leaf)
    return leaf


def to_fake_module(call: Callable[..., Any], mode: FakeTensorMode) -> Callable[..., Any]:
    """A twin of a module on fake parameters and buffers, so that running it changes nothing; functions as they are."""
    if not isinstance(call, nn.Module) or any(isinstance(p, FakeTensor) for p in call.parameters()):
        return call
    memo: dict[int, Any] = {}
    for module in call.modules():  # tensors held as plain attributes (a hidden state) too
        held = [*module.__dict__.values(), *module._parameters.values(), *module._buffers.values()]
        for leaf in held:
            if isinstance(leaf, Tensor):
                memo.setdefault(id(leaf), _fake_like(leaf, mode))
    return copy.deepcopy(call, memo)


def _fake_like(leaf: Tensor, mode: FakeTensorMode) -> Tensor:
    twin = mode.from_tensor(leaf.detach())
    return nn.Parameter(twin, leaf.requires_grad) if isinstance(leaf, nn.Parameter) else twin


class _Counter(TorchDispatchMode):
    """Sees every ATen operator that runs and adds it up."""

    def __init__(self) -> None:
        super().__init__()
        self.trace = Trace()
        self.seen: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and importing torch._dynamo to say so takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.namespace == "aten":
            self._add(func, args, kwargs, out)
        return out

    def _add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        name = func._overloadpacket.__name__
        self.trace.steps.append(Step(name, reduced_sizes(func, args, kwargs, outputs)))
        if func.is_view or not outputs:
            return
        self.trace.flops += _flops(func, name, args, kwargs, inputs, outputs, out)
        gathers = name in _GATHERS
        for tensor in unique(inputs):
            size = min(tensor_bytes(tensor), sum(map(tensor_bytes, outputs))) if gathers else tensor_bytes(tensor)
            self.trace.traffic += size
            before = self.trace.read.get(_key(tensor), 0.0)
            self.trace.read[_key(tensor)] = before + size if gathers else max(before, size)
        self.trace.traffic += sum(map(tensor_bytes, outputs))
        if name == "mkldnn_rnn_layer":  # every time step reads the weights again
            self.trace.traffic += args[0].shape[0] * sum(tensor_bytes(w) for w in args[1:3])
        known = {_key(t) for t in inputs}
        for tensor in unique(outputs):
            if _key(tensor) not in known:
                self._alive(tensor)

    def _alive(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) in self.seen:
            return
        self.seen.add(id(storage))
        size = tensor_bytes(tensor)
        self.trace.live += size
        self.trace.peak = max(self.trace.peak, self.trace.live)
        weakref.finalize(storage, self._dead, id(storage), size)

    def _dead(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.trace.live -= size


def _flops(
    func: Any, name: str, args: Any, kwargs: Any, inputs: list[Tensor], outputs: list[Tensor], out: Any
) -> float:
    packet = func._overloadpacket
    from torch.utils.flop_counter import flop_registry, sdpa_flop_count  # which imports a compiler for GPUs

    if packet in flop_registry:
        return float(flop_registry[packet](*args, **kwargs, out_val=out))
    if "scaled_dot_product" in name:
        return float(sdpa_flop_count(args[0].shape, args[1].shape, args[2].shape))
    if name == "mkldnn_rnn_layer":  # x (time, batch, features), input and recurrent weights
        return 2.0 * args[0].shape[0] * args[0].shape[1] * (args[1].numel() + args[2].numel())
    if name == "mv" or name == "addmv" or name == "dot":
        return 2.0 * max(t.numel() for t in inputs)
    if name in _FREE or name.startswith("empty") or name.startswith("new_") or name.endswith("_like"):
        return 0.0
    for family, each in _PER_ELEMENT.items():
        if family in name:
            return float(each * inputs[0].numel())
    if "pool" in name and "backward" in name:  # each gradient goes to where its window says
        return float(inputs[0].numel())
    if "pool" in name:
        return float(_window(name, args, inputs[0], outputs[0]) * outputs[0].numel())
    if name in _REDUCTIONS:
        return float(max(t.numel() for t in inputs))
    return float(outputs[0].numel())


def _window(name: str, args: Any, x: Tensor, out: Tensor) -> float:
    """Elements that one output of a pooling reads."""
    if "adaptive" in name:
        return max(1.0, x.numel() / max(out.numel(), 1))
    spatial = 3 if "3d" in name else 1 if "1d" in name else 2
    kernel = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    return float(math.prod(kernel) if len(kernel) > 1 else kernel[0] ** spatial)


_CONTRACTS = {
    "mm": (0, -1),
    "bmm": (0, -1),
    "mv": (0, -1),
    "dot": (0, -1),
    "addmm": (1, -1),
    "addmv": (1, -1),
    "baddbmm": (1, -1),
}


def reduced_sizes(func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> tuple[int, ...]:
    """Sizes that an operator reduces, scans, sorts or normalises over: what must stay when a task is shrunk.

    Batch and group normalisation keep their leading dimension out: it is the batch, whatever statistics are taken.
    """
    name = func._overloadpacket.__name__
    tensors = [a for a in args if isinstance(a, Tensor)]
    if name in _CONTRACTS:
        position, dim = _CONTRACTS[name]
        return (int(args[position].shape[dim]),)
    if "scaled_dot_product" in name:
        return (int(args[1].shape[-2]),)
    if not tensors or "batch_norm" in name or "group_norm" in name or "convolution" in name or func.is_view:
        return ()
    if name == "mkldnn_rnn_layer":
        return (int(args[0].shape[0]),)
    named = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | kwargs
    if "normalized_shape" in named:
        return tuple(int(s) for s in named["normalized_shape"])
    if named.get("reduction") == 0 and "loss" in name:  # per row: classes only
        return (int(args[0].shape[1]),) if name.startswith("nll_loss") and args[0].dim() > 1 else ()
    reduces = name in _REDUCTIONS or "softmax" in name
    if not reduces or not isinstance(args[0], Tensor):
        return ()
    if name in ("max", "min") and isinstance(named.get("other"), Tensor):
        return ()
    return _along(args[0], named)


def _along(x: Tensor, named: dict[str, Any]) -> tuple[int, ...]:
    dims = named.get("dim", named.get("dims"))
    if isinstance(dims, int):
        dims = [dims]
    if dims is None or len(dims) == 0:
        return tuple(int(s) for s in x.shape)
    return tuple(int(x.shape[d]) for d in dims) if x.dim() else ()


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def unique(tensors: list[Tensor]) -> list[Tensor]:
    """One tensor per storage, the largest view of each."""
    found: dict[int, Tensor] = {}
    for tensor in tensors:
        known = found.get(_key(tensor))
        if known is None or tensor_bytes(known) < tensor_bytes(tensor):
            found[_key(tensor)] = tensor
    return list(found.values())


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of distinct elements: repeats of expanded dimensions are in memory once."""
    sizes = [s for s, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0 or s == 0]
    return math.prod(sizes) * tensor.element_size()


def _bytes_read(tensor: Tensor, trace: Trace) -> float:
    return min(float(tensor_bytes(tensor)), trace.read.get(_key(tensor), 0.0))
