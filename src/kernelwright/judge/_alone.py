"""The judge on its own: any candidate against any task, for people who want nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ..targets import Candidate
from ..task import Task, from_source
from ._rules import read_labels
from ._session import Session
from ._submission import python_fault, read_file, with_plan
from ._verdict import Check, Label, Verdict

_OURS = ("baseline", "compiler")  # proposers whose candidates this program has written itself

Clock = Callable[[], float]


class Judge:
    """Judges candidates of any tasks one after the other, with processes kept as long as the task is the same.

    ``time_limit``: seconds for one request to a worker; ``memory_limit``: bytes for each; ``unsafe``: judge what others
    have written even where the walls around it do not stand; ``foreign``: the tasks are strangers' too, and run behind
    walls. A context manager that leaves no process behind.
    """

    def __init__(
        self, *, time_limit: float = 60.0, memory_limit: int | None = None, unsafe: bool = False,
        foreign: bool = False, clock: Clock = time.perf_counter,
    ) -> None:  # fmt: skip
        self._limits, self._unsafe, self._clock = (time_limit, memory_limit), unsafe, clock
        self._foreign = foreign
        self._session: Session | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def session(self) -> Session | None:
        """The session of the task judged last, e.g. to measure what was accepted; None before the first."""
        return self._session

    @property
    def walls(self) -> list[dict[str, Any]]:
        """The walls round the candidate judged last, as JSON; none where it was trusted or did not get so far."""
        standing = self._session.worker.standing if self._session is not None and self._session.untrusted else None
        return standing.to_json() if standing is not None else []

    def judge(
        self, task: Task | str | Path, candidate: Candidate | str | Path, recorded: Sequence[Check] = ()
    ) -> Verdict:
        """The verdict. ``task``: one, or its SOURCE; ``candidate``: one, or a file of the forms of a submission.

        ``recorded`` checks of an earlier verdict are made again besides those from new seeds.
        Raises ``TaskError`` for a task that cannot be judged against, ``SubmissionInvalid`` for a file that is no
        candidate, and ``WallsMissing`` where what others wrote cannot be shut in.
        """
        begin = self._clock()
        if not isinstance(task, Task):
            task = from_source(str(task))
        from_file = not isinstance(candidate, Candidate)
        if not isinstance(candidate, Candidate):
            candidate = read_file(Path(candidate), task)
        read = self._clock()
        fault = python_fault(candidate.source) if candidate.target == "python" else ""
        labels = () if fault else read_labels(candidate)
        ruled = self._clock()
        phases = (("read", read - begin), ("rules", ruled - read))
        if fault:
            return Verdict("rejected", fault, "build", seconds=ruled - begin, phases=phases)
        banned = next((label for label in labels if label.forbidden), None)
        if banned is not None:
            return Verdict("rejected", _sentence(banned), "rules", (), ruled - begin, labels, phases=phases)
        if from_file:  # only now: how it is called follows from running the task, which takes longer than reading
            candidate = with_plan(candidate, task)
        verdict = self._verify(task, candidate, recorded, ruled)
        verdict = replace(verdict, phases=(*phases, *verdict.phases), seconds=self._clock() - begin)
        return replace(verdict, labels=(*labels, *verdict.labels))

    def _verify(self, task: Task, candidate: Candidate, recorded: Sequence[Check], begin: float) -> Verdict:
        session = self._session_for(task, untrusted=candidate.proposer not in _OURS)
        session.admit(candidate)
        session.start()
        started = self._clock()
        unscored = session.unscored  # before the candidate is there: what it says is of the task alone
        screened = self._clock()
        verdict = session.verify(candidate, recorded)
        rest = self._clock() - screened - sum(seconds for _, seconds in verdict.phases)
        phases = (("start", started - begin), ("screen", screened - started), *verdict.phases, ("watch", rest))
        verdict = replace(verdict, phases=phases)
        if verdict.accepted and unscored:
            return replace(verdict, status="unjudged", reason=unscored, category="unscored")
        return verdict

    def _session_for(self, task: Task, *, untrusted: bool) -> Session:
        """A session for the task, with the processes of the one before where it can have them."""
        if self._session is not None and self._session.untrusted != untrusted:
            self.close()
        if self._session is None:
            time_limit, memory_limit = self._limits
            self._session = Session(
                task, time_limit=time_limit, memory_limit=memory_limit,
                untrusted=untrusted, unsafe=self._unsafe, foreign=self._foreign,
            )  # fmt: skip
        elif self._session.task.digest != task.digest:
            self._session.turn_to(task)
        return self._session


def judge(
    task: Task | str | Path,
    candidate: Candidate | str | Path,
    *,
    time_limit: float = 60.0,
    memory_limit: int | None = None,
    unsafe: bool = False,
    gradients: bool = False,
) -> Verdict:
    """The verdict on one candidate: is it right, and if not, the one reason why.

    ``task`` is a ``Task`` or the SOURCE of one; ``candidate`` a ``Candidate`` or the path of a submission: a C or C++
    source, a shared object with the entry ``__tvm_ffi_main``, or a Python file with ``class ModelNew``. ``gradients``:
    those in all floating inputs and in the parameters are judged as well, also where no input asks for them. See
    :class:`Judge` for the other options and errors.

    >>> verdict = kernelwright.judge("softmax.py", "my_softmax.cpp")  # doctest: +SKIP
    >>> verdict.status, verdict.category  # doctest: +SKIP
    ('rejected', 'value')
    """
    if gradients:
        task = replace(task if isinstance(task, Task) else from_source(str(task)), gradients=True)
    with Judge(time_limit=time_limit, memory_limit=memory_limit, unsafe=unsafe) as it:
        return it.judge(task, candidate)


def _sentence(label: Label) -> str:
    where = f" ({label.detail})" if label.detail else ""
    return f"Its source {label.name}{where}, which no candidate may."
