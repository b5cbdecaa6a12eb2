"""The oracle's side: draws the inputs, knows the truth, and compares. It never runs a candidate's code.

A *set* is the arguments of one call; a *case* is one or two sets that lie in shared memory for the candidate, together
with room for its outputs. Addresses stay the same from case to case while the values change.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from ..errors import InputsInvalid, ReferenceFailed
from ..task import STRUCTURES, Task, load
from ._arena import Arena, Slot, aliases, arena_size, lay_out, uniquely
from ._form import check_form
from ._health import examine, size_of
from ._protocol import Message
from ._reference import Runner, same_bits, tensor_leaves
from ._screen import Screen
from ._sets import default_sizes, describe_set, draw, strides_for
from ._truth import Truth, Truths

_KNOWN_BYTES = 256 << 20  # of truths that may be asked for again
_Key = tuple[int, str, tuple[tuple[int, int], ...], int]  # seed, structure, sizes, seed of the parameters
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
        self.ahead: tuple[tuple[int, str], Future[tuple[Any, ...]]] | None = None
        self.timed: dict[int, tuple[Any, ...]] = {}
        self.timed_truths: dict[int, Truth] = {}

    # ── open: is the reference any good? ──

    def open(self, task: Task, seed: int) -> tuple[Message, list[int]]:
        """Load the task, prove that its reference can serve as one, and share its state."""
        self.task = task
        reference = load(task)
        self.runner = Runner(reference)
        self.truths = Truths(self.runner, task.name)
        self.given = draw(task, reference, seed)
        health = examine(self.truths, self.given, self.memory_limit)
        self.examined, self.counted = health.truth, health.cost
        arena, slots = self._share_state()
        copied = self.runner.pristine or self.runner.changed_args  # then the answers are clones, which alias nothing
        first = self.examined.returned - len(self.examined.gradients)  # a gradient may be a cotangent as it is
        shared = aliases(health.answer.tensors[:first], tensor_leaves(self.given))
        shared += range(first, self.examined.returned)
        return {
            "state": {name: slot.to_json() for name, slot in slots.items()},
            "changed": list(self.runner.pristine),
            "changed_args": self.runner.changed_args,
            "input_bytes": size_of(tensor_leaves(self.given)),
            "output_bytes": size_of(health.answer.tensors),
            "state_bytes": size_of(list(reference.state.values())),
            "eager_seconds": health.eager_seconds,
            "exact_seconds": health.exact_seconds,
            "oracle": health.oracle,
            "double_fault": self.runner.double_fault,
            "length": self.truths.length,
            "dynamic_sizes": default_sizes(task, self.given),
            "aliases": None if copied else shared,
            "gradients": list(self.examined.gradients),
        }, [arena.descriptor]

    def screen(self, seed: int) -> Message:
        """Which trivial candidates would pass, and on which law of inputs none does (:class:`Screen`)."""
        screen = Screen(self.task, self.truths, self.given, self.examined)
        self.runner.use_state(0)
        try:
            return screen.run(seed)
        finally:
            self.settle()

    def settle(self) -> Message:
        """The task's own state in the shared memory, whatever the cases before made of it."""
        self.runner.use_state(0)
        self._write_state()
        return {}

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
        self.written = self.runner.state.seed

    # ── cases ──

    def prepare(
        self,
        sets: Sequence[tuple[int, str]],
        sequence: list[int],
        sizes: dict[str, int],
        layout: str,
        fresh: bool = True,
        state: int = 0,
        later: bool = False,
        ahead: tuple[int, str] | None = None,
    ) -> tuple[Message, list[int]]:
        """Draw sets given by (seed, structure), find their truths, and lay them out for the candidate.

        ``state`` is the seed of the parameters that reference and candidate compute with (0: the task's own);
        ``later``: float64 is asked when a comparison needs it; ``ahead``: a set that will be asked for next, to be
        drawn while the candidate is busy with this one. Raises ``TaskError`` when the reference is not defined for what
        was drawn.
        """
        wanted = {int(k): v for k, v in sizes.items()}
        keys = [(seed, structure, tuple(wanted.items()), state) for seed, structure in sets]
        for key in keys:
            if key not in self.known:
                found = self._find(key[0], key[1], wanted, state, later)
                self._forget(keys)
                self.known[key] = found
        self.runner.use_state(state, self.given)
        pairs = [self.known[key] for key in keys]
        args, truths = [a for a, _ in pairs], [t for _, t in pairs]
        leaves = [t for a in args for t in tensor_leaves(a)]
        shift = 1 if layout == "shifted" else 0
        flat = lay_out([(t.shape, strides_for(t, layout), t.dtype) for t in leaves], shift=shift)
        per_set = len(flat) // len(args)
        input_slots = [flat[k * per_set : (k + 1) * per_set] for k in range(len(args))]
        returned = [truths[k].eager.tensors[: truths[k].returned] for k in sequence]
        out = lay_out([(t.shape, t.contiguous().stride(), t.dtype) for run in returned for t in run])
        ends = [sum(len(r) for r in returned[:k]) for k in range(len(returned) + 1)]
        output_slots = [out[a:b] for a, b in pairwise(ends)]
        if fresh or self.written != state:
            self._write_state()  # whatever an earlier candidate did to it must not cost a later one its verdict
        self.inputs = _reuse(self.inputs, arena_size(flat))
        self.outputs = _reuse(self.outputs, arena_size(out))
        self.case = _Case(args, truths, sequence, input_slots, output_slots)
        self._write_inputs()
        if ahead is not None:
            self._foresee(*ahead)
        return {
            "sets": [describe_set(a, s) for a, s in zip(args, input_slots, strict=True)],
            "sequence": sequence,
            "outputs": [[slot.to_json() for slot in run] for run in output_slots],
        }, [self.inputs.descriptor, self.outputs.descriptor]

    def _find(
        self, seed: int, structure: str, sizes: dict[int, int], state: int, later: bool
    ) -> tuple[tuple[Any, ...], Truth]:
        self.runner.use_state(0)  # what may be drawn is found out with the task's own state
        ahead, self.ahead = self.ahead, None
        if ahead is not None and ahead[0] == (seed, structure) and not sizes:
            drawn = ahead[1].result()
        else:
            drawn = draw(self.task, self.runner.reference, seed, structure, sizes)
        self.runner.use_state(state, self.given)
        truth = self.truths.find(drawn, later=later)
        if state and any(t.is_floating_point() and bool(t.isnan().any()) for t in truth.eager.tensors):
            raise InputsInvalid(f"The reference of {self.task.name} returns NaN with other parameters.")
        return drawn, truth

    def _foresee(self, seed: int, structure: str) -> None:
        """Draw a set in another thread, if nothing else can notice."""
        apart = getattr(self.runner.reference.draw, "apart", None)
        if apart is not None and structure in STRUCTURES and apart(structure):
            drawing = _aside().submit(draw, self.task, self.runner.reference, seed, structure)
            self.ahead = (seed, structure), drawing

    def _forget(self, wanted: Sequence[_Key]) -> None:
        """Drop truths that cost little, and the oldest that nobody asked for until the rest may stay."""
        room = min(_KNOWN_BYTES, self.memory_limit // 8)
        for key in [k for k in self.known if k not in wanted]:
            if not self.known[key][1].expected:  # to draw them again takes no longer than to page memory in
                del self.known[key]
        for key in [k for k in self.known if k not in wanted]:
            if sum(truth.bytes for _, truth in self.known.values()) <= room:
                break
            del self.known[key]

    def check(self, reply: Message) -> Message:
        """Compare what the candidate left behind with the truth of the case that was prepared last.

        ``unknown``: the reference does not say what is right, which is found out when float64 is asked for.
        """
        try:
            return self._check(reply)
        except ReferenceFailed as fault:
            return {"unknown": str(fault)}

    def _check(self, reply: Message) -> Message:
        case = self.case
        assert case is not None
        if self.inputs is None or self.outputs is None:
            raise ValueError("no case was prepared")
        fault = self._check_memory(case)
        if fault:
            return fault
        worst, compared, repeated, varied = 0.0, 0, 0, 0
        for k, index in enumerate(case.sequence):
            slots, first = case.output_slots[k], case.sequence.index(index)
            known = first < k and self._alike(slots, case.output_slots[first])
            repeated, varied = repeated + (first < k), varied + (first < k and not known)
            result = self._check_run(case.truths[index], reply["runs"][k], slots, known=known)
            if "category" in result:
                return {**result, "run": k}
            worst, compared = max(worst, result["error"]), compared + result["compared"]
        result = self._check_changes(case)
        if "category" in result:
            return result
        empty = all(t.numel() == 0 for index in case.sequence for t in case.truths[index].eager.tensors)
        found = {"error": max(worst, result["error"]), "compared": compared, "empty": empty}
        return {**found, "repeated": repeated, "varied": varied}

    def _alike(self, run: Sequence[Slot], other: Sequence[Slot]) -> bool:
        assert self.outputs is not None
        return all(same_bits(self.outputs.tensor(a), self.outputs.tensor(b)) for a, b in zip(run, other, strict=True))

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
                    detail = f"it changed the values of {self._argument(args, k)}"
                    return {"category": "input-mutated", "detail": detail}
        state = self.runner.reference.state
        for name, slot in self.state_slots.items():
            if name not in self.runner.pristine and not same_bits(state[name].detach(), self.state_arena.tensor(slot)):
                return {"category": "input-mutated", "detail": f"it changed {name}"}
        return None

    def _check_run(self, truth: Truth, run: Message, slots: Sequence[Slot], *, known: bool = False) -> Message:
        """One call's returned values; ``known``: bits like these were held against the truth already."""
        assert self.outputs is not None
        fault = check_form(truth, run, slots)
        if fault or known:
            return fault or {"error": 0.0, "compared": 0}
        worst, compared = 0.0, 0
        for k, slot in enumerate(slots):
            result = self.truths.compare(truth, k, self.outputs.tensor(slot).clone())
            if result.category:
                title = truth.title(k)
                return {"category": result.category, "error": result.error, "detail": f"{title}: {result.detail}"}
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
        self.runner.use_state(0)
        reference = self.runner.reference
        self.timed = {k: draw(self.task, reference, seed) for k, seed in enumerate(seeds)}
        self.timed_truths = {}
        leaves = [t for args in self.timed.values() for t in tensor_leaves(args)]
        flat = lay_out([(t.shape, strides_for(t, "same"), t.dtype) for t in leaves])
        arena = Arena.create(arena_size(flat))
        per_set = len(flat) // len(self.timed)
        described = []
        for k, args in self.timed.items():
            slots = flat[k * per_set : (k + 1) * per_set]
            described.append(describe_set(args, slots))
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
            worst, count, start = 0.0, 0, time.perf_counter()
            for run in runs:
                if count and time.perf_counter() - start > _TIMED_SECONDS:
                    break  # which calls were kept is random, so the rest may go
                count += 1
                index = int(run["set"])
                if index not in self.timed_truths:
                    self.runner.use_state(0)
                    self.timed_truths[index] = self.truths.find(self.timed[index], later=True)
                slots = [Slot.from_json(s) for s in run["slots"]]
                result = self._check_run(self.timed_truths[index], run, slots)
                if "category" in result:
                    return result
                worst = max(worst, result["error"])
            return {"error": worst, "runs": count}
        finally:
            self.outputs = kept

    def cost(self) -> Message:
        """Flops and bytes of one call on the task's own inputs, counted while the reference was examined."""
        return {"flops": self.counted.flops, "bytes": self.counted.bytes}

    # ── memory ──

    def reveal(self) -> Message:
        """Write the cotangents of a case, which were kept back until its forward passes were done."""
        assert self.case is not None
        assert self.inputs is not None
        for args, run in zip(self.case.args, self.case.input_slots, strict=True):
            held = self._cotangents(args)
            for tensor, slot in zip(held, run[len(run) - len(held) :], strict=True):
                uniquely(self.inputs.tensor(slot)).copy_(tensor)
        return {}

    def _argument(self, args: tuple[Any, ...], k: int) -> str:
        first = len(tensor_leaves(args)) - len(self._cotangents(args))
        return f"tensor argument {k}" if k < first else f"cotangent {k - first}"

    def _cotangents(self, args: tuple[Any, ...]) -> Sequence[torch.Tensor]:
        return () if self.runner.reference.gradients is None else args[-1]

    def _write_inputs(self) -> None:
        assert self.case is not None
        assert self.inputs is not None
        assert self.outputs is not None
        self.inputs.fill_pattern()
        self.outputs.fill_pattern()
        for args, run in zip(self.case.args, self.case.input_slots, strict=True):
            held = len(self._cotangents(args))
            for tensor, slot in list(zip(tensor_leaves(args), run, strict=True))[: len(run) - held]:
                uniquely(self.inputs.tensor(slot)).copy_(uniquely(tensor.detach()))
        for name, tensor in self.runner.pristine.items():
            self.state_arena.tensor(self.state_slots[name]).copy_(tensor)
        self.runner.restore()


@functools.cache
def _aside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def _reuse(arena: Arena | None, size: int) -> Arena:
    """The same memory while it fits exactly, so that new values appear at old addresses."""
    if arena is not None and arena.size == size:
        return arena
    if arena is not None:
        arena.close()
    return Arena.create(size)
