"""Brings a task to life in this process: builds the reference by the task format's rules and draws its inputs."""

from __future__ import annotations

import copy
import inspect
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kernelwright.errors import InputsInvalid, ReferenceFailed, SourceInvalid, SourceNotFound, TaskError
from kernelwright.task._gradients import Gradients, WithGradients, asked_gradients
from kernelwright.task._inputs import STRUCTURES, Character, characterise, clone, redraw, resample
from kernelwright.task._run import call_user, describe_exception, run_module, seeded, user_code
from kernelwright.task._source import no_inputs, parse_source
from kernelwright.task._task import DynamicSize, Reference, Task

_SEED = 42  # the task format's seed for weights
Draw = Callable[[int], tuple[Any, ...]]


def from_source(
    source: str, *, scale: str = "official", dynamic: tuple[DynamicSize, ...] = (), dtype: str = "float32"
) -> Task:
    """A task from ``file.py``, ``file.py:attribute`` or ``package.module:attribute``.

    ``scale="cpu"`` shrinks leading (batch-like) sizes to this machine (:func:`shrink`), which runs the source on fake
    tensors; otherwise nothing of it is executed. Raises :class:`SourceNotFound`, :class:`SourceInvalid`,
    :class:`InputsInvalid`, or ``ValueError`` for an unknown scale.
    """
    if scale not in ("official", "cpu"):
        raise ValueError(f"scale is {scale!r}; it must be 'official' or 'cpu'")
    task = with_dtype(parse_source(source, tuple(dynamic)), dtype)
    if scale == "official":
        return task
    from kernelwright.task._scale import shrink  # needs load()

    return shrink(task)


def with_dtype(task: Task, dtype: str) -> Task:
    """The task with its floating parameters and inputs cast to ``dtype`` (a torch dtype's name)."""
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype is {dtype!r}; it must name a floating torch dtype such as 'float32' or 'bfloat16'")
    return replace(task, dtype=dtype)


def from_callable(
    fn_or_module: Callable[..., Any],
    example_inputs: Any,
    *,
    name: str | None = None,
    dynamic: tuple[DynamicSize, ...] = (),
    gradients: bool | None = None,
) -> Task:
    """A task from a function or module and its positional arguments (a tuple or list; one tensor stands for itself).

    A module's parameters and buffers travel with the task. ``gradients``: whether they are part of it; None, where one
    of the arguments requires them. Raises :class:`InputsInvalid` when the arguments do not fit
    and :class:`SourceInvalid` when the callable cannot be pickled.
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else example_inputs
    if not callable(fn_or_module):
        raise SourceInvalid(f"A {type(fn_or_module).__name__} is not callable; give a function or an nn.Module.")
    name = name or _callable_name(fn_or_module)
    inputs = _checked(inputs, fn_or_module, name, "example_inputs")
    if gradients is None:
        gradients = any(t.requires_grad for t in _tensors(inputs))
    held = pytree.tree_map(lambda leaf: _held(leaf, gradients) if isinstance(leaf, Tensor) else leaf, inputs)
    try:
        payload = cloudpickle.dumps((fn_or_module, held))
    except Exception as error:  # pickling runs arbitrary reducers
        raise SourceInvalid(f"{name} cannot be handed to another process: {describe_exception(error)}.") from error
    floats = [t for t in _tensors(inputs) if t.is_floating_point()]
    dtype = str(floats[0].dtype).removeprefix("torch.") if floats else "float32"
    about = {"name": name, "payload": payload, "dynamic": tuple(dynamic), "dtype": dtype, "gradients": gradients}
    return Task(kind="pickled", **about)


def load(task: Task) -> Reference:
    """Execute the task's code and return its reference. Runs user code: prints go to stderr.

    Weights are drawn after ``torch.manual_seed(42)``; a module stays in the mode its constructor leaves it in. Callers
    run ``Reference.call`` under ``torch.no_grad()``. Raises :class:`SourceInvalid` (the text raises),
    :class:`ReferenceFailed` (the constructor raises) or :class:`InputsInvalid`.
    """
    call, base = bring_up(task)
    draw = _Inputs(task, call, base)
    if draw.cast is not None and isinstance(call, nn.Module):
        call.to(draw.cast)
    state = module_state(call)
    asked = _asked(task, call, base, state)
    if asked is None:
        return Reference(call=call, draw=draw, state=state)
    whole = WithGradients(call, asked, task.name)

    def draw_all(seed: int, structure: str = "given") -> tuple[Any, ...]:
        args = draw(seed, structure)
        return (*args, whole.cotangents(args, seed, structure))

    return Reference(call=whole, draw=draw_all, state=state, gradients=whole)


def _asked(task: Task, call: Callable[..., Any], base: Draw, state: Mapping[str, Tensor]) -> Gradients | None:
    """In what the task asks for gradients; a text without the word draws no inputs that require them."""
    if not task.gradients and (task.kind == "pickled" or (task.text and "requires_grad" not in task.text)):
        return None
    return asked_gradients(call, base(0), state, task.name, everything=task.gradients)


def init_inputs(task: Task) -> tuple[tuple[Any, ...], int]:
    """Arguments of the task's class and the seed before it is built; no arguments where the task has no class."""
    if task.kind != "kernelbench":
        return (), _SEED
    with seeded(_SEED):
        module = run_module(task)
    return _init_inputs(module, task.module or task.path or task.name), _SEED


