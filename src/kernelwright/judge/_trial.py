"""Rounds with an untrusted candidate by the judge's clock: nothing in its process can bend it or finish work late.

A round: the candidate's process is stopped, the oracle writes values nobody has seen, the clock starts, the process
runs on, answers where its results lie, and is stopped in that instant. The results are read out of its memory while it
stands still. Its rivals run in another process by the same steps, which also tells what the steps themselves cost.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import WallsMissing
from ..machine import describe, peaks
from ..targets import Candidate
from ._arena import Arena, Slot, arena_size, lay_out
from ._candidate import candidate_to_json
from ._process import Worker, WorkerFault, WorkerLost
from ._protocol import Message
from ._verdict import Measurement, Rejected, Verdict

if TYPE_CHECKING:
    from ._session import Session

_COMPILE_SECONDS = 240.0
_BATCH_SECONDS = 2e-3  # calls that are shorter go several at once: the way to another process costs 0.1 ms
_MOST_CALLS = 16
BATCH_BYTES = 64 << 20  # of inputs and outputs of one batch
_MIN_ROUNDS, _MAX_ROUNDS = 7, 400
_SETTLE = 12e-3  # an answer is looked at again after so long
_SPIN = 0.3  # seconds of processor time: the threads of some pools look so long for more work before they sleep
_STARVED = 10  # times that it may take on a busy machine
_PHYSICS = 2.0  # so many times faster than memory can be: an error in the measurement is smaller
_CHECK_SHARE = 0.02  # of a trial's time for comparing one round's results
_NOISE = 0.05  # of a sample is at least left when the way is subtracted


@dataclass
class _Contender:
    """One that takes part; ``times`` are seconds of whole samples."""

    candidate: Candidate
    name: str
    form: list[Message]  # what its results look like
    warm: float = 0.0  # seconds of a call by its own account: for rivals alone
    times: list[float] = field(default_factory=list)


class Trial:
    """A candidate and its rivals, round after round."""

    CALL = "a timed call"

    def __init__(self, session: Session, candidate: Candidate, rivals: Sequence[Candidate]) -> None:
        self.session, self.candidate, self.rivals = session, candidate, rivals
        self.rng = random.Random(session.new_seed())
        self.empty: list[float] = []
        self.notes: list[str] = []
        self.verified = 0
        self.checking = 0.0
        facts = session.facts
        room = BATCH_BYTES // max(facts["input_bytes"] + facts["output_bytes"], 1)
        self.alone = bool(facts["changed"] or facts["changed_args"])  # a second call would see what the first changed
        self.most = 1 if self.alone else int(min(max(room, 1), _MOST_CALLS))
        self.batch = 1
        self.arena: Arena | None = None  # room for results that are read out of the candidate's memory

    def run(self, seconds: float) -> None:
        """Raises ``Rejected`` when a timed call is wrong, late or faster than physics."""
        with self.clearing_up():
            self._run_rounds(seconds)

    @contextmanager
    def clearing_up(self) -> Iterator[None]:
        """Nobody stays stopped, whatever happens."""
        try:
            yield
        finally:
            for worker in (self.session.worker, self.session.rivals_worker):
                if worker.alive:
                    worker.resume()
            if self.arena is not None:
                self.arena.close()

    def _run_rounds(self, seconds: float) -> None:
        self._prepare()
        settled = set(self.rng.sample(range(_MIN_ROUNDS), 3))
        deadline, number = time.monotonic() + seconds, 0
        while number < _MIN_ROUNDS or (number < _MAX_ROUNDS and time.monotonic() < deadline):
            with blamed("while it was timed"):
                self._round(
                    settle=number in settled or (number > _MIN_ROUNDS and self.rng.random() < 0.05), budget=seconds
                )
            number += 1
        self._physics()

    def summary(self) -> Measurement:
        """Times without the way to the processes and back."""
        from ._measure import paired_ratio, roofline_fraction

        way = float(np.median(self.empty))
        found = {}
        for one in (self.mine, *self.others):
            raw = np.asarray(one.times)
            found[one.name] = np.maximum(raw - way, _NOISE * raw) / self.batch
        own = found[self.mine.name]
        fraction, notes = roofline_fraction(self.session, float(np.median(own)), cold=False)
        return Measurement(
            seconds=float(np.median(own)),
            rivals={o.candidate.label: float(np.median(found[o.name])) for o in self.others},
            speedup={o.candidate.label: paired_ratio(found[o.name], own) for o in self.others},
            roofline=fraction,
            rounds=len(own),
            cold=False,
            notes=(*self.notes, *notes),
        )

    # ── before the first round ──

    def _prepare(self) -> None:
        session, limit = self.session, self.session.time_limit
        message = {"op": "fresh_open", "count": self.most, "seed": session.new_seed()}
        message["rivals"] = bool(self.rivals)
        layout, descriptors = session.ask_oracle(message)
        try:
            sets = {"op": "rounds_sets", "sets": layout["sets"]}
            self.others = self._invite_rivals(sets, descriptors[1]) if self.rivals else []
            if self.others:  # by the first rival, which is the user's own code: a candidate has no say in it
                self.batch = max(1, min(self.most, int(_BATCH_SECONDS / max(self.others[0].warm, 1e-7))))
            with blamed("while it was warmed up"):
                session.ask_candidate(sets, [descriptors[0]])
                message = {"op": "rounds_add", "candidate": _with_digest(self.candidate)}
                reply, _ = session.ask_candidate(message, seconds=limit)
                self.mine = _Contender(self.candidate, self.candidate.digest, list(reply["runs"]))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._lay_out_outputs()

    def _invite_rivals(self, sets: Message, descriptor: int) -> list[_Contender]:
        """Rivals are trusted: they share one process, and one that fails there is left out."""
        found: list[_Contender] = []
        left = list(self.rivals)
        while True:
            self.session.ask_rivals(sets, [descriptor], seconds=self.session.time_limit)
            for rival in left:
                limit = _COMPILE_SECONDS if rival.target == "compile" else self.session.time_limit
                try:
                    message = {"op": "rounds_add", "candidate": _with_digest(rival)}
                    reply = self.session.ask_rivals(message, seconds=limit)
                    found.append(_Contender(rival, rival.digest, list(reply["runs"]), reply["seconds"]))
                except WorkerFault as fault:
                    self.notes.append(f"{rival.label} was left out: it raised {fault.kind}: {fault.text}.")
                except WorkerLost as lost:  # and everything loaded before it
                    self.notes.append(f"{rival.label} was left out: its process {lost.reason}.")
                    left = [r for r in left if r is not rival]
                    found = []
                    break
            else:
                return found

    def _lay_out_outputs(self) -> None:
        """Room for what is read out of the candidate's memory, as its results lie there."""
        run = self.mine.form[0]
        shapes = [
            (tuple(t["shape"]), tuple(s), t["dtype"]) for t, s in zip(run["tensors"], run["strides"], strict=True)
        ]
        import torch

        one = [(shape, strides, getattr(torch, dtype)) for shape, strides, dtype in shapes]
        size = sum(int(np.prod(shape)) * dtype.itemsize for shape, _, dtype in one)
        if size > 4 * self.session.facts["output_bytes"] + (1 << 20) or any(s < 0 for _, ss, _ in one for s in ss):
            raise rejection("shape", "its results are larger than the reference's")
        self.slots = lay_out(one * self.batch)
        self.arena = Arena.create(arena_size(self.slots))

    # ── one round ──

    def _round(self, *, settle: bool, budget: float) -> None:
        session = self.session
        seeds = [session.new_seed() for _ in range(self.batch)]
        session.ask_candidate({"op": "rounds_stage"})
        session.worker.freeze()
        if self.others:
            session.ask_rivals({"op": "rounds_stage"}, seconds=session.time_limit)
            session.rivals_worker.freeze()
            self.empty.append(self._sample(session.rivals_worker, "", [])[0])
        session.ask_oracle({"op": "fresh_write", "seeds": seeds})
        order = [self.mine, *self.others]
        self.rng.shuffle(order)
        calls = list(range(self.batch))
        for one in order:
            worker = session.worker if one is self.mine else session.rivals_worker
            seconds, places = self._sample(worker, one.name, calls)
            one.times.append(seconds)
            if one is self.mine:
                self._judge(places, settle, budget)
            elif one is not order[-1]:
                session.ask_rivals({"op": "rounds_stage"}, seconds=session.time_limit)
                worker.freeze()

    def _sample(self, worker: Worker, name: str, calls: Sequence[int], *, shelved: bool = False) -> tuple[float, Any]:
        """Let it run on, ask, and stop it in the moment of its answer."""
        message = {"op": "rounds_go", "name": name, "calls": list(calls), "shelved": shelved}
        start = time.perf_counter()
        reply, _ = worker.request(message, seconds=self.session.time_limit)
        seconds = time.perf_counter() - start
        worker.freeze()
        return seconds, reply.get("at")

    def _judge(self, places: Any, settle: bool, budget: float) -> None:
        """Read what it left at the moment of its answer; then see whether it goes on working; then compare."""
        if not isinstance(places, list) or len(places) != self.batch:
            raise rejection("crash", "its answer is garbage")
        chosen = sorted(
            self.rng.sample(range(self.batch), self._enough(budget))
        )  # it cannot know which: it stands still
        self._read(places, chosen)
        if settle:
            self._settle(places, chosen)
        self._compare(chosen, range(self.batch))

    def _compare(self, chosen: Sequence[int], sets: Sequence[int]) -> None:
        """Hold calls against the oracle; ``sets`` of arguments by call."""
        reply, _ = self.session.ask_candidate({"op": "rounds_describe", "runs": list(chosen)})
        runs = reply.get("runs")
        if not isinstance(runs, list) or len(runs) != len(chosen):
            raise rejection("crash", "its answer is garbage")
        described = [self._run(k, sets[k], run) for k, run in zip(chosen, runs, strict=True)]
        start = time.monotonic()
        found, _ = self.session.ask_oracle({"op": "fresh_check", "runs": described}, [self._room.descriptor])
        self.checking += time.monotonic() - start
        self.verified += int(found.get("runs", 0))
        if "category" in found:
            raise rejection(str(found["category"]), f"{self.CALL} gave a wrong result: {found['detail']}")

    def _enough(self, budget: float) -> int:
        """How many calls of a round are compared: half, fewer where the truth about each takes long."""
        most = max(1, self.batch // 2)
        each = self.checking / self.verified if self.verified else 0.0
        return most if each * most <= _CHECK_SHARE * budget else max(1, int(_CHECK_SHARE * budget / each))

    def _run(self, k: int, number: int, run: Any) -> Message:
        form = self.mine.form[0]
        try:
            if run["strides"] != form["strides"] or [t["shape"] for t in run["tensors"]] != [
                t["shape"] for t in form["tensors"]
            ]:
                raise rejection("unstable", "its results have another form when it is timed")
            allowed = self.session.facts["aliases"]
            if allowed is not None and any(a not in allowed for a in run["aliases"]):
                raise rejection("guard", "a result shares memory with an argument")
            kept = {key: run[key] for key in ("tensors", "others", "tree", "aliases")}
        except (KeyError, TypeError):
            raise rejection("crash", "its answer is garbage") from None
        return {**kept, "set": number, "slots": [s.to_json() for s in self._of(k)]}

    def _of(self, k: int) -> list[Slot]:
        per_call = len(self.slots) // self.batch
        return self.slots[k * per_call : (k + 1) * per_call]

    def _read(self, places: Any, chosen: Sequence[int]) -> None:
        """Copy results out of the stopped process."""
        try:
            memory = os.open(f"/proc/{self.session.worker.process}/mem", os.O_RDONLY)
        except (FileNotFoundError, ProcessLookupError):
            raise self._lying() from None
        except OSError as error:
            raise WallsMissing(
                f"The judge may not read the memory of a process that it started ({error.strerror}); untrusted "
                "candidates are timed only where it may (kernel.yama.ptrace_scope at most 1)."
            ) from error
        try:
            for k in chosen:
                for slot, address in zip(self._of(k), places[k], strict=True):
                    target = self._room.view(slot)
                    if slot.bytes and os.preadv(memory, [target], int(address)) != slot.bytes:
                        raise self._lying()
        except (OSError, ValueError, TypeError, OverflowError):
            raise self._lying() from None
        finally:
            os.close(memory)

    def _lying(self) -> Rejected:
        self.session.worker.forgive()  # the memory of a process that was killed is gone
        return rejection("crash", "its results do not lie where it says")

    @property
    def _room(self) -> Arena:
        assert self.arena is not None
        return self.arena

    def _bytes(self, chosen: Sequence[int]) -> list[bytes]:
        return [bytes(self._room.view(slot)) for k in chosen for slot in self._of(k)]

    def _settle(self, places: Any, chosen: Sequence[int]) -> None:
        """After an answer threads of a pool spin for a moment; whoever works on had not finished."""
        worker = self.session.worker
        answered = self._bytes(chosen)
        worker.resume()
        start, used = time.monotonic(), cpu_seconds(worker.process)
        spent, passed = 0.0, 0.0
        while passed < _SETTLE or (_working(worker.process) and spent < _SPIN and passed < _SPIN * _STARVED):
            time.sleep(_SETTLE / 4)
            spent, passed = cpu_seconds(worker.process) - used, time.monotonic() - start
        worker.freeze()
        self._read(places, chosen)
        if answered != self._bytes(chosen):
            raise rejection("clock", "its result changed after it had answered")
        if spent >= _SPIN:
            raise rejection("clock", f"it goes on working after its answer ({spent:.2f} s in {passed:.2f} s)")

    def _physics(self) -> None:
        """Reading the inputs and writing the outputs takes time, whatever the algorithm."""
        cost = self.session.cost
        if not self.empty or cost.bytes <= 0:
            return
        machine, best = describe(), peaks()
        levels = ((machine.l2 * machine.cores, best.l2), (machine.l3, best.l3))
        rate = next((r for size, r in levels if r and cost.bytes <= size), max(best.copy, best.read))
        least = cost.bytes / (rate * 1e9)
        fastest = (min(self.mine.times) - min(self.empty)) / self.batch
        if rate > 0 and fastest * _PHYSICS < least - float(np.ptp(self.empty)) / self.batch:
            raise rejection(
                "clock",
                f"a call took {fastest * 1e6:.1f} us, but moving its {cost.bytes / 2**20:.1f} MiB "
                f"takes this machine {least * 1e6:.1f} us",
            )


def cpu_seconds(process: int) -> float:
    """What all threads of another process have used, those that have ended included (Linux's clock of a process)."""
    return time.clock_gettime(~process << 3 | 2)


def _working(process: int) -> bool:
    """Does one of its threads run, or wait for a processor?"""
    for path in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(") ")[2].startswith("R"):
                return True
    return False


@contextmanager
def blamed(when: str) -> Iterator[None]:
    """Faults of the candidate's process are the candidate's."""
    try:
        yield
    except WorkerFault as fault:
        if fault.kind == "NoGradient":
            raise rejection("gradient", f"{fault.text}, {when}") from fault
        raise rejection("crash", f"it raised {fault.kind}: {fault.text}, {when}") from fault
    except WorkerLost as lost:
        raise rejection(lost.category, f"its process {lost.reason}, {when}") from lost


def rejection(category: str, reason: str) -> Rejected:
    return Rejected(Verdict("rejected", f"{reason[0].upper()}{reason[1:]}.", category))


def _with_digest(candidate: Candidate) -> Message:
    return {**candidate_to_json(candidate), "digest": candidate.digest}
