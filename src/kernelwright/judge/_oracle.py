"""The oracle's side: draws the inputs, knows the truth, and compares. It never runs a candidate's code.

A *set* is the arguments of one call; a *case* is one or two sets that lie in shared memory for the candidate, together
with room for its outputs. Addresses stay the same from case to case while the values change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
import torch
from torch.utils import _pytree as pytree

from ..errors import (
    InputsInvalid,
    ReferenceFailed,
    ReferenceNondeterministic,
    ReferenceTooLarge,
    TaskError,
)
from ..task import Task, load, measured_cost
from ._arena import Arena, Slot, aliases, arena_size, lay_out, uniquely
from ._bounds import compare, expect
from ._protocol import Message
from ._reference import Answer, Runner, same_bits, tensor_leaves
from ._truth import RUN_SEED, Truth, Truths, is_memory

_REORDERED = 64.0  # rounding bounds by which two runs of a deterministic reference may differ (atomics, threads)
_KNOWN_BYTES = 256 << 20  # of truths that may be asked for again
_Key = tuple[int, str, tuple[tuple[int, int], ...]]
_TIMED_SECONDS = 1.0  # verification of further timed calls does not begin after this


@dataclass
class _Case:
    args: list[tuple[Any, ...]]
    truths: list[Truth]
    sequence: list[int]
    input_slots: list[list[Slot]]
    output_slots: list[list[Slot]]


class Oracle:
    """Answers the parent's requests about one task."""

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self.case: _Case | None = None
        self.inputs: Arena | None = None
        self.outputs: Arena | None = None
        self.known: dict[_Key, tuple[tuple[Any, ...], Truth]] = {}
        self.timed: dict[int, tuple[Any, ...]] = {}
        self.timed_truths: dict[int, Truth] = {}

    # ── open: is the reference any good? ──

    def open(self, task: Task, seed: int) -> tuple[Message, list[int]]:
        """Load the task, prove that its reference can serve as one, and share its state."""
        self.task = task
        reference = load(task)
        self.runner = Runner(reference)
        self.truths = Truths(self.runner, task.name)
        args = self._draw(seed, "given", {})
        args_leaves = tensor_leaves(args)
        inputs = _bytes(args_leaves)
        self._room_for(3 * inputs, "inputs")  # themselves, and in float64
        first = self._discover(args)
        outputs = _bytes(first.tensors)
        self._room_for(3 * inputs + 8 * outputs + 3 * _bytes(list(reference.state.values())), "inputs and outputs")
        start = time.perf_counter()
        again = self.runner.eager(args, RUN_SEED)
        eager_seconds = time.perf_counter() - start
        start = time.perf_counter()
        truth = self.truths.find(args, measure_length=True)
        exact_seconds = time.perf_counter() - start
        self._check_health(args, truth, first, again)
        arena, slots = self._share_state()
        copied = self.runner.pristine or self.runner.changed_args  # then the answers are clones, which alias nothing
        return {
            "state": {name: slot.to_json() for name, slot in slots.items()},
            "changed": list(self.runner.pristine),
            "changed_args": self.runner.changed_args,
            "input_bytes": inputs,
            "output_bytes": outputs,
            "state_bytes": _bytes(list(reference.state.values())),
            "eager_seconds": eager_seconds,
            "exact_seconds": exact_seconds,
            "double_fault": self.runner.double_fault,
            "length": self.truths.length,
            "dynamic_sizes": self._default_sizes(args),
            "aliases": None if copied else aliases(again.tensors, args_leaves),
        }, [arena.descriptor]

    def _discover(self, args: tuple[Any, ...]) -> Answer:
        name = self.task.name
        try:
            answer = self.runner.discover(args, RUN_SEED)
        except Exception as error:
            if is_memory(error):
                raise
            text = " ".join(str(error).split())[:300]
            raise ReferenceFailed(
                f"The reference of {name} raises {type(error).__name__} on its own inputs: {text}"
            ) from error
        if not answer.tensors:
            raise ReferenceFailed(f"The reference of {name} returns no tensor, so there is nothing to compare.")
        return answer

    def _check_health(self, args: tuple[Any, ...], truth: Truth, first: Answer, again: Answer) -> None:
        name = self.task.name
        other = self._count(args)
        for run, why in ((again, "on the same inputs"), (first, "on the same inputs"), (other, "with another seed")):
            shapes = [(t.shape, t.dtype) for t in run.tensors] == [(t.shape, t.dtype) for t in truth.eager.tensors]
            if not shapes or any(self._differ(a, b) for a, b in zip(truth.eager.tensors, run.tensors, strict=True)):
                raise ReferenceNondeterministic(
                    f"Two runs of the reference of {name} {why} disagree; remove the randomness (for dropout: .eval())."
                )
        finite = all(bool(t.isfinite().all()) for t in tensor_leaves(args) if t.is_floating_point())
        bad = [k for k, t in enumerate(first.tensors) if t.is_floating_point() and bool(t.isnan().any())]
        if finite and bad:
            raise ReferenceFailed(f"The reference of {name} returns NaN for its own, finite inputs (output {bad[0]}).")

    def _count(self, args: tuple[Any, ...]) -> Answer:
        """A run with another seed, under a counter of its work."""
        found: list[Answer] = []

        def call() -> list[torch.Tensor]:
            found.append(self.runner.eager(args, RUN_SEED + 1))
            return found[0].tensors

        self.counted = measured_cost(call, tensor_leaves(args), list(self.runner.reference.state.values()))
        return found[0]

    def _differ(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """By more than the order of a few sums? Judged by rounding alone: randomness would widen the oracle's bound."""
        if same_bits(one, other):
            return False
        return compare(expect(one, one, [], self.truths.length), other).error > _REORDERED

    def _room_for(self, need: int, what: str) -> None:
        have = min(psutil.virtual_memory().available, self.memory_limit)
        if need > have:
            raise ReferenceTooLarge(
                f"Judging {self.task.name} needs about {need >> 20} MiB for its {what}, "
                f"but {have >> 20} MiB are free; use smaller inputs (--scale cpu)."
            )

    def _share_state(self) -> tuple[Arena, dict[str, Slot]]:
        state = self.runner.reference.state
        self.runner.restore()
        slots = lay_out([(t.shape, t.contiguous().stride(), t.dtype) for t in state.values()])
        self.state_arena = Arena.create(arena_size(slots))
        self.state_slots = dict(zip(state, slots, strict=True))
        self._write_state()
        return self.state_arena, self.state_slots

    def _write_state(self) -> None:
        self.runner.restore()
        self.state_arena.fill_pattern()
        for name, slot in self.state_slots.items():
            self.state_arena.tensor(slot).copy_(self.runner.reference.state[name].detach())

    # ── cases ──

    def prepare(
        self,
        sets: Sequence[tuple[int, str]],
        sequence: list[int],
        sizes: dict[str, int],
        layout: str,
        fresh: bool = True,
    ) -> tuple[Message, list[int]]:
        """Draw sets given by (seed, structure), find their truths, and lay them out for the candidate."""
        wanted = {int(k): v for k, v in sizes.items()}
        keys = [(seed, structure, tuple(wanted.items())) for seed, structure in sets]
        for key in keys:
            if key not in self.known:
                drawn = self._draw(key[0], key[1], wanted)
                self._forget(keys)
                self.known[key] = (drawn, self.truths.find(drawn))
        pairs = [self.known[key] for key in keys]
        args, truths = [a for a, _ in pairs], [t for _, t in pairs]
        leaves = [t for a in args for t in tensor_leaves(a)]
        shift = 1 if layout == "shifted" else 0
        flat = lay_out([(t.shape, _strides(t, layout), t.dtype) for t in leaves], shift=shift)
        per_set = len(flat) // len(args)
        input_slots = [flat[k * per_set : (k + 1) * per_set] for k in range(len(args))]
        returned = [truths[k].eager.tensors[: truths[k].returned] for k in sequence]
        out = lay_out([(t.shape, t.contiguous().stride(), t.dtype) for run in returned for t in run])
        ends = [sum(len(r) for r in returned[:k]) for k in range(len(returned) + 1)]
        output_slots = [out[a:b] for a, b in pairwise(ends)]
        if fresh:  # whatever an earlier candidate did to the shared memory must not cost a later one its verdict
            self._write_state()
        self.inputs = _reuse(self.inputs, arena_size(flat))
        self.outputs = _reuse(self.outputs, arena_size(out))
        self.case = _Case(args, truths, sequence, input_slots, output_slots)
        self._write_inputs()
        return {
            "sets": [_describe_set(a, s) for a, s in zip(args, input_slots, strict=True)],
            "sequence": sequence,
            "outputs": [[slot.to_json() for slot in run] for run in output_slots],
        }, [self.inputs.descriptor, self.outputs.descriptor]

    def _forget(self, wanted: Sequence[_Key]) -> None:
        """Drop the oldest truths that nobody asked for until the rest may stay."""
        room = min(_KNOWN_BYTES, self.memory_limit // 8)
        for key in [k for k in self.known if k not in wanted]:
            if sum(truth.bytes for _, truth in self.known.values()) <= room:
                break
            del self.known[key]

    def check(self, reply: Message) -> Message:
        """Compare what the candidate left behind with the truth of the case that was prepared last."""
        case = self.case
        assert case is not None
        if self.inputs is None or self.outputs is None:
            raise ValueError("no case was prepared")
        fault = self._check_memory(case)
        if fault:
            return fault
        worst, compared = 0.0, 0
        for k, index in enumerate(case.sequence):
            result = self._check_run(case.truths[index], reply["runs"][k], case.output_slots[k])
            if "category" in result:
                return {**result, "run": k}
            worst, compared = max(worst, result["error"]), compared + result["compared"]
        result = self._check_changes(case)
        if "category" in result:
            return result
        empty = all(e.value.numel() == 0 for index in case.sequence for e in case.truths[index].expected)
        return {"error": max(worst, result["error"]), "compared": compared, "empty": empty}

    def _check_memory(self, case: _Case) -> Message | None:
        assert self.inputs is not None
        assert self.outputs is not None
        slots = [slot for run in case.input_slots for slot in run]
        for name, arena, used in (
            ("an input", self.inputs, slots),
            ("an output", self.outputs, [s for run in case.output_slots for s in run]),
            ("a parameter", self.state_arena, list(self.state_slots.values())),
        ):
            if not arena.guards_intact(used):
                return {"category": "guard", "detail": f"it wrote outside the memory of {name}"}
        for args, run in zip(case.args, case.input_slots, strict=True):
            for k, (tensor, slot) in enumerate(zip(tensor_leaves(args), run, strict=True)):
                if k not in self.runner.changed_args and not same_bits(tensor, self.inputs.tensor(slot)):
                    return {"category": "input-mutated", "detail": f"it changed the values of tensor argument {k}"}
        state = self.runner.reference.state
        for name, slot in self.state_slots.items():
            if name not in self.runner.pristine and not same_bits(state[name].detach(), self.state_arena.tensor(slot)):
                return {"category": "input-mutated", "detail": f"it changed {name}"}
        return None

    def _check_run(self, truth: Truth, run: Message, slots: Sequence[Slot]) -> Message:
        """One call's returned values."""
        assert self.outputs is not None
        fault = _check_form(truth, run, slots)
        if fault:
            return fault
        worst, compared = 0.0, 0
        for k, slot in enumerate(slots):
            result = self.truths.compare(truth, k, self.outputs.tensor(slot).clone())
            if result.category:
                return {"category": result.category, "error": result.error, "detail": f"output {k}: {result.detail}"}
            worst, compared = max(worst, result.error), compared + result.compared
        return {"error": worst, "compared": compared}

    def _check_changes(self, case: _Case) -> Message:
        """State and arguments that the reference changes must be changed alike (by the last call)."""
        assert self.inputs is not None
        truth = case.truths[case.sequence[-1]]
        found = [(f"buffer {n}", self.state_arena.tensor(self.state_slots[n])) for n in self.runner.pristine]
        run = case.input_slots[case.sequence[-1]]
        found += [(f"argument {k}", self.inputs.tensor(run[k])) for k in self.runner.changed_args]
        worst = 0.0
        for k, (name, tensor) in enumerate(found):
            result = self.truths.compare(truth, truth.returned + k, tensor.clone())
            if result.category:
                return {"category": result.category, "error": result.error, "detail": f"{name}: {result.detail}"}
            worst = max(worst, result.error)
        return {"error": worst}

    # ── sets for timing ──

    def timing_sets(self, seeds: Sequence[int]) -> tuple[Message, list[int]]:
        """Draw the argument sets of a measurement; the truth about them is found when it is asked for."""
        self.timed = {k: self._draw(seed, "given", {}) for k, seed in enumerate(seeds)}
        self.timed_truths = {}
        leaves = [t for args in self.timed.values() for t in tensor_leaves(args)]
        flat = lay_out([(t.shape, _strides(t, "same"), t.dtype) for t in leaves])
        arena = Arena.create(arena_size(flat))
        per_set = len(flat) // len(self.timed)
        described = []
        for k, args in self.timed.items():
            slots = flat[k * per_set : (k + 1) * per_set]
            described.append(_describe_set(args, slots))
        self.timed_arena, self.timed_slots = arena, flat
        self.refresh_timing()
        return {"sets": described}, [arena.descriptor]

    def refresh_timing(self) -> Message:
        """Write the sets (again): a candidate's process that is gone may have damaged them."""
        leaves = [t for args in self.timed.values() for t in tensor_leaves(args)]
        for tensor, slot in zip(leaves, self.timed_slots, strict=True):
            uniquely(self.timed_arena.tensor(slot)).copy_(uniquely(tensor.detach()))
        return {}

    def check_timed(self, runs: Sequence[Message], arena: Arena) -> Message:
        """Compare outputs of timed calls, each with the set it was computed from."""
        self.outputs, kept = arena, self.outputs
        try:
            worst, start = 0.0, time.perf_counter()
            for number, run in enumerate(runs):
                if number and time.perf_counter() - start > _TIMED_SECONDS:
                    break  # which calls were kept is random, so the rest may go
                index = int(run["set"])
                if index not in self.timed_truths:
                    self.timed_truths[index] = self.truths.find(self.timed[index])
                slots = [Slot.from_json(s) for s in run["slots"]]
                result = self._check_run(self.timed_truths[index], run, slots)
                if "category" in result:
                    return result
                worst = max(worst, result["error"])
            return {"error": worst}
        finally:
            self.outputs = kept

    def cost(self) -> Message:
        """Flops and bytes of one call on the task's own inputs, counted while the reference was examined."""
        return {"flops": self.counted.flops, "bytes": self.counted.bytes}

    # ── drawing ──

    def _draw(self, seed: int, structure: str, sizes: dict[int, int]) -> tuple[Any, ...]:
        draw = self.runner.reference.draw
        try:
            args = draw(seed, structure)
            return _resize(args, self.task, sizes, lambda k: draw(seed + k, structure)) if sizes else args
        except TaskError:
            raise
        except Exception as error:
            if is_memory(error):
                raise
            raise InputsInvalid(
                f"Drawing inputs for {self.task.name} raises {type(error).__name__}: {error}"
            ) from error

    def _default_sizes(self, args: tuple[Any, ...]) -> list[int]:
        leaves = tensor_leaves(args)
        return [int(leaves[d.arg].shape[d.dim]) for d in self.task.dynamic]

    def _write_inputs(self) -> None:
        assert self.case is not None
        assert self.inputs is not None
        assert self.outputs is not None
        self.inputs.fill_pattern()
        self.outputs.fill_pattern()
        for args, run in zip(self.case.args, self.case.input_slots, strict=True):
            for tensor, slot in zip(tensor_leaves(args), run, strict=True):
                uniquely(self.inputs.tensor(slot)).copy_(uniquely(tensor.detach()))
        for name, tensor in self.runner.pristine.items():
            self.state_arena.tensor(self.state_slots[name]).copy_(tensor)
        self.runner.restore()


def _check_form(truth: Truth, run: Message, slots: Sequence[Slot]) -> Message | None:
    """Count, shapes, dtypes, layout and structure of what was returned."""
    want = truth.eager.tensors[: truth.returned]
    have = [(tuple(t["shape"]), str(t["dtype"])) for t in run["tensors"]]
    if len(have) != len(want):
        return {"category": "shape", "detail": f"it returns {len(have)} tensors instead of {len(want)}"}
    for k, ((shape, dtype), tensor) in enumerate(zip(have, want, strict=True)):
        if shape != tuple(tensor.shape):
            return {"category": "shape", "detail": f"output {k} has shape {shape} instead of {tuple(tensor.shape)}"}
        if dtype != str(tensor.dtype).removeprefix("torch."):
            return {"category": "dtype", "detail": f"output {k} is {dtype} instead of {str(tensor.dtype)[6:]}"}
        if tensor.is_contiguous() and not run["tensors"][k]["contiguous"]:
            return {"category": "shape", "detail": f"output {k} is not contiguous as the reference's is"}
    if run["tree"] != truth.eager.tree:
        return {"category": "shape", "detail": f"it returns {run['tree']} instead of {truth.eager.tree}"}
    for mine, its in zip(truth.eager.others, run["others"], strict=False):
        if not _same_value(mine, its):
            return {"category": "value", "detail": f"it returns {its!r} where the reference returns {mine!r}"}
    if len(slots) != len(want):
        return {"category": "shape", "detail": "it returns outputs that do not fit"}
    return None


def _same_value(mine: Any, its: Any) -> bool:
    if isinstance(mine, float) and isinstance(its, float | int):
        return abs(mine - its) <= 1e-5 * abs(mine) or (mine != mine and its != its)
    return not isinstance(mine, bool | int | str | None) or bool(mine == its)


def _describe_set(args: tuple[Any, ...], slots: Sequence[Slot]) -> Message:
    """JSON of one set: slots of the tensors and the other leaves' values (null: as the task's own draw has it)."""
    leaves = pytree.tree_leaves(args)
    others = [x if isinstance(x, bool | int | float | str) else None for x in leaves if not isinstance(x, torch.Tensor)]
    return {"slots": [slot.to_json() for slot in slots], "others": others}


def _strides(tensor: torch.Tensor, layout: str) -> tuple[int, ...]:
    """Strides in elements for a layout: as drawn, or not contiguous (every other element of a wider tensor)."""
    if layout != "strided" or tensor.dim() == 0:
        return tuple(tensor.stride())
    shape = list(tensor.shape)
    shape[-1] = max(2 * shape[-1], 1)
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * max(shape[d + 1], 1)
    strides[-1] = 2
    return tuple(strides)


def _resize(args: tuple[Any, ...], task: Task, sizes: dict[int, int], more: Any) -> tuple[Any, ...]:
    """Other sizes for the dynamic dimensions: cut what was drawn, or draw more of the same kind and append it."""
    leaves, spec = pytree.tree_flatten(args)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for index, size in sizes.items():
        dynamic = task.dynamic[index]
        place = places[dynamic.arg]
        parts, have = [leaves[place]], int(leaves[place].shape[dynamic.dim])
        while sum(int(p.shape[dynamic.dim]) for p in parts) < size:
            if have == 0:
                raise InputsInvalid(f"Argument {dynamic.arg} of {task.name} is empty and cannot be made longer.")
            extra = tensor_leaves(more(len(parts)))[dynamic.arg]
            for other, other_size in sizes.items():  # dimensions of the same tensor that were resized already
                d = task.dynamic[other]
                if d.arg == dynamic.arg and d.dim != dynamic.dim and leaves[place].shape[d.dim] == other_size:
                    repeat = -(-other_size // max(int(extra.shape[d.dim]), 1))
                    extra = torch.cat([extra] * repeat, d.dim).narrow(d.dim, 0, other_size)
            parts.append(extra)
        leaves[place] = torch.cat(parts, dynamic.dim).narrow(dynamic.dim, 0, size).contiguous()
    return pytree.tree_unflatten(leaves, spec)


def _reuse(arena: Arena | None, size: int) -> Arena:
    """The same memory while it fits exactly, so that new values appear at old addresses."""
    if arena is not None and arena.size == size:
        return arena
    if arena is not None:
        arena.close()
    return Arena.create(size)


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
