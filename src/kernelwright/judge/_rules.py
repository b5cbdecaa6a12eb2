"""What reading a candidate's source tells: an early, cheap filter, and labels that stand beside the verdict.

A few findings reject, each of something that no kernel needs: running programs, the network, files, the frames of
callers, patching what others use, the reference's own objects. All others are data. No finding ever accepts: whoever
hides what is looked for here still meets the judge.
"""

from __future__ import annotations

from ..targets import AtenCall, Candidate
from ..targets.cpu import PLAIN_MARK
from ._findings import LIBRARY, Findings
from ._verdict import Label


def read_labels(candidate: Candidate) -> tuple[Label, ...]:
    """Labels of a candidate's source and plan; those that are ``forbidden`` reject it. Nothing is run."""
    found = Findings()
    if candidate.target in ("python", "triton"):
        from ._rules_python import read_python

        read_python(candidate.source, found)
    elif candidate.target == "so":
        from ._rules_binary import read_binary

        read_binary(candidate.source, found)
    elif candidate.source:
        from ._rules_cpp import read_cpp

        mark = candidate.source.startswith(PLAIN_MARK)  # two lines of our own stand before the text then
        read_cpp(candidate.source.split("\n", 2)[2] if mark else candidate.source, found)
    if candidate.plan is not None:
        _read_plan(candidate, found)
    return found.labels()


def _read_plan(candidate: Candidate, found: Findings) -> None:
    assert candidate.plan is not None
    for step in candidate.plan.steps:
        if isinstance(step, AtenCall):
            ours = step.op.startswith(("aten.", "prims.")) and "__" not in step.op
            found.add(LIBRARY if ours else "calls what is no operator", f"{step.op} in the plan", forbidden=not ours)
