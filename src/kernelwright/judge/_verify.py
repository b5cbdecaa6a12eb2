"""Is a candidate right? Cases of growing malice, each compared with the oracle; the first failure is the verdict."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import errors
from ..errors import KernelwrightError, ReferenceTooLarge, TaskError
from ..targets import Candidate
from ..task import STRUCTURES, DynamicSize
from ._candidate import candidate_to_json
from ._process import WorkerFault, WorkerLost
from ._protocol import Message
from ._sets import NEAR
from ._verdict import Check, Verdict

if TYPE_CHECKING:
    from ._session import Session

_BASELINES = ("eager", "compile")
_COMPILE_SECONDS = 240.0  # torch.compile(max-autotune) of a large graph
_SOFT_SECONDS = 1.2  # optional cases begin only if they should end before this
_HEAVY_SECONDS = 0.3  # a truth that takes longer makes a task heavy: fewer cases, and truths shared by candidates
_HEAVY_ALLOWANCE = (2.0, 12.0)  # seconds, and multiples of the reference's own time, for all cases of a heavy task
_SHARED = 2  # sets of a heavy task that all candidates meet, besides those drawn for each alone
_AGAIN = (0, 1, 0, 1, 0, 0)  # calls with two sets of values; the first three of them where a call's outputs
_AGAIN_BYTES = 16 << 20  # are larger
_MILD = ("constant", "sparse", "sorted", "small", "offset")  # structures that may meet other parameters
_MOVED = 0.4  # of these cases do
_EXPECTED_VALUE_FAULTS = ("value", "nan")


@dataclass(frozen=True)
class Case:
    """Argument sets by structure, the order of calls, and what is unusual about them.

    ``seed`` of a second set; ``state``: seed of parameters and buffers other than the task's own (0: its own).
    """

    structures: tuple[str, ...]
    sequence: tuple[int, ...] = (0,)
    layout: str = "same"
    sizes: dict[int, int] = field(default_factory=dict)
    needed: bool = False
    seed: int = 0
    state: int = 0

    @property
    def text(self) -> str:
        parts = [" and ".join(s.split()[0] for s in self.structures)]
        parts += {"same": [], "strided": ["not contiguous"], "shifted": ["unaligned"]}[self.layout]
        parts += [f"dynamic sizes {sorted(self.sizes.values())}"] if self.sizes else []
        parts += ["other parameters"] if self.state else []
        return ", ".join(parts)


def verify(session: Session, candidate: Candidate, recorded: Sequence[Check] = ()) -> Verdict:
    """The verdict. Raises ``TaskError`` when the reference fails on the task's own inputs.

    ``recorded`` checks of an earlier verdict are made again, after those from new seeds.
    """
    start = session.now()
    limit = _COMPILE_SECONDS if candidate.target == "compile" else session.time_limit
    screen(session)
    loading = session.now()
    building = max(limit, _COMPILE_SECONDS) if candidate.target == "python" else limit  # it may build extensions
    try:
        loaded, _ = session.ask_candidate({"op": "load", "candidate": candidate_to_json(candidate)}, seconds=building)
    except WorkerFault as fault:
        return _at_load(fault, session.now() - start)
    except WorkerLost as lost:
        return _lost(lost, "while it was loaded", (), session.now() - start)
    checking = session.now()
    missing = loaded.get("missing")
    trial = _Trial(session, candidate, limit, [str(name) for name in missing] if isinstance(missing, list) else ())
    trial.recorded = tuple(_again(recorded))
    verdict = trial.run(start)
    session.ask_oracle({"op": "settle"})  # the task's own parameters, for whoever comes next
    now = session.now()
    phases = (("load", checking - loading), ("checks", now - checking))
    return replace(verdict, checks=tuple(trial.checks), seconds=now - start, phases=phases)


def screen(session: Session) -> Message:
    """What trivial candidates do to the task, found out once for a session."""
    session.ask_oracle({"op": "cost"})  # opens it, which says its facts
    if "screen" not in session.facts:
        found, _ = session.ask_oracle({"op": "screen", "seed": session.new_seed()})
        session.facts["screen"] = found
    return dict(session.facts["screen"])


def unscored(session: Session) -> str:
    """Why no verdict on this task's candidates proves anything, as a sentence; "" when they do."""
    passed = str(screen(session)["unscored"])
    return f"{session.task.name} is not scored: {passed}." if passed else ""


