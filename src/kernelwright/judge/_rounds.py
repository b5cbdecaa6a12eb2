"""What the workers do while the judge holds the clock: new values come, addresses go.

Values are written into a candidate's memory while it is stopped, and its results are read out of that memory while it
is stopped again: nothing can be prepared before the clock starts, and nothing finished after it has ended.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ._arena import Arena, Slot, arena_size, lay_out, uniquely
from ._candidate import CandidateHost, candidate_from_json, describe_run
from ._protocol import Message
from ._reference import same_bits, tensor_leaves
from ._sets import describe_set, draw, strides_for

if TYPE_CHECKING:
    from ._oracle import Oracle

_WARM_CALLS = 3
_SWITCHES = ("mkldnn_enabled", "mkldnn_deterministic", "nnpack_enabled", "flash_sdp_enabled", "math_sdp_enabled")


class Rounds:
    """The side of a process that is timed from outside, be it the candidate's or its rivals'."""

    def __init__(self, host: CandidateHost) -> None:
        self.host = host
        self.args: list[tuple[Any, ...]] = []
        self.contenders: dict[str, Callable[..., Any]] = {}
        self.results: list[Any] = []
        self.called: list[int] = []
        self.shelf: _Shelf | None = None

    def take_sets(self, sets: Sequence[Message], descriptor: int) -> Message:
        """The arguments lie where the oracle writes them: no copy is made that could be looked at beforehand."""
        slots = [[Slot.from_json(s) for s in one["slots"]] for one in sets]
        self.arena = Arena.attach(descriptor, [s for one in slots for s in one])
        self.arena.close()  # the mapping stays
        self.args = [
            self.host.arguments(self.arena, one, data["others"]) for one, data in zip(slots, sets, strict=True)
        ]
        self.host.bind_own_state()
        return {}

    def take_shelf(self, slots: Sequence[Sequence[Any]], descriptor: int) -> Message:
        """Memory that the judge sees, too, for the results of calls that nobody times: slots by call."""
        places = [[Slot.from_json(s) for s in one] for one in slots]
        arena = Arena.attach(descriptor, [s for one in places for s in one])
        arena.close()  # the mapping stays
        self.shelf = _Shelf(arena, places)
        return {}

    def add(self, data: Message) -> Message:
        """Load a contender and call it until it is warm; says what its results look like."""
        name = str(data["digest"])
        if name not in self.contenders:
            self.contenders[name] = self.host.bring_to_life(candidate_from_json(data))
        times = []
        for k in range(_WARM_CALLS):
            self.stage()
            start = time.perf_counter()
            self.go(name, [k % len(self.args)])
            times.append(time.perf_counter() - start)
        return {**self.describe([0]), "seconds": min(times)}

    def stage(self) -> Message:
        """Forget the results of the last round; the state is again what it was."""
        self.results = []
        self.host.restore_state()
        return {}

    def go(self, name: str, calls: Sequence[int], shelved: bool = False) -> Message:
        """The only thing that is timed. Where the results lie is all that is said.

        ``shelved``: each is copied to its place on the shelf, so that hundreds do not keep the heap from being used
        again, and the judge need not read them out of this process.
        """
        if shelved:
            self.stage()
        results: list[Any] = []
        places: list[list[int]] = []  # none for those on the shelf
        if calls:
            call, shelf = self.contenders[name], self.shelf if shelved else None
            with torch.no_grad():
                for k in calls:
                    result = call(*self.args[k])
                    held = shelf.put(result, len(results)) if shelf is not None else None
                    results.append(result if held is None else held)
                    places.append(_addresses(result) if held is None else [])
        self.results, self.called = results, list(calls)
        return {"at": places}

    def describe(self, chosen: Sequence[int]) -> Message:
        """Shapes, strides and structure of the chosen results."""
        runs = []
        for k in chosen:
            result = self.results[k]
            description = describe_run(result, self.arena, (), self.args[self.called[k]])
            tensors = [t for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]
            runs.append({**description, "strides": [list(t.stride()) for t in tensors]})
        return {"runs": runs}


class _Shelf:
    """Room for many results of one form."""

    def __init__(self, arena: Arena, places: Sequence[Sequence[Slot]]) -> None:
        self.places = [[arena.tensor(slot) for slot in one] for one in places]

    def put(self, result: Any, k: int) -> Any:
        """The copy at place ``k``; None where the result is not of the form that is expected."""
        leaves, spec = pytree.tree_flatten(result)
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        forms = [(place.shape, place.stride(), place.dtype) for place in self.places[k]]
        if forms != [(t.shape, t.stride(), t.dtype) for t in tensors]:
            return None
        places = iter(self.places[k])
        with_copies = [_copied(next(places), leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        return pytree.tree_unflatten(with_copies, spec)


class Fresh:
    """The oracle's side: new values for every round, written for the candidate and for its rivals apart."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.arenas: list[Arena] = []

    def open(self, count: int, seed: int, rivals: bool) -> tuple[Message, list[int]]:
        """Memory for so many sets of arguments; rivals have theirs apart, which no candidate reaches."""
        args = self._draw([seed])[0]
        one = [(t.shape, strides_for(t, "same"), t.dtype) for t in tensor_leaves(args)]
        self.slots = lay_out(one * count)
        self.per_set = len(one)
        for arena in self.arenas:
            arena.close()
        self.arenas = [Arena.create(arena_size(self.slots)) for _ in range(1 + rivals)]
        described = [describe_set(args, self._of(k)) for k in range(count)]
        self._store([args] * count)
        return {"sets": described}, [arena.descriptor for arena in self.arenas]

    def write(self, seeds: Sequence[int]) -> Message:
        """Draw and write; the truth about them is found when it is asked for."""
        self.oracle.runner.use_state(0)
        self._store(self._draw(seeds))
        return {}

    def _store(self, sets: Sequence[tuple[Any, ...]]) -> None:
        self.oracle.timed = dict(enumerate(sets))
        self.oracle.timed_truths = {}
        for arena in self.arenas:
            arena.fill_pattern()
            for k, args in self.oracle.timed.items():
                for tensor, slot in zip(tensor_leaves(args), self._of(k), strict=True):
                    uniquely(arena.tensor(slot)).copy_(uniquely(tensor.detach()))

    def check(self, runs: Sequence[Message], descriptor: int) -> Message:
        """Are the inputs as they were, and the outputs right?"""
        mine = self.arenas[0]
        for k, args in self.oracle.timed.items():
            for position, (tensor, slot) in enumerate(zip(tensor_leaves(args), self._of(k), strict=True)):
                changed = position in self.oracle.runner.changed_args
                if not changed and not same_bits(tensor, mine.tensor(slot)):
                    return {
                        "category": "input-mutated",
                        "detail": f"it changed the values of tensor argument {position}",
                    }
        if not mine.guards_intact(self.slots):
            return {"category": "guard", "detail": "it wrote outside the memory of an input"}
        arena = Arena.attach(os.dup(descriptor), [Slot.from_json(s) for run in runs for s in run["slots"]])
        try:
            return self.oracle.check_timed(runs, arena)
        finally:
            arena.close()

    def _draw(self, seeds: Sequence[int]) -> list[tuple[Any, ...]]:
        return [draw(self.oracle.task, self.oracle.runner.reference, seed) for seed in seeds]

    def _of(self, k: int) -> list[Slot]:
        return self.slots[k * self.per_set : (k + 1) * self.per_set]


