"""The evidence for one accepted kernel: all that somebody else needs to build it again and to judge it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BundleInvalid
from ..judge import Check, Measurement, Verdict, measurement_from_json, verdict_from_json
from ..targets import Candidate, plan_from_json, plan_to_json
from ..targets.cpu import Recipe
from ..task import DynamicSize, Task
from ._container import digest_of, pack, save, unpack

_HEADERS = "include/kw/"
_LAYOUTS = ("same", "strided", "shifted")
_README = """A kernel made by kernelwright, and the evidence for it.

    kernelwright verify THIS_FILE

builds it again and judges it again, on inputs that nobody has seen and on those that are recorded here.

task.json, task.py (or task.pickle)  what is computed: the reference and how its inputs are drawn
source.cpp, plan.json, include/      the kernel, how it is launched, the headers that it includes
candidate.json, build.json           where it came from; how it was built
domain.json                          the sizes, dtypes and values for which it was verified
verdict.json                         every check: the inputs' seeds, the error in units of its bound
measurement.json                     its times and its rivals', with intervals
machine.json, versions.json          where that was
proof.json                           what was proven of its indices
manifest.json                        the sha256 of every part, and one over all of them

Digests say that the parts are those that were put together. They do not say by whom, nor that what is written in them
is true: only judging again does. task.py is a program; read it before you believe that it is the task you mean.
"""


@dataclass(frozen=True)
class Bundle:
    """An accepted kernel with its evidence. ``machine`` and ``versions`` are those of the verdict and measurement.

    ``headers`` are texts of ours that the source includes, by name. ``proof`` is what was proven besides, by subject.
    """

    task: Task
    candidate: Candidate
    recipe: Recipe
    headers: Mapping[str, str]
    verdict: Verdict
    measurement: Measurement | None
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    proof: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What names it: equal evidence has an equal digest."""
        return digest_of(self.parts())

    @property
    def domain(self) -> dict[str, Any]:
        """For what the kernel was verified: its inputs, the sizes that may vary, the laws of values that it met."""
        plan = self.candidate.plan
        assert plan is not None
        laws = {check.law.split()[0] for check in self.verdict.checks if check.law}
        return {
            "inputs": [{"source": list(spec.source), **asdict(spec.spec)} for spec in plan.inputs],
            "sizes": [asdict(symbol) for symbol in plan.symbols],
            "constants": [list(pair) for pair in plan.constants],
            "dtype": self.task.dtype,
            "laws": sorted(laws),
            "layouts": sorted({check.layout for check in self.verdict.checks}),
            "other_parameters": any(check.state for check in self.verdict.checks),
        }

    def parts(self) -> dict[str, bytes]:
        """The files of the bundle by name, without the manifest."""
        candidate, plan = self.candidate, self.candidate.plan
        assert plan is not None
        about: dict[str, Any] = {"digest": candidate.digest, "target": candidate.target, "proposer": candidate.proposer}
        about |= {"label": candidate.label, "schedule": candidate.schedule, "notes": list(candidate.notes)}
        measurement = asdict(self.measurement) if self.measurement is not None else None
        texts = {
            "README.txt": _README,
            "task.json": _json(_task_content(self.task)),
            "candidate.json": _json(about),
            "source.cpp": candidate.source,
            "plan.json": _json(json.loads(plan_to_json(plan))),
            "build.json": _json(asdict(self.recipe)),
            "domain.json": _json(self.domain),
            "verdict.json": _json(asdict(self.verdict)),
            "measurement.json": _json(measurement),
            "machine.json": _json(self.machine),
            "versions.json": _json(self.versions),
            "proof.json": _json(self.proof),
            **{f"{_HEADERS}{name}": text for name, text in self.headers.items()},
        }
        if self.task.text:
            texts["task.py"] = self.task.text
        parts = {name: text.encode() for name, text in texts.items()}
        return {**parts, "task.pickle": self.task.payload} if self.task.payload else parts

    def write(self, path: Path) -> None:
        """Write it as one file; raises ``OutputUnwritable``."""
        save(path, pack(self.parts()))


def read_bundle(path: Path) -> Bundle:
    """A bundle from its file; nothing in it is run. Raises ``BundleInvalid`` (``BundleTooNew``) with one sentence."""
    parts = unpack(path)
    try:
        bundle = _from_parts(parts)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise BundleInvalid(f"{path} is no bundle: what its parts say makes no sense ({what}).") from None
    fault = _contradiction(bundle, parts)
    if fault:
        raise BundleInvalid(f"{path} has been tampered with: {fault}.")
    return bundle


def _from_parts(parts: Mapping[str, bytes]) -> Bundle:
    def data(name: str) -> Any:
        return json.loads(parts[name])

    about, measurement = data("candidate.json"), data("measurement.json")
    source, notes = parts["source.cpp"].decode(), tuple(map(str, about["notes"]))
    plan = plan_from_json(parts["plan.json"].decode())
    build = data("build.json")
    return Bundle(
        task=_task(data("task.json"), parts.get("task.py", b"").decode(), parts.get("task.pickle", b"")),
        candidate=Candidate(about["target"], about["proposer"], source, plan, about["label"], about["schedule"], notes),
        recipe=Recipe(str(build["compiler"]), tuple(map(str, build["flags"])), str(build["toolchain"])),
        headers={n.removeprefix(_HEADERS): t.decode() for n, t in parts.items() if n.startswith(_HEADERS)},
        verdict=verdict_from_json(data("verdict.json")),
        measurement=measurement_from_json(measurement) if measurement is not None else None,
        machine=dict(data("machine.json")),
        versions={str(name): str(version) for name, version in data("versions.json").items()},
        proof=dict(data("proof.json")),
    )


def _contradiction(bundle: Bundle, parts: Mapping[str, bytes]) -> str:
    """What cannot be if it was written by us, though each part is what the manifest lists; "" where nothing is."""
    if json.loads(parts["candidate.json"])["digest"] != bundle.candidate.digest:
        return "its source and plan are not those of candidate.json"
    if json.loads(parts["task.json"])["digest"] != bundle.task.digest:
        return "its reference is not that of task.json"
    if bundle.candidate.target != "cpu" or not bundle.verdict.accepted:
        return "it is of no accepted kernel"
    if json.loads(_json(bundle.domain)) != json.loads(parts["domain.json"]):
        return "domain.json is not what its plan and its checks say"
    if any(check.layout not in _LAYOUTS or not _inside(check, bundle.task) for check in bundle.verdict.checks):
        return "it records checks outside its domain"
    return ""


def _inside(check: Check, task: Task) -> bool:
    ranges = dict(enumerate(task.dynamic))
    return all(k in ranges and ranges[k].lo <= size <= ranges[k].hi for k, size in check.sizes)


def _task_content(task: Task) -> dict[str, Any]:
    """Everything but where it lay on its author's disk, and what is a part of its own."""
    content = asdict(replace(task, path=""))
    del content["text"], content["payload"], content["path"]
    return {**content, "digest": task.digest}


def _task(content: dict[str, Any], text: str, payload: bytes) -> Task:
    fields = {name: value for name, value in content.items() if name not in ("digest", "text", "payload", "path")}
    fields["dynamic"] = tuple(DynamicSize(**size) for size in content["dynamic"])
    for name in ("shrunk", "patches"):
        fields[name] = tuple(tuple(entry) for entry in content[name])
    fields["structures"] = tuple(content["structures"])
    return Task(**fields, text=text, payload=payload)


def _json(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