class _Trial:
    """One candidate's way through the cases."""

    def __init__(self, session: Session, candidate: Candidate, limit: float, missing: Sequence[str] = ()) -> None:
        self.session, self.candidate, self.limit = session, candidate, limit
        self.missing = missing  # parameters of the reference that it has no way to follow
        self.checks: list[Check] = []
        self.recorded: tuple[Case, ...] = ()
        self.following: Case | None = None
        self.compared = self.repeated = self.varied = 0
        self.empty = True
        self.sizes_tried = self.sizes_passed = 0
        self.rng = random.Random(session.new_seed())
        self.has_state = bool(session.facts["state"])
        self.truth_seconds = float(session.facts["exact_seconds"])
        self.heavy = self.truth_seconds > _HEAVY_SECONDS
        fixed, times = _HEAVY_ALLOWANCE
        self.soft = fixed + times * float(session.facts["eager_seconds"]) if self.heavy else _SOFT_SECONDS

    def run(self, start: float) -> Verdict:
        for case in self._one_ahead():
            if not case.needed and self.session.now() - start + self.truth_seconds > self.soft:
                continue
            fault = self._try(case)
            if fault is not None:
                return fault
        name = self.session.task.name
        if self.compared == 0 and not self.empty:
            return Verdict("unjudged", f"No element of the outputs of {name} could be compared.", "reference")
        if self.sizes_tried and not self.sizes_passed:
            return Verdict("unjudged", f"The reference of {name} runs at no other size of its box.", "reference")
        oracle = str(self.session.facts["oracle"])
        notes = (oracle,) if oracle else ()
        return Verdict("accepted", repeated=self.repeated, varied=self.varied, notes=notes)

    def _one_ahead(self) -> Iterator[Case]:
        """The cases; while one is tried, ``following`` is the next. Seeds of single sets are drawn by then."""
        cases = (
            replace(c, seed=c.seed or self.session.new_seed()) if len(c.structures) == 1 else c for c in self._cases()
        )
        case = next(cases, None)
        while case is not None:
            self.following = next(cases, None)
            yield case
            case = self.following

    def _cases(self) -> Iterator[Case]:
        """The task's own inputs; repeated calls; other sizes; laws of values and layouts in random order."""
        yield Case(("given",), needed=True)
        # The same arguments before and after others: a result that was remembered, or overwritten later, is wrong.
        small = not self.heavy and int(self.session.facts["output_bytes"]) <= _AGAIN_BYTES
        again: tuple[int, ...] = _AGAIN if small else _AGAIN[:3]
        if self.session.facts["changed_args"]:  # arguments changed in place are used up
            again = _AGAIN[:2]
        other, seed = self._shared() if self.heavy else ("normal", 0)
        yield Case(("given", other), again, needed=True, seed=seed)
        if self.session.untrusted and self.checks:  # remembered by a few of its elements, or by a rounded sum?
            near = f"{NEAR}{self.checks[0].seed}"
            yield Case(("given", near), (0, 1), needed=not self.heavy)
        baseline = self.candidate.target in _BASELINES
        if not baseline:
            for sizes in choose_sizes(self.session.task.dynamic, self.session.facts["dynamic_sizes"], self.rng):
                yield Case(("given",), sizes=sizes, needed=True)
        rest = [Case((structure,)) for structure in STRUCTURES if structure not in ("given", "normal")]
        if not baseline:  # each layout would cost torch.compile another compilation
            rest += [Case(("normal",), layout="strided"), Case(("given",), layout="shifted")]
        yield from self._with_other_parameters()
        self.rng.shuffle(rest)
        yield replace(rest[0], needed=not self.heavy)
        for case in rest[1:]:
            if self.session.untrusted and not self.heavy:  # a busy machine must not decide what gets through
                case = replace(case, needed=True)
            moved = self.has_state and case.structures[0] in _MILD and self.rng.random() < _MOVED
            yield replace(case, state=self.session.new_seed()) if moved and not self.heavy else case
        yield from self.recorded

    def _with_other_parameters(self) -> Iterator[Case]:
        """A kernel computes with the parameters it is given; and the laws on which nothing trivial passes."""
        if self.has_state and self.heavy:  # one truth for all candidates of the session
            shared = int(self.session.facts.setdefault("shared_state", self.session.new_seed()))
            yield Case(("given",), needed=True, seed=shared, state=shared)
        elif self.has_state:
            for structure in ("given", "normal"):
                yield Case((structure,), needed=True, state=self.session.new_seed())
        met = {("given", False), ("normal", False), ("given", True), ("normal", True)}
        for structure, other in self.session.facts["screen"]["telling"]:
            if (structure, other) not in met:
                yield Case((structure,), needed=True)

    def _shared(self) -> tuple[str, int]:
        """Structure and seed of a set whose truth other candidates of this session may already have paid for.

        What is drawn for the candidate alone keeps it honest: answers that were remembered would not fit.
        """
        shared = self.session.shared_sets
        if len(shared) < _SHARED:
            left = [s for s in STRUCTURES if s != "given" and s not in [known for known, _ in shared]]
            shared.append((self.rng.choice(left), self.session.new_seed()))
            return shared[-1]
        return self.rng.choice(shared)

    def _try(self, case: Case) -> Verdict | None:
        """None when the case passes or says nothing; a rejection otherwise."""
        seeds = [self.session.new_seed() for _ in case.structures]  # drawn now: the candidate is built and loaded
        if len(seeds) > 1 and self.checks and case.structures[0] == "given":
            seeds[0] = self.checks[0].seed  # the first case's values once more, which also saves their truth
            seeds[1] = case.seed or seeds[1]
        elif len(seeds) == 1:
            seeds[0] = case.seed or seeds[0]
        self.sizes_tried += bool(case.sizes)
        prepared = self._prepare(case, seeds)
        if prepared is None:
            return None
        self.sizes_passed += bool(case.sizes)
        message, descriptors = prepared
        try:
            message["guard"] = self.candidate.target not in _BASELINES
            reply, _ = self.session.ask_candidate({"op": "run", "case": message}, descriptors, seconds=self.limit)
            if self.session.facts["gradients"] and "refused" not in reply:  # it sees cotangents only now
                self.session.ask_oracle({"op": "reveal"})
                reply, _ = self.session.ask_candidate({"op": "finish"}, seconds=self.limit)
        except WorkerFault as fault:
            return _rejected(*_blame(fault), f"on inputs of structure {case.text}")
        except WorkerLost as lost:
            return _lost(lost, f"on inputs of structure {case.text}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return self._judge(case, seeds, reply)

    def _prepare(self, case: Case, seeds: Sequence[int]) -> tuple[Message, list[int]] | None:
        message: Message = {"op": "prepare", "sets": list(zip(seeds, case.structures, strict=True))}
        message |= {"sequence": list(case.sequence), "sizes": case.sizes, "layout": case.layout}
        # What agrees with the reference's own answer needs no float64, once that is known to compare anything.
        message |= {"fresh": not self.checks, "state": case.state, "later": self.compared > 0}
        after = self.following
        single = after is not None and len(after.structures) == 1 and not after.sizes
        message["ahead"] = [after.seed, after.structures[0]] if after is not None and single else None
        try:
            return self.session.ask_oracle(message)
        except TaskError as error:
            ordinary = case.structures == ("given",) and not case.sizes and not case.state
            if ordinary and not isinstance(error, ReferenceTooLarge):
                raise
            if len(case.structures) > 1 and case.structures[1] != "given":  # outside the domain: repeat its own
                return self._prepare(Case(("given", "given"), case.sequence, needed=True), seeds)
            return None  # outside the reference's own domain

    def _judge(self, case: Case, seeds: Sequence[int], reply: Message) -> Verdict | None:
        where = f"on inputs of structure {case.text}"
        if "refused" in reply:
            return _rejected("shape", f"it refuses them ({reply['refused']})", where)
        try:
            intact, aliases = bool(reply["intact"]), [k for run in reply["runs"] for k in run["aliases"]]
        except (KeyError, TypeError):
            return _rejected("crash", "its answer is garbage", where)
        if not intact:
            return _rejected("guard", "it wrote outside the memory of an output", where)
        allowed = self.session.facts["aliases"]
        if allowed is not None and any(k not in allowed for k in aliases):
            return _rejected("guard", f"output {aliases[0]} shares memory with an argument", where)
        try:
            found, _ = self.session.ask_oracle({"op": "check", "reply": reply})
        except TaskError as error:
            return _rejected("crash", f"its answer cannot be compared ({error})", where)
        if "unknown" in found:
            return None
        category = found.get("category", "")
        # Wrong in the middle of the sequence is wrong; wrong only before or after other calls is unstable.
        if len(case.sequence) > 1 and category in _EXPECTED_VALUE_FAULTS and found.get("run", 0) != 1:
            category = "unstable"
        worst = float(found.get("error", float("inf")))
        for seed, structure in zip(seeds, case.structures, strict=True):
            note = self.session.facts["double_fault"]
            detail = str(found.get("detail", "")) or (f"no float64 oracle: {note}" if note else "")
            text = structure if len(case.structures) > 1 else case.text
            how = (structure, case.layout, tuple(sorted(case.sizes.items())), case.state)
            self.checks.append(Check(text, seed, worst, detail, *how))
        if category and case.state and self.missing:
            names = ", ".join(self.missing[:3]) + (" and more" if len(self.missing) > 3 else "")
            return _rejected("parameters", f"it does not follow the reference's {names}: {found['detail']}", where)
        if category:
            return _rejected(category, str(found["detail"]), where)
        self.compared += int(found["compared"])
        self.repeated += int(found["repeated"])
        self.varied += int(found["varied"])
        self.empty &= bool(found["empty"])
        return None


def _again(recorded: Sequence[Check]) -> Iterator[Case]:
    """Cases that draw the inputs of earlier checks once more, each once."""
    known: set[tuple[object, ...]] = set()
    for check in recorded:
        key = (check.law, check.seed, check.layout, check.sizes, check.state)
        if check.law and key not in known:
            known.add(key)
            case = Case((check.law,), layout=check.layout, sizes=dict(check.sizes), needed=True)
            yield replace(case, seed=check.seed, state=check.state)


def choose_sizes(dynamic: Sequence[DynamicSize], default: Sequence[int], rng: random.Random) -> list[dict[int, int]]:
    """Corners and an odd inner point of the box. Dimensions with the same range and default size vary together."""
    if not dynamic:
        return []
    groups: dict[tuple[int, int, int], list[int]] = {}
    for k, d in enumerate(dynamic):
        groups.setdefault((d.lo, d.hi, default[k]), []).append(k)
    points = [[lo for lo, _, _ in groups], [hi for _, hi, _ in groups], [_odd(lo, hi, rng) for lo, hi, _ in groups]]
    if len(groups) > 1:
        points.append([rng.choice((lo, hi, _odd(lo, hi, rng))) for lo, hi, _ in groups])
    found = [{k: size for size, ks in zip(p, groups.values(), strict=True) for k in ks} for p in points]
    return [sizes for k, sizes in enumerate(found) if sizes not in found[:k]]


def _odd(lo: int, hi: int, rng: random.Random) -> int:
    size = rng.randint(lo, hi)
    return size if size % 2 else (size + 1 if size < hi else max(size - 1, lo))


def _at_load(fault: WorkerFault, seconds: float) -> Verdict:
    if fault.kind in ("CompilerMissing", "CacheUnusable"):  # no fault of the candidate's
        kind: type[KernelwrightError] = getattr(errors, fault.kind)
        raise kind(fault.text) from fault
    if fault.kind == "BuildFailed":
        return Verdict("rejected", f"{fault.text.rstrip('.')}.", "build", seconds=seconds)
    category, reason = _blame(fault)
    if category == "gradient":
        return Verdict("rejected", f"{reason[0].upper()}{reason[1:]}.", category, seconds=seconds)
    return Verdict("rejected", f"Loading it failed: {reason}.", category, seconds=seconds)


def _blame(fault: WorkerFault) -> tuple[str, str]:
    if fault.kind == "MemoryError":
        return "memory", "it asked for more memory than it may use"
    if fault.kind == "PermissionError":
        return "walls", f"it tried what the walls forbid: {fault.text}"
    if fault.kind == "NoGradient":
        return "gradient", fault.text
    if fault.kind == "NotPlain":
        return "shape", fault.text
    return "crash", f"it raised {fault.kind}: {fault.text}"


def _rejected(category: str, reason: str, where: str) -> Verdict:
    with contextlib.suppress(IndexError):
        reason = reason[0].upper() + reason[1:]
    return Verdict("rejected", f"{reason}, {where}.", category)


def _lost(lost: WorkerLost, where: str, checks: tuple[Check, ...] = (), seconds: float = 0.0) -> Verdict:
    return Verdict("rejected", f"The candidate's process {lost.reason}, {where}.", lost.category, checks, seconds)