def bring_up(task: Task, *, build: bool = True) -> tuple[Callable[..., Any], Draw]:
    """The task's callable and its own draw, before casts; ``build=False`` leaves a class unbuilt (inputs only)."""
    return _pickled(task) if task.kind == "pickled" else _from_module(task, build)


def given_inputs(task: Task, base: Draw, convert: Callable[[Any], Any] = lambda tree: tree) -> tuple[Any, ...]:
    """The task's own draw for seed 0, narrowed and cast; ``convert`` acts on the draw before both."""
    return _Inputs(task, len, lambda seed: convert(base(seed))).given(0)


def module_state(call: Callable[..., Any]) -> Mapping[str, Tensor]:
    """Parameters and buffers of a module by name (non-persistent buffers too); empty for a function.

    A tensor that two names share stands under both: a captured graph may use either.
    """
    if not isinstance(call, nn.Module):
        return {}
    return {
        **dict(call.named_parameters(remove_duplicate=False)),
        **dict(call.named_buffers(remove_duplicate=False)),
    }


def in_domain(inputs: tuple[Any, ...], output: Any) -> bool:
    """False when a reference's output has NaN though no input has NaN or infinity: the draw left its domain."""
    if not any(bool(t.isnan().any()) for t in _tensors(output) if t.is_floating_point()):
        return True
    return any(not bool(t.isfinite().all()) for t in _tensors(inputs) if t.is_floating_point())


def _callable_name(call: Callable[..., Any]) -> str:
    return getattr(call, "__name__", None) or type(call).__name__


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _pickled(task: Task) -> tuple[Callable[..., Any], Draw]:
    with user_code(SourceInvalid, f"unpickling task {task.name}"):
        call, inputs = cloudpickle.loads(task.payload)
    return call, _redrawing(inputs)


def _redrawing(inputs: tuple[Any, ...]) -> Draw:
    """Fixed example inputs as a draw: seed 0 is the inputs themselves, other seeds are of the same kind."""

    def draw(seed: int) -> tuple[Any, ...]:
        leaves, spec = pytree.tree_flatten(inputs)
        new = [_same_kind(leaf, seed, k) if isinstance(leaf, Tensor) else leaf for k, leaf in enumerate(leaves)]
        return pytree.tree_unflatten(new, spec)

    return draw


def _same_kind(leaf: Tensor, seed: int, position: int) -> Tensor:
    drawn = clone(leaf) if seed == 0 else resample(leaf, _mix(seed, "given", position))
    return drawn.requires_grad_(leaf.requires_grad)


def _held(leaf: Tensor, gradients: bool) -> Tensor:
    return clone(leaf).requires_grad_(gradients and leaf.requires_grad)


def _mix(seed: int, structure: str, position: int) -> int:
    return zlib.crc32(f"{seed}/{structure}/{position}".encode())


def _from_module(task: Task, build: bool) -> tuple[Callable[..., Any], Draw]:
    with seeded(_SEED):
        module = run_module(task)
    place = task.module or task.path or task.name
    found = getattr(module, task.attribute, None)
    if found is None:
        raise SourceNotFound(f"{place} has no attribute {task.attribute!r} after it ran; define it at the top level.")
    call = _build(module, found, task.attribute, place) if build else found
    return call, _input_source(module, call, task, place)


