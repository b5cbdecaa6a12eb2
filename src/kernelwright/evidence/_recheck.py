"""A bundle judged again: rebuilt here from its source, by inputs that nobody has seen and by those it records.

Whoever made it is not trusted, and neither is the task in it: both run behind walls, in processes of their own. With a
task of the user's own in its place, what is agreed with is the user's reference and not a stranger's.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ReferenceFailed, TaskError
from ..judge import Check, Judge, Measurement, Rejected, Verdict
from ..machine import describe, fingerprint, versions
from ..targets import Candidate
from ..targets.cpu import flatten, headers_of, recipe
from ..task import Task, shrink
from ._bundle import Bundle

EAGER = Candidate("eager", "baseline", "", None, "eager")
PROPOSER = "bundle"  # of a candidate that is judged as a stranger's, wherever it was printed


class OtherTask(TaskError):
    """A bundle is of another task than the one it is compared with."""


@dataclass(frozen=True)
class Recheck:
    """What judging again said. ``again`` are the recorded checks and what they are here, each with its new error.

    ``differences`` are sentences: what is not here as it was there, or not what a reader of its reference would think.
    ``proof`` is what could be proven here, in the bundle's own form.
    """

    verdict: Verdict
    measurement: Measurement | None
    again: tuple[tuple[Check, Check], ...]
    differences: tuple[str, ...]
    proof: Mapping[str, Any]
    walls: tuple[Mapping[str, Any], ...]


def recheck(
    bundle: Bundle,
    task: Task | None = None,
    *,
    seconds: float = 2.0,
    unsafe: bool = False,
    time_limit: float = 60.0,
    memory_limit: int | None = None,
) -> Recheck:
    """Rebuild and judge a bundle here; ``seconds`` of measurement against eager follow (0: none).

    ``task``: the user's own copy, whose reference is judged against instead; ``OtherTask`` when the bundle's differs.
    Raises ``WallsMissing`` where strangers' code cannot be shut in, unless ``unsafe``.
    """
    judged = _own(bundle, task) if task is not None else replace(bundle.task, path="", module="")
    differences, source = _differences(bundle)
    candidate = replace(bundle.candidate, proposer=PROPOSER, source=source)
    limits: dict[str, Any] = {"time_limit": time_limit, "memory_limit": memory_limit}
    with Judge(**limits, unsafe=unsafe, foreign=task is None) as judge:
        verdict = _judge(judge, judged, candidate, bundle.verdict.checks)
        measurement = None
        if verdict.accepted and seconds > 0 and judge.session is not None:
            try:
                measurement = judge.session.measure(candidate, [EAGER], seconds=seconds)
            except Rejected as fault:
                verdict = replace(fault.verdict, checks=verdict.checks, phases=verdict.phases)
        walls = tuple(judge.walls)
    again = _again(bundle.verdict.checks, verdict.checks)
    return Recheck(verdict, measurement, again, differences, _proof(bundle, source), walls)


def _judge(judge: Judge, task: Task, candidate: Candidate, recorded: tuple[Check, ...]) -> Verdict:
    """The process in which a stranger's reference runs may answer anything."""
    try:
        return judge.judge(task, candidate, recorded)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ReferenceFailed(
            f"The reference of {task.name} answers what makes no sense ({type(error).__name__})."
        ) from error


def _proof(bundle: Bundle, source: str) -> Mapping[str, Any]:
    """Proven of the source by what this version's headers do, so of nothing where the bundle has others."""
    from ..compiler.proof import prove  # slow to import

    if source != bundle.candidate.source:
        return {"indices": {"proved": False, "why_not": "its headers are not those of this version", "kernels": []}}
    return prove(bundle.candidate).to_json()


def _own(bundle: Bundle, task: Task) -> Task:
    """The user's own task, made smaller if the bundle's is. Raises ``OtherTask`` where anything of it differs."""
    found = shrink(task) if bundle.task.shrunk else task
    if found.digest != bundle.task.digest:
        what = (
            "their texts differ" if found.text != bundle.task.text else "their sizes, dtypes or laws of values differ"
        )
        raise OtherTask(f"The bundle's task is not {task.name}: {what}.")
    return found


def _restrictions(task: Task) -> list[str]:
    """What the text of the reference alone does not show."""
    found = []
    if task.patches:
        changed = ", ".join(f"{name} = {value}" for name, value in task.patches)
        found.append(f"Constants of its reference are replaced: {changed}.")
    if task.structures:
        found.append(f"It is judged on these laws of values alone: {', '.join(task.structures)}.")
    if task.dtype != "float32":
        found.append(f"Its parameters and inputs are cast to {task.dtype}.")
    return found


def _differences(bundle: Bundle) -> tuple[tuple[str, ...], str]:
    """What is not here as it was there, and the source to build: with the bundle's headers where ours are others."""
    found, source = _restrictions(bundle.task), bundle.candidate.source
    machine = describe()
    if fingerprint(machine) != bundle.machine.get("fingerprint"):
        theirs = f"{bundle.machine.get('cpu', 'unknown')}, {bundle.machine.get('cores', '?')} cores"
        found.append(f"It was made on another machine: {theirs}; this is {machine.cpu}, {machine.cores} cores.")
        lacking = sorted(set(map(str, bundle.machine.get("isa", ()))) - set(machine.isa))
        if lacking and bundle.machine.get("arch") == platform.machine().lower():
            found.append(f"This processor lacks {', '.join(lacking[:6])}{' and more' if len(lacking) > 6 else ''}.")
    if headers_of(source) != dict(bundle.headers):
        source = flatten(source, bundle.headers)
        found.append("Its headers are not those of this version; it is built with its own.")
    here = recipe(source)
    if here.compiler != bundle.recipe.compiler:
        found.append(f"It was built with {bundle.recipe.compiler}; here it is {here.compiler}.")
    without = [flag for flag in bundle.recipe.flags if flag not in here.flags]
    besides = [flag for flag in here.flags if flag not in bundle.recipe.flags]
    if without:
        found.append(f"It is built without {' '.join(without)}, which this version does not use.")
    if besides:
        found.append(f"It is built with {' '.join(besides)} besides.")
    now = versions()
    for name in ("torch", "kernelwright"):
        then = bundle.versions.get(name)
        if then != now[name]:
            found.append(f"It was judged by {name} {then or 'of an unknown version'}; here it is {now[name]}.")
    return tuple(found), source


def _again(recorded: tuple[Check, ...], now: tuple[Check, ...]) -> tuple[tuple[Check, Check], ...]:
    """Recorded checks that were made once more, with what came of them."""
    made = {_inputs(check): check for check in now}
    then = {_inputs(check): check for check in recorded if check.law}
    return tuple((check, made[key]) for key, check in then.items() if key in made)


def _inputs(check: Check) -> tuple[object, ...]:
    return check.law, check.seed, check.layout, check.sizes, check.state


__all__ = ["OtherTask", "Recheck", "recheck"]
