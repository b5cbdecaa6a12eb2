"""The candidate's side of a verification: loads what is to be judged and runs it on memory that the oracle laid out."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import NoGradient, OutsideDomain
from ..targets import SUBMITTED, Candidate, Construction, PythonCandidate, carries_gradients, load, plan_from_json
from ..task import Differentiated, Task, init_inputs
from ..task import load as load_task
from ._arena import GUARD, PATTERN, Arena, Slot, aliases, check_slots, dtype_name, span
from ._clock import Clock, HostClock
from ._protocol import Message

Allocate = Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], torch.Tensor]
_HEADROOM = 64  # bytes: guarded blocks start on a cache line


class GuardedMemory:
    """An allocator for outputs: filled with NaN, a pattern before and behind, checked afterwards.

    Blocks are used again by the calls of the next case (:meth:`reclaim`): fresh memory is paged in, which takes longer
    than all that is done to it. What a candidate keeps from call to call, as its workspace, stays its own.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.active, self.device = False, device
        self._blocks: list[tuple[torch.Tensor, int, int, weakref.ref[torch.Tensor]]] = []
        self._spare: list[torch.Tensor] = []

    def __call__(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if not self.active:
            return torch.empty_strided(shape, strides, dtype=dtype, device=self.device)
        size = span(shape, strides) * dtype.itemsize
        block = self._block(size + 2 * GUARD + _HEADROOM)
        start = GUARD + (-(block.data_ptr() + GUARD)) % _HEADROOM
        if size == 0:
            made = torch.empty_strided(shape, strides, dtype=dtype, device=self.device)
        else:
            made = block[start : start + size].view(dtype).as_strided(shape, strides)
        self._blocks.append((block, start, start + size, weakref.ref(made)))
        return made

    def _block(self, size: int) -> torch.Tensor:
        for k, block in enumerate(self._spare):
            if block.numel() == size:
                return self._spare.pop(k).fill_(PATTERN)
        return torch.full((size,), PATTERN, dtype=torch.uint8, device=self.device)

    def intact(self) -> bool:
        """Was nothing written outside the blocks handed out since they were last reclaimed?"""
        return all(
            bool((block[:start] == PATTERN).all()) and bool((block[end:] == PATTERN).all())
            for block, start, end, _ in self._blocks
        )

    def reclaim(self) -> None:
        """The results in these blocks are needed no longer. One case's blocks are kept for the next."""
        self._spare = [block for block, *_, held in self._blocks if held() is None]
        self._blocks = [kept for kept in self._blocks if kept[-1]() is not None]


@dataclass
class _Called:
    """Calls that were made: their arguments, and where their results go."""

    outputs: Arena
    args: list[tuple[Any, ...]]
    results: list[Any]
    sequence: list[int]
    places: list[list[Slot]]


class CandidateHost:
    """Answers the parent's requests about one task's candidates."""

    interprets = True  # kernels for a GPU run on this memory, whose guards see what a GPU would not show

    def __init__(self) -> None:
        self.clock: Clock = HostClock()
        self.memory = GuardedMemory()
        self.call: Callable[..., Any] | None = None
        self.loaded = ""
        self.held: _Called | None = None  # until the cotangents are known
        self.inputs: Arena | None = None
        self.outputs: Arena | None = None

    def open(self, task: Task, state: dict[str, Any], changed: Sequence[str], descriptor: int) -> Message:
        """Load the task; its state moves into the oracle's memory, so that both compute with the same weights."""
        self.task = task
        self.reference = load_task(task)
        self.template = self.reference.draw(0, "given")
        slots = {name: Slot.from_json(data) for name, data in state.items()}
        self.state_arena = Arena.attach(descriptor, list(slots.values()))
        self.state_arena.close()  # the mapping stays
        self.state = {name: self.state_arena.tensor(slot) for name, slot in slots.items()}
        self.pristine = {name: self.state[name].clone() for name in changed}
        return {}

    def bind_shared_state(self) -> None:
        for name, tensor in self.state.items():
            self.reference.state[name].data = tensor

    def bind_own_state(self) -> None:
        """State in private memory, as in the user's process: for timing."""
        self.read_state()
        for name, tensor in self.state.items():
            self.reference.state[name].data = self.pristine.get(name, tensor).clone()

    def read_state(self) -> None:
        """What the oracle wrote for the coming calls, of the entries that they change."""
        self.pristine = {name: self.state[name].clone() for name in self.pristine}

    def restore_state(self) -> None:
        for name, tensor in self.pristine.items():
            self.reference.state[name].data.copy_(tensor)

    def load(self, data: Message) -> Message:
        """Build and load a candidate; the next runs are its."""
        candidate = candidate_from_json(data)
        self.call = None
        self.bind_shared_state()
        self.call = self.bring_to_life(candidate, self.memory)
        self.loaded = candidate.target
        return {"missing": list(getattr(self.candidate, "missing", ()))}

    def bring_to_life(self, candidate: Candidate, allocate: Allocate | None = None) -> Callable[..., Any]:
        """Make a candidate callable; only here may it be one that others handed in."""
        options: dict[str, Any] = {} if allocate is None else {"allocate": allocate}
        if candidate.target in SUBMITTED:
            inputs, seed = init_inputs(self.task)
            dtype = None if self.task.dtype == "float32" else getattr(torch, self.task.dtype)
            options["construction"] = Construction(inputs, seed, dtype)
        if candidate.target in ("triton", "cuda"):
            options["interpreted"] = self.interprets
        asked = self.reference.gradients
        if asked is None:
            return load(candidate, self.reference.call, self.reference.state, **options)
        if not carries_gradients(candidate):
            raise NoGradient(
                f"native code without a backward kernel gives no gradients although the task asks for gradients in "
                f"{asked.asked.listed}"
            )
        made = load(candidate, asked.inner, self.reference.state, **options)
        if isinstance(made, PythonCandidate):
            return asked.around(made, *made.trained(asked.asked.parameters))
        return asked.around(made)

    def run(self, case: Message, descriptors: Sequence[int]) -> Message:
        """Call the candidate on the case's sets in the case's order; its outputs go where the case says."""
        assert self.call is not None
        sets = [[Slot.from_json(s) for s in one["slots"]] for one in case["sets"]]
        places = [[Slot.from_json(s) for s in run] for run in case["outputs"]]
        inputs = self.inputs = _attach(self.inputs, descriptors[0], [s for one in sets for s in one])
        outputs = self.outputs = _attach(self.outputs, descriptors[1], [s for run in places for s in run])
        args = [self.arguments(inputs, one, data["others"]) for one, data in zip(sets, case["sets"], strict=True)]
        results = []
        self.read_state()
        if isinstance(self.candidate, PythonCandidate):
            self.candidate.follow()
        self.memory.active = bool(case["guard"])
        self.held = None
        self.memory.reclaim()
        try:
            for index in case["sequence"]:
                self.restore_state()
                with torch.no_grad():
                    results.append(self._begin(args[index]))
        except OutsideDomain as error:
            return {"refused": str(error)}
        finally:
            self.memory.active = False
        done = _Called(outputs, args, results, list(case["sequence"]), places)
        if isinstance(self.call, Differentiated):
            self.held = done
            return {}
        return self._describe(done)

    def finish(self) -> Message:
        """The backward passes of the calls that were made, in their order; the cotangents are there now."""
        assert isinstance(self.call, Differentiated)
        done, self.held = self.held, None
        assert done is not None
        self.memory.active = True
        try:
            for k, index in enumerate(done.sequence):
                done.results[k] = self.call.finish(done.results[k], done.args[index][-1])
        finally:
            self.memory.active = False
        return self._describe(done)

    def _begin(self, args: tuple[Any, ...]) -> Any:
        """A call; where gradients are asked for, its forward pass."""
        assert self.call is not None
        return self.call.start(args[:-1]) if isinstance(self.call, Differentiated) else self.call(*args)

    @property
    def candidate(self) -> Any:
        """What was loaded, without what is around it."""
        return self.call.call if isinstance(self.call, Differentiated) else self.call

    def _describe(self, done: _Called) -> Message:
        # Only now: an output that a later call overwrote is wrong.
        pairs = zip(done.results, done.places, strict=True)
        runs = [describe_run(result, done.outputs, slots, done.args) for result, slots in pairs]
        intact = self.memory.intact()
        done.args, done.results = [], []
        gc.collect(0)
        return {"runs": runs, "intact": intact}

    def arguments(self, arena: Arena, slots: Sequence[Slot], others: Sequence[Any]) -> tuple[Any, ...]:
        """The task's arguments with tensors that lie in the arena."""
        leaves, spec = pytree.tree_flatten(self.template)
        tensors, values = iter(slots), iter(others)
        built: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                built.append(arena.tensor(next(tensors)))
            else:
                value = next(values)
                built.append(leaf if value is None else value)
        return pytree.tree_unflatten(built, spec)


def _attach(mapped: Arena | None, descriptor: int, slots: Sequence[Slot]) -> Arena:
    """The mapping of the case before, where the oracle uses its memory again: to page it in anew takes longer."""
    if mapped is not None and os.path.sameopenfile(mapped.descriptor, descriptor):
        check_slots(slots, mapped.size)
        return mapped
    if mapped is not None:
        mapped.close()
    return Arena.attach(os.dup(descriptor), slots)


def describe_run(result: Any, arena: Arena, places: Sequence[Slot], args: Sequence[Any]) -> Message:
    """JSON of one call's result; its tensors are copied to their places if they fit there."""
    leaves, spec = pytree.tree_flatten(result)
    tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    others = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
    for tensor, slot in zip(tensors, places, strict=False):
        if tuple(tensor.shape) == slot.shape and dtype_name(tensor.dtype) == slot.dtype:
            arena.tensor(slot).copy_(tensor)
    return {
        "tensors": [
            {"shape": list(t.shape), "dtype": dtype_name(t.dtype), "contiguous": t.is_contiguous()} for t in tensors
        ],
        "others": [x if isinstance(x, bool | int | float | str) else None for x in others],
        "tree": str(spec),
        "aliases": aliases(tensors, pytree.tree_leaves(args)),
    }


def candidate_to_json(candidate: Candidate) -> Message:
    from ..targets import plan_to_json

    return {
        "target": candidate.target,
        "proposer": candidate.proposer,
        "source": candidate.source,
        "plan": plan_to_json(candidate.plan) if candidate.plan else None,
        "label": candidate.label,
        "schedule": candidate.schedule,
    }


def candidate_from_json(data: Message) -> Candidate:
    plan = plan_from_json(data["plan"]) if data["plan"] else None
    return Candidate(data["target"], data["proposer"], data["source"], plan, data["label"], data["schedule"])