def _build(module: Any, found: Any, attribute: str, place: str) -> Callable[..., Any]:
    if not isinstance(found, type):
        if not callable(found):
            raise SourceInvalid(f"{attribute} in {place} is {_kind(found)}; it must be a class or function.")
        return found
    if not issubclass(found, nn.Module):
        raise SourceInvalid(f"Class {attribute} in {place} is not a torch.nn.Module; derive it from nn.Module.")
    with seeded(_SEED):
        given = _init_inputs(module, place)
        torch.manual_seed(_SEED)
        built: Callable[..., Any] = call_user(found, given, ReferenceFailed, f"{attribute}() in {place}")
    return built


def _init_inputs(module: Any, place: str) -> tuple[Any, ...]:
    make = getattr(module, "get_init_inputs", None)
    with seeded(_SEED):
        given = call_user(make, (), ReferenceFailed, f"get_init_inputs() in {place}") if make else []
    if not isinstance(given, list | tuple):
        raise SourceInvalid(f"get_init_inputs() in {place} returned {_kind(given)}; it must return a list.")
    return tuple(given)


def _input_source(module: Any, call: Callable[..., Any], task: Task, place: str) -> Draw:
    own = getattr(module, f"{task.attribute}_inputs", None) if task.attribute != "Model" else None
    make = own or getattr(module, "get_inputs", None)
    if make is None:
        return _redrawing(_defaults(call, task.attribute, place))
    what = f"{make.__name__ if hasattr(make, '__name__') else 'get_inputs'}()"

    def draw(seed: int) -> tuple[Any, ...]:
        with seeded(seed):
            inputs = call_user(make, (), InputsInvalid, f"{what} in {place}")
        return _checked(inputs, call, place, what)

    return draw


