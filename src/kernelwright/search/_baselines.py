"""The baselines: what the user would otherwise run. They are candidates like any other."""

from __future__ import annotations

from ..targets import Candidate

EAGER = Candidate("eager", "baseline", "", None, label="eager")
COMPILE = Candidate("compile", "baseline", "", None, label="torch.compile", schedule="default")
COMPILE_AUTOTUNE = Candidate(
    "compile", "baseline", "", None, label="torch.compile(max-autotune)", schedule="max-autotune"
)
