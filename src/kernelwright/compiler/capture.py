"""Capture: from a PyTorch callable to a functional graph of ATen operations, with everything needed to call it again.

Composite operations that the lowering treats better whole than in pieces (linear, matmul, einsum, attention, recurrent
cells, ...) are kept; all others go through torch's decompositions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
import torch
from torch import fx
from torch.utils import _pytree as pytree

from ..errors import InputsInvalid, ReferenceFailed, Unsupported
from ..task._task import DynamicSize

Source = tuple[str, int | str]

# Lowered directly: a decomposition would hide their structure or spend more passes.
_KEPT = (
    "linear", "matmul", "einsum", "scaled_dot_product_attention", "instance_norm", "lstm", "gru", "rnn_tanh",
    "rnn_relu", "native_layer_norm", "native_group_norm", "_softmax", "_log_softmax", "gelu", "silu", "mish",
    "softplus", "elu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "log_sigmoid_forward", "addmm", "mm",
    "bmm", "baddbmm", "addmv", "convolution", "convolution_backward", "native_batch_norm",
    "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit",
    "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d",
    "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
    "logsumexp", "var", "std", "var_mean", "std_mean", "pixel_shuffle", "embedding", "upsample_bilinear2d",
    "upsample_linear1d", "upsample_trilinear3d", "native_dropout", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "_softmax_backward_data", "_log_softmax_backward_data", "native_layer_norm_backward",
    "gelu_backward", "silu_backward", "embedding_dense_backward", "tril", "triu", "roll", "flip", "stack",
    "constant_pad_nd", "sum", "prod", "mean", "linalg_vector_norm", "cumsum", "cumprod", "logcumsumexp",
    "index_select", "fused_rms_norm", "_fused_rms_norm", "pixel_unshuffle", "split_with_sizes", "unbind",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "addcmul", "addcdiv", "threshold_backward", "repeat", "dot", "mv",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward",
)  # fmt: skip


@dataclass(frozen=True)
class Captured:
    """A functional ATen graph and how to call it.

    ``placeholders[i]`` is the graph node of ``sources[i]``: ("arg", i) is the i-th tensor leaf of the call's arguments,
    ("state", name) a parameter or buffer, ("constant", name) a tensor created inside the callable, in ``lifted``.
    ``outputs`` are graph nodes, one per tensor the program returns (there named ``out0``, ``out1``, ...): the tensor
    leaves of the return value, then the new values of mutated state (``mutations``: output name, state name).
    ``results`` lists the leaves of the return value in order: a position in ``outputs`` or a :class:`Constant`.
    ``constants`` are the non-tensor leaves of the arguments by leaf position: the graph holds for these alone.
    """

    graph: fx.Graph
    placeholders: tuple[fx.Node, ...]
    sources: tuple[Source, ...]
    outputs: tuple[fx.Node, ...]
    results: tuple[int | Constant, ...]
    treespec: str | None
    mutations: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[int, object], ...] = ()
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    lifted: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Constant:
    """A leaf of the return value that is not a tensor."""

    value: object


class _Function(torch.nn.Module):
    """torch.export wants a module."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self._fn = fn

    def forward(self, *args: Any) -> Any:
        return self._fn(*args)


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The decomposition table for graphs that are to be lowered, e.g. for AOTAutograd."""
    from torch._decomp import core_aten_decompositions

    return {op: fn for op, fn in core_aten_decompositions().items() if not _kept(op)}


def _kept(op: object) -> bool:
    return isinstance(op, torch._ops.OpOverload) and op.namespace == "aten" and op._schema.name[6:] in _KEPT


def capture(fn_or_module: Callable[..., Any], args: tuple[Any, ...], dynamic: tuple[DynamicSize, ...] = ()) -> Captured:
    """Trace a function or module on example arguments (positional; any pytree; non-tensor leaves become constants).

    Raises :class:`InputsInvalid` when the arguments do not fit, :class:`ReferenceFailed` when the callable raises on
    them, :class:`Unsupported` when it cannot be traced.
    """
    module = fn_or_module if isinstance(fn_or_module, torch.nn.Module) else _Function(fn_or_module)
    exported = _export(module, args, _dynamic_shapes(args, dynamic))
    return _with_ranges(_captured(exported, args), dynamic)


def capture_graph(gm: fx.GraphModule, example_inputs: list[Any] | tuple[Any, ...]) -> Captured:
    """Take a functional ATen graph as AOTAutograd produces it: every placeholder is ("arg", position)."""
    placeholders = tuple(n for n in gm.graph.nodes if n.op == "placeholder")
    if len(placeholders) != len(example_inputs):
        raise InputsInvalid(f"the graph takes {len(placeholders)} inputs but {len(example_inputs)} were given.")
    for node, example in zip(placeholders, example_inputs, strict=True):
        node.meta.setdefault("val", example)
    tensors = tuple((i, n) for i, n in enumerate(placeholders) if isinstance(n.meta["val"], torch.Tensor))
    attributes = [n for n in gm.graph.nodes if n.op == "get_attr"]
    lifted = {str(n.target): _attribute(gm, str(n.target)) for n in attributes}
    for node in attributes:
        node.meta.setdefault("val", lifted[str(node.target)])
    outputs, results = _split_results(_output_args(gm.graph))
    return Captured(
        graph=gm.graph,
        placeholders=tuple(n for _, n in tensors) + tuple(attributes),
        sources=tuple(("arg", i) for i, _ in tensors) + tuple(("constant", str(n.target)) for n in attributes),
        outputs=outputs,
        results=results,
        treespec=None,
        bounds=_bounds_of_nodes(n for _, n in tensors),
        lifted=lifted,
    )


def _attribute(gm: fx.GraphModule, target: str) -> torch.Tensor:
    value: Any = gm
    for part in target.split("."):
        value = getattr(value, part)
    return value


# ── torch.export ─────────────────────────────────────────────────────────────────────────────────────────────────


def _dynamic_shapes(args: tuple[Any, ...], dynamic: tuple[DynamicSize, ...]) -> Any:
    if not dynamic:
        return None
    leaves, spec = pytree.tree_flatten(args)
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    shapes: list[dict[int, Any] | None] = [None] * len(leaves)
    for size in dynamic:
        if not 0 <= size.arg < len(tensors):
            raise InputsInvalid(
                f"dynamic argument {size.arg} does not exist: there are {len(tensors)} tensor arguments."
            )
        leaf = leaves[tensors[size.arg]]
        if not 0 <= size.dim < leaf.dim():
            raise InputsInvalid(
                f"argument {size.arg} has {leaf.dim()} dimensions, so dimension {size.dim} cannot vary."
            )
        entry = shapes[tensors[size.arg]] or {}
        entry[size.dim] = torch.export.Dim.AUTO(min=max(size.lo, 2), max=size.hi)
        shapes[tensors[size.arg]] = entry
    tree = pytree.tree_unflatten(shapes, spec)
    # A module's *args is one entry of its signature.
    return tree


def _export(module: torch.nn.Module, args: tuple[Any, ...], dynamic_shapes: Any) -> torch.export.ExportedProgram:
    if isinstance(module, _Function) and dynamic_shapes is not None:
        dynamic_shapes = {"args": dynamic_shapes}
    table = torch.export.default_decompositions()
    for op in [op for op in table.keys() if _kept(op)]:  # noqa: SIM118 (the table is not a dict)
        del table[op]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            exported = torch.export.export(module, args, dynamic_shapes=dynamic_shapes, strict=False)
            return exported.run_decompositions(table)
        except Exception as error:  # torch.export raises whatever the user's code and torch's tracer raise
            raise _sentence(module, args, error) from error


def _sentence(module: torch.nn.Module, args: tuple[Any, ...], error: Exception) -> Exception:
    """Tell a reference that does not run from one that runs but cannot be traced."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    try:
        import copy

        with torch.no_grad():
            copy.deepcopy(module)(*args)
    except TypeError as own:
        if "argument" in str(own):
            return InputsInvalid(f"the example inputs do not fit the reference: {own}.")
        return ReferenceFailed(f"the reference raises TypeError: {own}.")
    except Exception as own:
        line = (str(own).strip() or "no message").splitlines()[0]
        return ReferenceFailed(f"the reference raises {type(own).__name__}: {line}")
    return Unsupported(f"the reference runs but torch.export cannot trace it: {first}")