def _defaults(call: Callable[..., Any], attribute: str, place: str) -> tuple[Any, ...]:
    signature = _signature(call)
    parameters = signature.parameters.values() if signature else []
    values = [p.default for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(v is inspect.Parameter.empty for v in values) or not _tensors(values):
        raise InputsInvalid(no_inputs(attribute, place))
    return tuple(values)


def _signature(call: Callable[..., Any]) -> inspect.Signature | None:
    try:
        if isinstance(call, type):  # a module's class: forward without self
            signature = inspect.signature(call.forward)  # type: ignore[attr-defined]
            return signature.replace(parameters=list(signature.parameters.values())[1:])
        return inspect.signature(call.forward if isinstance(call, nn.Module) else call)
    except (AttributeError, TypeError, ValueError):  # builtins without one
        return None


def _checked(inputs: Any, call: Callable[..., Any], place: str, what: str) -> tuple[Any, ...]:
    """The inputs as a tuple, when they are positional arguments that fit the callable's signature."""
    if not isinstance(inputs, list | tuple):
        raise InputsInvalid(
            f"{what} of {place} is {_kind(inputs)}; it must be a list or tuple of positional arguments."
        )
    if not _tensors(inputs):
        raise InputsInvalid(f"{what} of {place} holds no tensor; a task needs at least one tensor argument.")
    signature = _signature(call)
    try:
        if signature:
            signature.bind(*inputs)
    except TypeError as error:
        raise InputsInvalid(f"{what} of {place} gives {len(inputs)} arguments, but {error}.") from None
    return tuple(inputs)


def _kind(value: Any) -> str:
    name = "None" if value is None else type(value).__name__
    return name if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


class _Inputs:
    """``Reference.draw``: the task's own draw, narrowed and cast, then redrawn by a structure's law."""

    def __init__(self, task: Task, call: Callable[..., Any], base: Draw) -> None:
        self.task = task
        self.call = call
        self.base = base
        self.characters: list[Character | None] | None = None
        self.pattern: tuple[Any, ...] | None = None
        self.large_scale: float | None = None
        self.cast = self._cast()

    def _cast(self) -> torch.dtype | None:
        """The dtype to cast to; None when the task runs in its own ("float32" asks for no cast)."""
        wanted: torch.dtype = getattr(torch, self.task.dtype)
        if wanted == torch.float32:
            return None
        if self.task.kind != "pickled":
            return wanted
        own = [t.dtype for t in _tensors(self.base(0)) if t.is_floating_point()]
        return wanted if own and own[0] != wanted else None

    def __call__(self, seed: int, structure: str = "given") -> tuple[Any, ...]:
        """Positional arguments, equal for equal (seed, structure); ``structure`` is one of :data:`STRUCTURES`."""
        if structure not in STRUCTURES:
            raise ValueError(f"structure is {structure!r}; it must be one of {', '.join(STRUCTURES)}")
        if self.task.structures and structure not in self.task.structures:
            raise InputsInvalid(f"{self.task.name} is not defined for inputs of structure {structure}.")
        if structure == "given":
            return self.given(seed)
        characters = self._characters()
        given = self.pattern if self.pattern is not None else self.given(seed)
        scale = self._scale(characters) if structure == "large" else 1.0
        return self._structured(given, seed, structure, characters, scale)

    def apart(self, structure: str) -> bool:
        """Whether drawing it neither runs the task's own code nor asks the reference, so that a thread may."""
        return self.pattern is not None and structure != "given" and (structure != "large" or bool(self.large_scale))

    def given(self, seed: int) -> tuple[Any, ...]:
        leaves, spec = pytree.tree_flatten(self.base(seed))
        leaves = [leaf.detach() if isinstance(leaf, Tensor) and leaf.requires_grad else leaf for leaf in leaves]
        places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        for position, dim, old, new in self.task.shrunk:
            leaf = leaves[places[position]]
            if leaf.shape[dim] == old:  # the source could not be patched to draw it small
                leaves[places[position]] = clone(leaf.narrow(dim, 0, new))
        if self.cast is not None:
            leaves = [_cast(leaf, self.cast) for leaf in leaves]
        return pytree.tree_unflatten(leaves, spec)

    def _structured(
        self, given: tuple[Any, ...], seed: int, structure: str, characters: list[Character | None], scale: float
    ) -> tuple[Any, ...]:
        leaves, spec = pytree.tree_flatten(given)
        for k, character in enumerate(characters):
            if character is not None:
                leaves[k] = redraw(leaves[k], structure, character, _mix(seed, structure, k), scale)
        return pytree.tree_unflatten(leaves, spec)

    def _characters(self) -> list[Character | None]:
        """Characters by leaf (None: not a floating tensor), the doubtful ones settled by asking the reference once."""
        if self.characters is None:
            given = self.given(0)
            leaves = pytree.tree_leaves(given)
            read = [characterise(x) if isinstance(x, Tensor) and x.is_floating_point() else None for x in leaves]
            self.characters = self._settle(read)
            if all(c is not None and c.kind in ("free", "simplex") for c in self.characters):
                self.pattern = given  # of which nothing but sizes, strides and dtypes will be asked
        return self.characters

    def _settle(self, characters: list[Character | None]) -> list[Character | None]:
        doubtful = [k for k, c in enumerate(characters) if c is not None and c.doubtful]
        if not doubtful or self._accepts("normal", characters):
            return characters
        settled = [_restrict(c) if k in doubtful else c for k, c in enumerate(characters)]
        for k in doubtful if len(doubtful) > 1 else []:  # which of them may be signed?
            trial = [*settled[:k], characters[k], *settled[k + 1 :]]
            if self._accepts("normal", trial):
                settled = trial
        return settled

    def _scale(self, characters: list[Character | None]) -> float:
        """How far "large" must be scaled down so that the reference does not overflow (1 to 1e-3)."""
        if self.large_scale is None:
            scales = [1.0, 0.1, 0.01]
            self.large_scale = next((s for s in scales if self._accepts("large", characters, s)), 1e-3)
        return self.large_scale

    def _accepts(self, structure: str, characters: list[Character | None], scale: float = 1.0) -> bool:
        """True when the reference neither raises nor turns finite inputs into NaN (or infinity, for "large")."""
        inputs = self._structured(self.given(0), 0, structure, characters, scale)
        try:
            with torch.no_grad(), seeded(0), user_code(ReferenceFailed, self.task.name):
                output = _disposable(self.call)(*inputs)
        except TaskError:
            return False
        if structure != "large":
            return in_domain(inputs, output)
        return all(bool(t.isfinite().all()) for t in _tensors(output) if t.is_floating_point())


def _disposable(call: Callable[..., Any]) -> Callable[..., Any]:
    """A copy to try things on, since a module may change its own state; itself where it refuses to be copied."""
    try:
        return copy.deepcopy(call)
    except Exception:  # e.g. tensors with a gradient history, or whatever a user's __deepcopy__ raises
        return call


def _restrict(character: Character | None) -> Character | None:
    return None if character is None else replace(character, signed=False)


def _cast(leaf: Any, dtype: torch.dtype) -> Any:
    return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
