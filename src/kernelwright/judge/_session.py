"""One task on trial: the two worker processes, and what is known about the task between candidates."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from .. import errors
from ..errors import KernelwrightError, ReferenceFailed, ReferenceTooLarge, ReferenceTooSlow, WallsMissing
from ..targets import Candidate
from ..task import Cost, Task
from ._early import default_memory
from ._measure import measure, share_sets
from ._outside import measure_untrusted, verify_untrusted
from ._process import Disturbed, Worker, WorkerFault, WorkerLost
from ._protocol import Message
from ._verdict import Check, Measurement, OutOfTime, Verdict
from ._verify import unscored, verify
from ._walls import explain
from ._worker import task_to_json
from ._zygote import import_seconds

_T = TypeVar("_T")
_ATTEMPTS = 3  # the last of which takes a process that is killed for one that has earned it


class Session:
    """Judges candidates of one task; a context manager that leaves no process behind.

    ``time_limit``: seconds for one request to a worker (a load, a run, one evaluation of the reference).
    ``memory_limit``: bytes for each worker, beyond the interpreter's own; by default most of what is free.
    ``deadline``, which may be set at any time (in ``time.monotonic`` seconds): a request that it cuts off ends its
    worker and raises ``OutOfTime``, which says nothing about the candidate.
    ``untrusted``: candidates come from elsewhere than our compiler: each runs behind walls in a process of its own and
    is timed from outside. ``WallsMissing`` is raised when essential ones do not stand; ``unsafe`` does without walls.
    ``foreign``: the task itself was written by strangers: whatever runs its reference does so behind walls, too.
    ``device``: where candidates and their rivals run, "cpu" or "cuda"; the oracle is on the CPU in any case, and so are
    untrusted candidates: behind walls there is no GPU, and kernels for one are interpreted.
    Any method may raise ``TaskError`` when the reference cannot be used. Threads may share it.
    """

    def __init__(
        self,
        task: Task,
        *,
        time_limit: float = 60.0,
        memory_limit: int | None = None,
        untrusted: bool = False,
        unsafe: bool = False,
        foreign: bool = False,
        device: str = "cpu",
    ) -> None:
        self.task, self.device = task, "cpu" if untrusted else device
        self.untrusted, self.unsafe = untrusted, unsafe
        shut_in = foreign and not unsafe
        self.time_limit = time_limit
        self.deadline: float | None = None
        self.facts: Message = {}  # what the oracle found out about the reference
        self.timing: Message = {}  # the argument sets of measurements, kept for all candidates
        self.timing_descriptor = -1
        self.shared_sets: list[tuple[str, int]] = []  # structures and seeds that several candidates meet
        self.timed_in = 0  # the candidate process (its number) that holds the sets
        self.restart_seconds = 0.0  # what the newest candidate process took until it had the task
        self.memory_limit = memory_limit or default_memory()
        self._oracle = Worker("oracle", self.memory_limit, walls=shut_in)
        self._candidate = Worker("candidate", self.memory_limit, walls=untrusted and not unsafe)
        # Of untrusted candidates; started when needed.
        self._rivals = Worker("candidate", self.memory_limit, walls=shut_in)
        self._guest = ("", 0)  # the untrusted candidate that the process has loaded, and which process that is
        self._opened = {"oracle": 0, "candidate": 0, "rivals": 0}
        self._state_descriptor = self._payload_descriptor = -1
        self._cost: Cost | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def start(self) -> None:
        """Start both workers and examine the reference; done by the first use otherwise."""
        self._undisturbed(self._start)

    def _start(self) -> None:
        self._oracle.spawn()
        self._candidate.spawn()
        self._open_oracle()
        self._open_candidate()

    def _undisturbed(self, attempt: Callable[[], _T]) -> _T:
        """Whoever kills one of the processes from outside costs nobody a verdict: all begins anew, a few times."""
        workers = (self._oracle, self._candidate, self._rivals)
        with self._lock:
            for left in reversed(range(_ATTEMPTS)):
                for worker in workers:
                    worker.forgiving = left > 0
                try:
                    return attempt()
                except Disturbed:
                    self._candidate.kill()  # what it has seen so far it must not know in the next attempt
        raise AssertionError("the last attempt forgives nothing")

    def verify(self, candidate: Candidate, recorded: Sequence[Check] = ()) -> Verdict:
        """Is the candidate right? Whatever it does costs it its verdict and nothing else.

        ``recorded`` checks of an earlier verdict are made again besides.
        """
        check = verify_untrusted if self.untrusted else verify

        def attempt() -> Verdict:
            self.admit(candidate)
            self._start()
            return check(self, candidate, recorded)

        return self._undisturbed(attempt)

    def measure(
        self, candidate: Candidate, rivals: Sequence[Candidate], *, seconds: float, checked: int = 3
    ) -> Measurement:
        """How fast is it, against whom? ``checked`` outputs of timed calls are verified.

        Raises ``Rejected`` when it crashes or gives wrong results while timed.
        """

        def attempt() -> Measurement:
            self.admit(candidate)
            self._start()
            if self.untrusted:
                return measure_untrusted(self, candidate, rivals, seconds)
            return measure(self, candidate, rivals, seconds, checked)

        return self._undisturbed(attempt)

    @property
    def cost(self) -> Cost:
        """Flops and bytes of one call."""
        if self._cost is None:
            found, _ = self._undisturbed(lambda: self.ask_oracle({"op": "cost"}))
            self._cost = Cost(float(found["flops"]), float(found["bytes"]))
        return self._cost

    def prepare_timing(self) -> None:
        """Draw the values of measurements; done by the first measurement otherwise."""

        def attempt() -> None:
            self._start()
            share_sets(self)

        self._undisturbed(attempt)

    @property
    def unscored(self) -> str:
        """Why no verdict on this task's candidates proves anything, as a sentence; "" when they do."""

        def attempt() -> str:
            self._start()
            return unscored(self)

        return self._undisturbed(attempt)

    def turn_to(self, task: Task) -> None:
        """Judge another task with the same workers, which forget this one: starting them takes seconds."""
        with self._lock:
            self._forget()
            self.task, self.facts, self._cost, self.deadline = task, {}, None, None
            self.timed_in = 0
            self._opened = {"oracle": 0, "candidate": 0, "rivals": 0}

    def close(self) -> None:
        """End the workers. The session can be used again; it starts new ones."""
        self._oracle.kill()
        self._candidate.kill()
        self._rivals.kill()
        self._forget()

    def _forget(self) -> None:
        for descriptor in (self._state_descriptor, self.timing_descriptor, self._payload_descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._state_descriptor = self.timing_descriptor = self._payload_descriptor = -1
        self.timing = {}

    # ── for the parts of the judge ──

    def ask_oracle(
        self, message: Message, descriptors: Sequence[int] = (), *, seconds: float | None = None
    ) -> tuple[Message, list[int]]:
        """A request to the oracle; its faults become the errors that the user sees."""
        self._open_oracle()
        return self._ask_oracle(message, descriptors, seconds or self.time_limit)

    def ask_candidate(
        self, message: Message, descriptors: Sequence[int] = (), *, seconds: float | None = None
    ) -> tuple[Message, list[int]]:
        """A request to the candidate's process. Raises ``WorkerLost`` or ``WorkerFault``."""
        self._open_candidate()
        return self._request(self._candidate, message, descriptors, seconds or self.time_limit)

    def ask_rivals(self, message: Message, descriptors: Sequence[int] = (), *, seconds: float) -> Message:
        """A request to the process of an untrusted candidate's rivals. Raises ``WorkerLost`` or ``WorkerFault``."""
        self._open_rivals()
        return self._request(self._rivals, message, descriptors, seconds)[0]

    def admit(self, candidate: Candidate) -> None:
        """An untrusted candidate gets a process in which no other one ever was."""
        if self.untrusted and self._guest != (candidate.digest, self._candidate.starts):
            if self._guest[1] == self._candidate.starts:
                self._candidate.kill()
            self._candidate.spawn()
            self._guest = candidate.digest, self._candidate.starts

    @property
    def worker(self) -> Worker:
        """The candidate's process, for who watches it from outside."""
        return self._candidate

    @property
    def rivals_worker(self) -> Worker:
        """The process of the rivals of untrusted candidates."""
        return self._rivals

    @property
    def candidate_process(self) -> int:
        """The number of the process that candidates run in now; a new one has received nothing yet."""
        self._open_candidate()
        return self._candidate.starts

    @property
    def start_seconds(self) -> float:
        """What importing torch and forking a worker took here and now."""
        return import_seconds() + max(self._oracle.start_seconds, self._candidate.start_seconds)

    def new_seed(self) -> int:
        """From the operating system: no candidate can know it."""
        return secrets.randbelow(2**31 - 2**16) + 1

    def now(self) -> float:
        return time.perf_counter()

    def _request(
        self, worker: Worker, message: Message, descriptors: Sequence[int], seconds: float
    ) -> tuple[Message, list[int]]:
        """A request that ends at the session's deadline, if that comes before its own limit."""
        deadline = math.inf if self.deadline is None else self.deadline
        if time.monotonic() >= deadline:
            raise OutOfTime
        try:
            return worker.request(message, descriptors, seconds=seconds, deadline=deadline)
        except WorkerLost as lost:
            if lost.category == "timeout" and time.monotonic() >= deadline:
                raise OutOfTime from lost
            raise

    def _payload(self) -> int:
        """The task's pickled part as a file without a name."""
        if self._payload_descriptor < 0:
            with tempfile.TemporaryFile() as file:
                file.write(self.task.payload)
                file.flush()
                self._payload_descriptor = os.dup(file.fileno())
        return self._payload_descriptor

    def _open_oracle(self) -> None:
        self._oracle.spawn()
        if self._opened["oracle"] == self._oracle.starts:
            return
        message = {"op": "open", "task": task_to_json(self.task), "seed": self.new_seed()}
        self._require_walls(self._oracle)
        self.facts, descriptors = self._ask_oracle(message, [self._payload()], self.time_limit)
        if self._state_descriptor >= 0:
            os.close(self._state_descriptor)
        self._state_descriptor = descriptors[0]
        self._opened["oracle"] = self._oracle.starts
        self._opened["candidate"] = self._opened["rivals"] = 0  # they hold the state of an oracle that is gone
        self.timing = {}

    def _open_candidate(self) -> None:
        self._open_oracle()
        self._candidate.spawn()
        if self._opened["candidate"] == self._candidate.starts:
            return
        if self.untrusted:
            self._ask_oracle({"op": "settle"}, (), self.time_limit)  # weights that no earlier candidate has touched
        self._require_walls(self._candidate)
        begin = time.monotonic()
        self._open_task(self._candidate)
        self.restart_seconds = time.monotonic() - begin
        self._opened["candidate"] = self._candidate.starts
        self.timed_in = 0

    def _open_rivals(self) -> None:
        """Their weights are copied while no candidate can write to the memory from which they come."""
        self._open_oracle()
        self._rivals.spawn()
        if self._opened["rivals"] == self._rivals.starts:
            return
        self._candidate.kill()
        self._ask_oracle({"op": "settle"}, (), self.time_limit)
        self._require_walls(self._rivals)
        self._open_task(self._rivals)
        self._request(self._rivals, {"op": "own_state"}, (), self.time_limit)
        self._opened["rivals"] = self._rivals.starts

    def _require_walls(self, worker: Worker) -> None:
        """Before a process that was to raise walls hears of anything that strangers wrote."""
        if not worker.walls:
            return
        try:
            worker.wait()
        except WorkerLost as lost:
            raise ReferenceFailed(f"A process behind walls for {self.task.name} {lost.reason}.") from lost
        if worker.standing is None or worker.standing.missing:
            raise WallsMissing(explain(worker.standing))

    def _open_task(self, worker: Worker) -> None:
        message = {"op": "open", "task": task_to_json(self.task), "device": self.device}
        message |= {"state": self.facts["state"], "changed": self.facts["changed"]}
        try:
            self._request(worker, message, [self._state_descriptor, self._payload()], self.time_limit)
        except (WorkerFault, WorkerLost) as error:
            raise ReferenceFailed(f"The task {self.task.name} could not be loaded a second time: {error}") from error

    def _ask_oracle(self, message: Message, descriptors: Sequence[int], seconds: float) -> tuple[Message, list[int]]:
        name = self.task.name
        try:
            return self._request(self._oracle, message, descriptors, seconds)
        except WorkerFault as fault:
            raise _as_error(fault, name, self.memory_limit) from fault
        except WorkerLost as lost:
            if lost.category == "timeout":
                raise ReferenceTooSlow(
                    f"The reference of {name} did not finish within {seconds:.0f} s; "
                    "use smaller inputs (--scale cpu) or a longer time limit."
                ) from lost
            if lost.category == "memory":
                raise ReferenceTooLarge(
                    f"The reference of {name} {lost.reason}; use smaller inputs (--scale cpu)."
                ) from lost
            raise ReferenceFailed(f"The reference of {name} {lost.reason}.") from lost


def _as_error(fault: WorkerFault, name: str, memory_limit: int) -> KernelwrightError:
    if fault.kind == "MemoryError":
        return ReferenceTooLarge(
            f"The reference of {name} needs more than the {memory_limit >> 20} MiB of memory it may use; "
            "use smaller inputs (--scale cpu)."
        )
    kind = getattr(errors, fault.kind, None)
    if isinstance(kind, type) and issubclass(kind, KernelwrightError):
        return kind(fault.text)
    return ReferenceFailed(f"The reference of {name} raises {fault.kind}: {fault.text}")