def _refuse_unknown_sizes(graph: fx.Graph) -> None:
    """Sizes that only a run can tell have no place in a program."""
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    for node in graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and free_unbacked_symbols(value):
            raise Unsupported(f"the size of what {node.target} returns depends on values.")


def _captured(exported: torch.export.ExportedProgram, args: tuple[Any, ...]) -> Captured:
    from torch.export.graph_signature import InputKind, OutputKind

    signature, graph = exported.graph_signature, exported.graph_module.graph
    nodes = {n.name: n for n in graph.nodes if n.op == "placeholder"}
    arguments: list[tuple[fx.Node, Source]] = []
    state: list[tuple[fx.Node, Source]] = []
    lifted: dict[str, torch.Tensor] = {}
    for spec in signature.input_specs:
        node = nodes.get(getattr(spec.arg, "name", ""))
        if node is None or not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        if spec.kind == InputKind.USER_INPUT:
            arguments.append((node, ("arg", len(arguments))))
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            lifted[str(spec.target)] = exported.constants[str(spec.target)]
            state.append((node, ("constant", str(spec.target))))
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            state.append((node, ("state", str(spec.target))))
    _refuse_unknown_sizes(graph)
    leaves = pytree.tree_leaves(args)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if len(tensors) != len(arguments):
        raise Unsupported(f"torch.export kept {len(arguments)} of {len(tensors)} tensor arguments.")
    values, mutated = [], []
    for spec, value in zip(signature.output_specs, _output_args(graph), strict=True):
        if spec.kind == OutputKind.USER_OUTPUT:
            values.append(value)
        elif spec.kind == OutputKind.BUFFER_MUTATION:
            mutated.append((value, str(spec.target)))
        elif spec.kind == OutputKind.TOKEN:
            raise Unsupported("the reference checks values while it runs, which a kernel would leave out.")
        else:
            raise Unsupported(f"the reference writes to {spec.target!r}, which is not a buffer.")
    outputs, results = _split_results(values)
    if not outputs:
        raise ReferenceFailed("the reference returns no tensor.")
    mutations = tuple((f"out{len(outputs) + i}", name) for i, (_, name) in enumerate(mutated))
    spec_out = exported.module_call_graph[0].signature.out_spec
    return Captured(
        graph=graph,
        placeholders=tuple(n for n, _ in arguments + state),
        sources=tuple(s for _, s in arguments + state),
        outputs=outputs + tuple(n for n, _ in mutated),
        results=results,
        treespec=pytree.treespec_dumps(_plain_spec(spec_out)),
        mutations=mutations,
        constants=tuple((i, leaf) for i, leaf in enumerate(leaves) if not isinstance(leaf, torch.Tensor)),
        bounds=_bounds_of_nodes(n for n, _ in arguments),
        lifted=lifted,
    )


