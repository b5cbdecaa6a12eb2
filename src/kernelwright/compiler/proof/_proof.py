"""The proof of a candidate: that over its whole domain its indices are right, or why that is not known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...targets.plan import Candidate, EntryCall, Plan
from . import _products  # noqa: F401  (its summaries)
from ._checks import check_apart, check_covered, check_inside, check_races, rewritten
from ._entry import EntryReader, Invocation
from ._numbers import Number, variable
from ._reader import Reader
from ._solver import Solver, Unanswered
from ._syntax import parse
from ._values import Access, Buffer, Unproved

SECONDS = 3.0  # of processor time, after which what is left is not proved
# A source may be written in ways that nobody thought of: values are then not of the kind that is expected.
_UNREADABLE = (AssertionError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class KernelProof:
    """One kernel of an entry. ``rewritten``: outputs of which it writes some element more than once, in order."""

    entry: str
    kernel: str
    proved: bool
    why_not: str = ""
    rewritten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What is known of a candidate's indices, over every size of its domain.

    ``proved``: no access of any kernel leaves its buffer, no element is touched by one parallel item and written by
    another, and every element of every output is written whatever the data. ``once``: no element of an output is
    written twice.
    """

    proved: bool
    kernels: tuple[KernelProof, ...]
    seconds: float = 0.0
    why_not: str = ""  # where there is no kernel to speak of

    @property
    def once(self) -> bool:
        return self.proved and not any(kernel.rewritten for kernel in self.kernels)

    def to_json(self) -> dict[str, object]:
        """``{"indices": {"proved", "once", "kernels": [{"entry", "kernel", "proved", "why_not", "rewritten"}]}}``."""
        kernels = [
            {"entry": k.entry, "kernel": k.kernel, "proved": k.proved, "why_not": k.why_not or None,
             "rewritten": list(k.rewritten)}
            for k in self.kernels
        ]  # fmt: skip
        return {
            "indices": {
                "proved": self.proved, "once": self.once, "why_not": self.why_not or None, "kernels": kernels,
            }
        }  # fmt: skip


def prove(candidate: Candidate, seconds: float = SECONDS) -> Proof:
    """Prove what can be proved of a candidate's printed source and plan within about ``seconds`` of processor time.

    Nothing but the text and the plan is believed: not the program that it was printed from, nor its schedule. Raises
    nothing: what is not understood is not proved.
    """
    start = time.thread_time()
    if candidate.target != "cpu" or candidate.plan is None:
        return Proof(False, (), why_not="it is no source that our compiler printed")
    if not candidate.source:
        return Proof(False, (), why_not="every step is a call of ATen")
    try:
        halves = (candidate.plan, *([candidate.plan.backward.plan] if candidate.plan.backward is not None else []))
        kernels = [k for plan in halves for k in _Prover(candidate.source, plan, start + seconds).kernels()]
    except (Unproved, Unanswered) as why:
        return Proof(False, (), time.thread_time() - start, str(why))
    except _UNREADABLE:
        return Proof(False, (), time.thread_time() - start, "its entries are written in a way that is not read")
    proved = bool(kernels) and all(kernel.proved for kernel in kernels)
    return Proof(proved, tuple(kernels), time.thread_time() - start)


class _Prover:
    def __init__(self, source: str, plan: Plan, until: float) -> None:
        self._plan, self._root = plan, parse(source)
        self._solver = Solver(until)
        self._symbols: dict[str, Number] = {s.name: variable("size", s.name, s.lo, s.hi) for s in plan.symbols}
        self._made: dict[str, Buffer] = {}
        self._writes: list[tuple[KernelProof, Sequence[Access]]] = []
        self._takers: dict[str, list[int]] = {}

    def kernels(self) -> list[KernelProof]:
        """One proof for each kernel; one that leaves an output uncovered fails with it."""
        found: list[KernelProof] = []
        accesses: list[list[Access]] = []
        for step in self._plan.steps:
            if not isinstance(step, EntryCall):
                continue
            reader = Reader(self._root, self._solver)
            entry = EntryReader(reader, self._plan, step, self._made, self._symbols)
            for invocation in entry.invocations():
                proof, seen = self._kernel(reader, step.entry, invocation)
                found.append(proof)
                accesses.append(seen)
        return self._covered(found, accesses)

    def _kernel(self, reader: Reader, entry: str, invocation: Invocation) -> tuple[KernelProof, list[Access]]:
        reader.begin(invocation.name)
        try:
            reader.value(invocation.node)
            seen = list(reader.accesses)
            check_inside(self._solver, seen)
            check_apart(self._solver, seen)
            check_races(self._solver, seen)
        except (Unproved, Unanswered) as why:
            return KernelProof(entry, invocation.name, False, str(why)), []
        except _UNREADABLE:
            why_not = f"line {reader.line} is written in a way that is not read"
            return KernelProof(entry, invocation.name, False, why_not), []
        return KernelProof(entry, invocation.name, True), seen

    def _covered(self, found: list[KernelProof], accesses: list[list[Access]]) -> list[KernelProof]:
        """Outputs of the plan are written whole, by the kernels together."""
        for name in self._outputs():
            buffer = self._made.get(name)
            writers = [i for i, seen in enumerate(accesses) if any(_writes(a, buffer) for a in seen)]
            if buffer is None or any(not proof.proved for proof in found):
                continue
            together = [a for seen in accesses for a in seen if _writes(a, buffer)]
            try:
                check_covered(self._solver, buffer, together)
                again = rewritten(self._solver, buffer, together)
            except (Unproved, Unanswered) as why:
                for i in writers:
                    found[i] = KernelProof(found[i].entry, found[i].kernel, False, str(why))
                continue
            for i in writers if again else ():
                found[i] = KernelProof(found[i].entry, found[i].kernel, True, "", (*found[i].rewritten, name))
        return found

    def _outputs(self) -> Iterable[str]:
        names = [r for r in self._plan.results if isinstance(r, str)]
        return dict.fromkeys([*names, *(source for source, _ in self._plan.mutations)])


def _writes(access: Access, buffer: Buffer | None) -> bool:
    return access.write and access.pointer.buffer is buffer
