"""Untrusted candidates: judged behind walls in a process of their own, which is watched, and timed from outside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import BuildFailed, ExtensionRefused, NotEmulated
from ..targets import Candidate
from ._extensions import read_extensions
from ._protocol import Message
from ._tail import Tail
from ._trial import Trial, blamed, rejection
from ._verdict import Check, Measurement, Rejected, Verdict

if TYPE_CHECKING:
    from ._session import Session

_COMPILES = ("cpp_extension", "torch.compile")
_ADVICE = "hand it in as a C++ source, or judge it with --unsafe if you trust it."
_BUILDS = f"It compiles code of its own while it is loaded or called, and behind walls no compiler runs: {_ADVICE}"


def verify_untrusted(session: Session, candidate: Candidate, recorded: Sequence[Check] = ()) -> Verdict:
    """The verdict of :func:`verify`, in a watched process, and a look at what is left to do after an answer."""
    from ._verify import verify

    begin = session.now()
    fault = _build(session, candidate)
    if fault:
        return fault
    built = session.now()
    watch = _Watch(session)
    verdict = verify(session, candidate, recorded)
    verdict = replace(verdict, phases=(("build", built - begin), *verdict.phases))
    if not verdict.accepted:
        builds = candidate.target == "python" and any(word in candidate.source for word in _COMPILES)
        if builds and not session.unsafe and not verdict.checks:  # it failed before its first result
            return replace(verdict, status="unjudged", reason=f"{_BUILDS} {verdict.reason}", category="walls")
        return verdict
    try:
        watch.compare()
        tail = Tail(session, candidate)
        tail.run_calls()
        watch.compare()
    except Rejected as rejected:
        return replace(verdict, status="rejected", reason=rejected.verdict.reason, category=rejected.verdict.category)
    repeated, varied = verdict.repeated + tail.repeated, verdict.varied + tail.varied
    return replace(verdict, notes=(*verdict.notes, tail.text), repeated=repeated, varied=varied)


def measure_untrusted(
    session: Session, candidate: Candidate, rivals: Sequence[Candidate], seconds: float
) -> Measurement:
    """How fast, by the judge's clock. Raises ``Rejected`` as :func:`measure` does, and for tricks with time."""
    fault = _build(session, candidate)
    if fault:
        raise Rejected(fault)
    watch = _Watch(session)
    trial = Trial(session, candidate, rivals)
    trial.run(seconds)
    watch.compare()
    return trial.summary()


def _build(session: Session, candidate: Candidate) -> Verdict | None:
    """Sources are compiled here, where a compiler may run; behind the walls the result is found in the cache."""
    from ..targets import build_extension
    from ..targets.cpu import build
    from ..targets.cuda import build_for

    try:
        if candidate.target == "cpu":
            build(candidate.source)
        elif candidate.target == "cuda":
            build_for(candidate.source, session.device)
        elif candidate.target == "python":
            for extension in read_extensions(candidate.source):
                build_extension(extension)
    except ExtensionRefused as error:
        if session.unsafe:  # no walls keep it from building for itself
            return None
        return Verdict("unjudged", f"Its extension is not built: {error}; {_ADVICE}", "walls")
    except NotEmulated as error:
        return Verdict("unjudged", str(error), "emulation")
    except BuildFailed as error:
        return Verdict("rejected", f"{str(error).rstrip('.')}.", "build")
    return None


class _Watch:
    """What the candidate's process looked like before the candidate was there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.before = self._look()

    def compare(self) -> None:
        """Raises ``Rejected`` when something is not as it was."""
        now = self._look()
        changed = [name for name, value in self.before.items() if now.get(name) != value]
        if changed:
            raise rejection("clock", f"it changed its process for all that follows ({', '.join(changed)})")

    def _look(self) -> Message:
        with blamed("while its process was examined"):
            found, _ = self.session.ask_candidate({"op": "environment"})
        process = self.session.worker.process
        found["processors"] = sorted(os.sched_getaffinity(process))
        found["priority"] = os.getpriority(os.PRIO_PROCESS, process)
        return {k: v for k, v in found.items() if k != "serial"}