def _plain_spec(spec: pytree.TreeSpec) -> pytree.TreeSpec:
    """Torch's named results (``x.max(1)``) cannot be serialised; they become the plain tuples that they also are."""
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)

    def plain(value: Any) -> Any:
        if type(value).__module__ == "torch.return_types":
            return tuple(plain(v) for v in value)
        if type(value) in (list, tuple):
            return type(value)(plain(v) for v in value)
        return {k: plain(v) for k, v in value.items()} if type(value) is dict else value

    return pytree.tree_structure(plain(tree))


def _output_args(graph: fx.Graph) -> list[Any]:
    return list(next(n for n in graph.nodes if n.op == "output").args[0])


def _split_results(values: list[Any]) -> tuple[tuple[fx.Node, ...], tuple[int | Constant, ...]]:
    outputs: list[fx.Node] = []
    results: list[int | Constant] = []
    for value in values:
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor):
            results.append(len(outputs))
            outputs.append(value)
        elif isinstance(value, fx.Node):
            meta = value.meta.get("val")
            if not isinstance(meta, int | float | bool):
                raise Unsupported(f"the reference returns {value.name}, a size that varies; return tensors only.")
            results.append(Constant(meta))
        else:
            results.append(Constant(value))
    return tuple(outputs), tuple(results)


def _bounds_of_nodes(nodes: Any) -> dict[str, tuple[int, int]]:
    """Range of every free size symbol that occurs in the shapes of the nodes."""
    bounds: dict[str, tuple[int, int]] = {}
    for node in nodes:
        for size in node.meta["val"].shape:
            if not isinstance(size, torch.SymInt):
                continue
            env = size.node.shape_env
            for symbol in size.node.expr.free_symbols:
                found = env.var_to_range[symbol]
                hi = int(found.upper) if found.upper < 2**40 else 2**40
                bounds[str(symbol)] = (int(found.lower), hi)
    return bounds


def _with_ranges(captured: Captured, dynamic: tuple[DynamicSize, ...]) -> Captured:
    """The ranges that were asked for: the exporter never promises size 1, the judge checks it."""
    bounds = dict(captured.bounds)
    placeholders = {
        int(name): node
        for node, (kind, name) in zip(captured.placeholders, captured.sources, strict=True)
        if kind == "arg"
    }
    for size in dynamic:
        value = placeholders[size.arg].meta["val"].shape[size.dim]
        if not isinstance(value, torch.SymInt) or not isinstance(value.node.expr, sympy.Symbol):
            raise InputsInvalid(
                f"argument {size.arg} dimension {size.dim} cannot vary: the reference fixes it to {value}."
            )
        bounds[str(value)] = (size.lo, size.hi)
    return replace(captured, bounds=bounds)
