"""The family tree: who was made from whom, what changed, and nothing of it is markup of a stranger's."""

from __future__ import annotations

import json

from kernelwright.judge import Measurement, Ratio, Verdict
from kernelwright.report import render_html
from kernelwright.report._family import family
from kernelwright.search import Outcome, Trial
from kernelwright.targets import Candidate
from kernelwright.task import Task

ACCEPTED = Verdict("accepted")
TIMED = Measurement(1e-5, {"eager": 2e-5}, {"eager": Ratio(2.0, 1.9, 2.1)}, 0.5, 9, False)


def trial(step: str, source: str, *parents: Trial, features: tuple[str, ...] = (), reason: str = "") -> Trial:
    origin = {"step": step, "kind": "improve", "features": features}
    origin["parents"] = tuple(parent.candidate.digest for parent in parents)
    candidate = Candidate("cpu", "llm", source, None, f"m/{step}", json.dumps(origin))
    if reason:
        return Trial(candidate, Verdict("rejected", reason, "value"), None, 1.0)
    return Trial(candidate, ACCEPTED, TIMED, 1.0)


OURS = Trial(
    Candidate("cpu", "compiler", "int a;\nint b;\n", None, "compiler", '{"k0": {"mr": 8}}'), ACCEPTED, TIMED, 1.0
)
FIRST = trial("1.1", "int a;\nint c;\n", OURS, features=("fusion",))
SECOND = trial("1.2", "int a;\n", reason="Output 0 is wrong.")
THIRD = trial("2.1", "int c;\n</pre><script>alert(1)</script>\n", FIRST, SECOND, features=("fusion", "<b>tiling</b>"))


def test_a_tree_in_the_order_of_descent() -> None:
    found = [(r.trial.candidate.label, r.depth, r.others) for r in family([OURS, SECOND, FIRST, THIRD])]
    assert found == [("compiler", 0, ()), ("m/1.1", 1, ()), ("m/2.1", 2, ("m/1.2",)), ("m/1.2", 0, ())]


def test_a_child_is_shown_by_what_it_changed() -> None:
    diff = family([OURS, FIRST])[1].diff
    assert diff.splitlines()[:2] == ["--- compiler", "+++ m/1.1"]
    assert "-int b;" in diff
    assert "+int c;" in diff


def test_schedules_of_our_compiler_are_no_family() -> None:
    assert family([OURS]) == []


def test_the_page_shows_the_tree_and_runs_nothing_of_it() -> None:
    task = Task("net", "kernelbench", "import torch")
    trials = (OURS, FIRST, SECOND, THIRD)
    outcome = Outcome(task, "won", THIRD.candidate, ACCEPTED, TIMED, trials, 3.0, "", False, None)
    page = render_html(outcome)
    assert "Family of candidates" in page
    assert "<script" not in page
    assert "<b>tiling" not in page
    assert 'class="feature">fusion' in page
    assert "Output 0 is wrong." in page
