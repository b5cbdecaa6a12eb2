"""The candidate worker's stopwatch: contenders interleaved in random rounds, on values that move every round."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ._arena import Arena, Slot, arena_size, lay_out, uniquely
from ._candidate import CandidateHost, candidate_from_json, describe_run
from ._clock import Call, Pace
from ._protocol import Message
from ._reference import clone_tree

_MIN_ROUNDS = 7
_MIN_ROUNDS_SLOW = 3
_MAX_ROUNDS = 400


class Stopwatch:
    """Times calls in this process: the same thread pool, the same memory, the same moment for all contenders."""

    def __init__(self, host: CandidateHost) -> None:
        self.host = host
        self.contenders: dict[str, Call] = {}
        self.masters: list[tuple[Any, ...]] = []
        self.work: list[tuple[Any, ...]] = []
        self.next = 0
        self.checked = 0  # outputs of timed calls that are handed over to be verified
        self.consumes = False  # the reference changes its arguments: they are written anew before each call

    def take_sets(self, sets: Sequence[Message], descriptor: int) -> Message:
        slots = [[Slot.from_json(s) for s in one["slots"]] for one in sets]
        arena = Arena.attach(descriptor, [s for one in slots for s in one])
        arena.close()  # the mapping stays
        self.masters = [self.host.arguments(arena, one, data["others"]) for one, data in zip(slots, sets, strict=True)]
        self.work = [clone_tree(args) for args in self.masters]
        self.contenders = {}
        self.host.bind_own_state()
        return {}

    def add(self, data: Message, baseline: bool) -> Message:
        """Load a contender and call it until it is warm (a baseline compiles now, and is kept)."""
        key = str(data["digest"])
        if not baseline:
            self.contenders = {k: v for k, v in self.contenders.items() if k.startswith("baseline ")}
            self.host.bind_own_state()
        name = f"baseline {key}" if baseline else key
        if name not in self.contenders:
            candidate = candidate_from_json(data)
            self.contenders[name] = self.host.bring_to_life(candidate)
        call, times = self.contenders[name], []
        for k in range(3):
            self.host.restore_state()
            times.append(self.host.clock.sample(name, call, [self.work[k % len(self.work)]])[0])
            if sum(times) > 1.0 and k:
                break
        return {"name": name, "seconds": min(times[1:])}

    def measure(self, request: Message) -> tuple[Message, list[int]]:
        """Rounds of one sample for each contender, in random order, until the time is up; keeps outputs to verify."""
        names: list[str] = request["names"]
        rng = random.Random(request["seed"])
        calls = {name: self.contenders[name] for name in names}
        self.consumes, self.checked = bool(request["consumes"]), int(request["checked"])
        # From the baseline's time, never the candidate's: a candidate must not choose how it is timed.
        pace = Pace(names[min(1, len(names) - 1)], request["call_seconds"], bool(self.host.pristine) or self.consumes)
        repeats = self.host.clock.begin(calls, self.work, pace)
        self.next = 0
        times: dict[str, list[float]] = {name: [] for name in names}
        kept: list[tuple[int, Any]] = []
        deadline = time.perf_counter() + request["seconds"]
        gc.collect()
        gc.disable()
        try:
            rounds = 0
            while rounds < _MAX_ROUNDS:
                start = time.perf_counter()
                self._round(calls, repeats, times, kept, rng)
                rounds += 1
                now = time.perf_counter()
                least = _MIN_ROUNDS if (now - start) * _MIN_ROUNDS < 2 * request["seconds"] else _MIN_ROUNDS_SLOW
                if rounds >= least and now + (now - start) > deadline:
                    break
        finally:
            gc.enable()
            notes, flushed = self.host.clock.end()
        reply, shared = self._hand_over(kept)
        return {**reply, "times": times, "repeats": repeats, "notes": notes, "flushed": flushed}, shared

    def _round(
        self, calls: dict[str, Call], repeats: int, times: dict[str, list[float]], kept: list[tuple[int, Any]],
        rng: random.Random,
    ) -> None:  # fmt: skip
        places = self._shuffle(rng)
        order = list(calls)
        rng.shuffle(order)
        for name in order:
            self.host.restore_state()
            if self.consumes:
                self._write(self.next % len(self.work), places[self.next % len(self.work)])
            seconds, last, result = self._sample(name, calls[name], repeats)
            times[name].append(seconds)
            if name == next(iter(calls)):
                # Reservoir sampling: which timed calls are verified is decided after they ran.
                seen = len(times[name])
                place = len(kept) if len(kept) < self.checked else rng.randrange(seen)
                if place < self.checked:
                    kept[place : place + 1] = [(places[last], clone_tree(result))]
            del result

    def _sample(self, name: str, call: Call, repeats: int) -> tuple[float, int, Any]:
        """Seconds of one call, the place of the last arguments used, and what the last call returned."""
        count, first = len(self.work), self.next
        queue = [self.work[(first + k) % count] for k in range(repeats)]
        self.next = (first + repeats) % count
        seconds, result = self.host.clock.sample(name, call, queue)
        return seconds / repeats, (first + repeats - 1) % count, result

    def _shuffle(self, rng: random.Random) -> list[int]:
        """Put other values at every address; ``places[k]`` is the set whose values lie in ``work[k]``."""
        places = list(range(len(self.work)))
        rng.shuffle(places)
        for k, source in enumerate(places):
            self._write(k, source)
        return places

    def _write(self, k: int, source: int) -> None:
        old, new = pytree.tree_leaves(self.work[k]), pytree.tree_leaves(self.masters[source])
        for to, value in zip(old, new, strict=True):
            if isinstance(to, torch.Tensor):
                uniquely(to).copy_(uniquely(value))

    def _hand_over(self, kept: Sequence[tuple[int, Any]]) -> tuple[Message, list[int]]:
        outputs = [[t for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)] for _, result in kept]
        slots = lay_out([(t.shape, t.contiguous().stride(), t.dtype) for run in outputs for t in run])
        arena = Arena.create(arena_size(slots))
        runs, position = [], 0
        for (index, result), run in zip(kept, outputs, strict=True):
            mine = slots[position : position + len(run)]
            position += len(run)
            description = describe_run(result, arena, mine, ())
            runs.append({**description, "set": index, "slots": [s.to_json() for s in mine]})
        self.arena = arena  # keeps the descriptor open until it is sent
        return {"runs": runs}, [arena.descriptor]
