"""Candidates and their launch plans: plain data that can be stored, diffed and sent to another machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

PLAN_MARK = "// kernelwright-plan: "  # begins a file that holds a source together with its plan
PYTHON_PLAN_MARK = "# kernelwright-plan: "  # the same where the source is Python
WORKSPACE = "workspace"  # the name under which entries ask for the plan's scratch memory

SizeText = int | str  # an int, or a Python expression over the plan's symbols, e.g. "s0*64"


@dataclass(frozen=True)
class TensorSpec:
    """Shape, dtype (torch's name without prefix) and strides in elements of a tensor that a plan names."""

    name: str
    shape: tuple[SizeText, ...]
    dtype: str
    strides: tuple[SizeText, ...]


@dataclass(frozen=True)
class InputSpec:
    """One flat input.

    ``source`` is ("arg", i) for the i-th tensor leaf of the call's arguments, ("state", name) for a parameter or
    buffer, or ("literal", name) for a tensor that travels with the plan.
    """

    source: tuple[str, int | str]
    spec: TensorSpec


@dataclass(frozen=True)
class Literal:
    """A tensor made inside the reference (a table, a mask): its bytes, base64, row-major."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: str


@dataclass(frozen=True)
class SymbolSpec:
    """A size bound at call time from ``inputs[input].shape[dim]``, refused outside ``[lo, hi]``."""

    name: str
    input: int
    dim: int
    lo: int
    hi: int


@dataclass(frozen=True)
class EntryCall:
    """Call of one C entry: ``args`` are tensor names in parameter order, ``WORKSPACE`` last if it needs scratch."""

    entry: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class AtenCall:
    """Call of one ATen operator; ``{"tensor": name}`` in args/kwargs is a tensor, ``{"size": text}`` a size."""

    op: str
    args: tuple[object, ...]
    kwargs: tuple[tuple[str, object], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """How to launch a candidate: bind inputs, allocate, run the steps, return the outputs.

    ``buffers`` are allocated per call (outputs and tensors that cross an ATen call); ``workspace`` is scratch bytes of
    the entries, kept between calls. ``results`` are the leaves returned, in order: the name of a tensor, or
    ``{"value": v}`` for a leaf that is none; ``treespec`` is their serialised pytree (None for a single tensor).
    ``mutations`` copies tensors into state entries afterwards.
    ``constants`` are the non-tensor leaves of the call's arguments by leaf position: the kernel holds for these alone.
    ``backward``: how gradients are computed, of a kernel that gives them.
    """

    inputs: tuple[InputSpec, ...]
    buffers: tuple[TensorSpec, ...]
    steps: tuple[EntryCall | AtenCall, ...]
    results: tuple[object, ...]
    treespec: str | None = None
    symbols: tuple[SymbolSpec, ...] = ()
    workspace: SizeText = 0
    mutations: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[int, object], ...] = ()
    literals: tuple[Literal, ...] = ()
    backward: Backward | None = None


@dataclass(frozen=True)
class Backward:
    """The second half of a kernel with gradients, in the same source as the first.

    The first half then returns ``(result, saved)``: a list of tensors besides what the reference returns. ``plan``
    takes the tensor arguments of the call at the positions ``inputs``, ``saved``, and a cotangent for each of the
    result's tensors at the positions ``outputs``; it returns a flat tuple: the gradients in ``sources``, each
    ("arg", i) or ("state", name) as in :class:`InputSpec`.
    """

    plan: Plan
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sources: tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class Candidate:
    """Source text that claims to compute a task on a target, with how to launch it and where it came from.

    ``target`` is "cpu" for generated C++; the baselines are the targets "eager" and "compile" (empty source, no plan).
    """

    target: str
    proposer: str
    source: str
    plan: Plan | None
    label: str = ""  # short, for tables: "compiler", "compiler/tile=128x256", "torch.compile(max-autotune)"
    schedule: str = ""  # JSON of the level-2 decisions
    notes: tuple[str, ...] = ()  # e.g. operations that stayed ATen calls

    @property
    def digest(self) -> str:
        """sha256 over everything that decides what runs (not the label, proposer or notes)."""
        plan: object = self.label
        if self.plan:
            plan = {k: v for k, v in asdict(self.plan).items() if k != "backward" or v is not None}
        content = {"target": self.target, "source": self.source, "plan": plan}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_to_json(plan: Plan) -> str:
    """Serialise a plan; :func:`plan_from_json` is the inverse."""
    return json.dumps(_plan_data(plan), sort_keys=True)


def _plan_data(plan: Plan) -> dict[str, object]:
    data = asdict(plan)
    data["steps"] = [{"kind": type(s).__name__, **asdict(s)} for s in plan.steps]
    if plan.backward is None:
        del data["backward"]
    else:
        data["backward"]["plan"] = _plan_data(plan.backward.plan)
    return data


def one_file(candidate: Candidate) -> str:
    """A generated source as a file of its own, its plan in the first line; without a plan the source alone."""
    if candidate.plan is None:
        return candidate.source
    mark = PYTHON_PLAN_MARK if candidate.target == "triton" else PLAN_MARK
    return f"{mark}{plan_to_json(candidate.plan)}\n{candidate.source}"


def plan_from_json(text: str) -> Plan:
    """Read a plan back."""
    return _plan(json.loads(text))


def _plan(data: dict[str, Any]) -> Plan:
    steps: list[EntryCall | AtenCall] = []
    for step in data["steps"]:
        if step["kind"] == "EntryCall":
            steps.append(EntryCall(step["entry"], tuple(step["args"])))
        else:
            kwargs = tuple((k, v) for k, v in step["kwargs"])
            steps.append(AtenCall(step["op"], tuple(step["args"]), kwargs, tuple(step["outputs"])))
    return Plan(
        inputs=tuple(InputSpec((i["source"][0], i["source"][1]), _spec(i["spec"])) for i in data["inputs"]),
        buffers=tuple(_spec(b) for b in data["buffers"]),
        steps=tuple(steps),
        results=tuple(data["results"]),
        treespec=data["treespec"],
        symbols=tuple(SymbolSpec(**s) for s in data["symbols"]),
        workspace=data["workspace"],
        mutations=tuple((a, b) for a, b in data["mutations"]),
        constants=tuple((position, value) for position, value in data["constants"]),
        literals=tuple(Literal(**{**item, "shape": tuple(item["shape"])}) for item in data["literals"]),
        backward=_backward(data["backward"]) if "backward" in data else None,
    )


def _backward(data: dict[str, Any]) -> Backward:
    sources = tuple((kind, name) for kind, name in data["sources"])
    return Backward(_plan(data["plan"]), tuple(data["inputs"]), tuple(data["outputs"]), sources)


def _spec(data: dict[str, object]) -> TensorSpec:
    return TensorSpec(str(data["name"]), tuple(data["shape"]), str(data["dtype"]), tuple(data["strides"]))  # type: ignore[arg-type]
