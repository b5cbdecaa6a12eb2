"""The rules on a corpus of programs: real Triton passes, every way round it fails."""

from __future__ import annotations

import pytest

from kernelwright.llm.rl import TritonRules, draw_specs, render

from .snippets import BAD, GOOD


@pytest.mark.parametrize("name", GOOD)
def test_real_triton_passes(name: str) -> None:
    report = TritonRules().check(GOOD[name], "run")
    assert report.ok, report.violations


@pytest.mark.parametrize("name", BAD)
def test_a_way_round_fails_and_says_why(name: str) -> None:
    report = TritonRules().check(BAD[name], "run")
    assert not report.ok
    assert all(report.violations)


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(GOOD) + len(BAD) >= 40


def test_programs_of_the_small_language_pass_and_delegating_ones_fail() -> None:
    for spec in draw_specs(5, 40, (1, 2, 3)):
        assert TritonRules().check(render(spec.program()), "run").ok
        assert not TritonRules().check(render(spec.delegating()), "run").ok


def test_text_that_is_deeply_nested_or_no_text_is_refused_and_not_a_crash() -> None:
    for text in ("(" * 5000, "x = " + "-" * 20000 + "1", "\0", "def run(x):\n    return " + "x." * 3000 + "y"):
        assert not TritonRules().check(text, "run").ok