def environment() -> Message:
    """What a candidate might change about its process to compute otherwise than its rivals do."""
    third = np.float32(1) / np.float32(3)
    return {
        "threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "gradient mode": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of products": torch.get_float32_matmul_precision(),
        "libraries": [getattr(torch._C, f"_get_{name}")() for name in _SWITCHES if hasattr(torch._C, f"_get_{name}")],
        "subnormal numbers": float(np.float32(1e-40) * np.float32(1)) > 0,  # FTZ or DAZ in MXCSR would lose it
        "rounding": [float(third), float(-third), float(np.float32(1) + np.float32(2**-24 * 1.5))],
        "working directory": os.getcwd(),
        "environment variables": hashlib.sha256(repr(sorted(_kept_variables())).encode()).hexdigest(),
    }


def _copied(place: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    uniquely(place).copy_(uniquely(tensor))
    return place


def _kept_variables() -> list[tuple[str, str]]:
    """Without those that loading a file with extensions sets."""
    return [(k, v) for k, v in os.environ.items() if k not in ("TORCH_EXTENSIONS_DIR", "MAX_JOBS")]


def _addresses(result: Any) -> list[int]:
    if isinstance(result, torch.Tensor):
        return [result.data_ptr()]
    return [leaf.data_ptr() for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
