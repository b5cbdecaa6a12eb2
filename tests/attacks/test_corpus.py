"""A small part of ``attacks/`` before the judge; of the rest, that every case says what it is."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelwright.judge import Verdict

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "attacks"))
from _cases import HERE, Case, load_corpus
from run import OPEN, OTHER, REFUSED, RIGHT, UNJUDGED, Bench, classify

# Of few tasks, for a session costs more than a case.
CHOSEN = {
    "softmax_rows": (
        "cheats/01_uninitialised_output", "cheats/17_nan_as_wildcard", "cheats/24_cache_by_ends",
        "cheats/29_batch_and_skip", "cheats/42_thread_left_running",
        "cheats/68_patched_comparison", "cheats/78_quiet_exit", "cheats/103_no_maximum", "mutants/01_off_by_one_row",
        "mutants/03_maximum_of_first_half", "honest/20_online_softmax", "honest/24_softmax_in_float64",
        "honest/29_thread_pool", "honest/31_own_scratch_in_place",
    ),
    "linear_bias": (
        "cheats/23_cache_by_shape", "cheats/31_folded_weights", "cheats/57_half_precision_product",
        "cheats/98_missing_bias",
        "mutants/16_tail_of_products", "mutants/17_wrong_stride", "mutants/19_tolerance_sized_bias",
        "honest/40_packed_per_call", "honest/41_einsum", "honest/44_three_half_products", "honest/47_lazy_set_up",
    ),
    "softmax_gradient": (
        "cheats/132_detached_result", "cheats/134_gradient_for_ones", "cheats/136_gradient_of_latest_call",
        "cheats/142_native_without_gradient", "mutants/39_gradient_wrong_once", "mutants/40_gradient_without_tail",
        "honest/92_gradient_recomputed", "honest/93_gradient_by_composition",
    ),
}  # fmt: skip
CORPUS = {case.name: case for case in load_corpus()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        bench = Bench()
        yield bench
        bench.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", CHOSEN)
def test_chosen_cases_end_as_they_must(bench: Bench, task: str) -> None:
    cases = [CORPUS[name] for name in CHOSEN[task] if CORPUS[name].task.stem == task]
    outcomes = [bench.run(case) for case in cases]
    assert [(o.name, o.outcome, o.reason) for o in outcomes if o.outcome not in (RIGHT, OTHER)] == []
    assert sum(o.outcome == RIGHT for o in outcomes) >= len(outcomes) - 1  # one may meet another of its reasons first


def test_corpus_is_as_large_as_promised() -> None:
    count = Counter(case.folder for case in CORPUS.values())
    assert count["cheats"] >= 60
    assert count["mutants"] >= 30
    assert count["honest"] >= 60


def test_every_family_of_the_catalogue_is_there() -> None:
    families = Counter(case.kind[0] for case in CORPUS.values() if case.folder == "cheats")
    assert {"A", "B", "C", "D", "E"} <= families.keys()
    assert all(families[letter] >= 8 for letter in "ABCDE")


@pytest.mark.parametrize("folder", ["cheats", "mutants", "honest"])
def test_names_and_numbers_are_unique(folder: str) -> None:
    numbers = Counter(case.path.stem.split("_")[0] for case in CORPUS.values() if case.folder == folder)
    assert [n for n, count in numbers.items() if count > 1] == []


def test_every_case_has_a_task_and_an_expectation() -> None:
    for case in CORPUS.values():
        assert case.task.is_file(), case.name
        assert case.expect in ("accepted", "rejected", "unscored", "unjudged"), case.name
        assert (case.expect in ("accepted", "unjudged")) == (case.folder == "honest"), case.name
        assert case.expect != "rejected" or case.reasons, case.name
        assert case.kind, case.name
        assert case.mechanism, case.name
    used = {case.task for case in CORPUS.values()}
    assert used == set((HERE / "tasks").glob("*.py"))


def _case(expect: str, *reasons: str, gainless: bool = False) -> Case:
    return Case(Path("cheats/1_x.py"), Path("tasks/x.py"), "A1", "", expect, reasons, gainless, "")


@pytest.mark.parametrize(
    ("case", "verdict", "speedup", "outcome"),
    [
        (_case("rejected", "value"), Verdict("rejected", "", "value"), None, RIGHT),
        (_case("rejected", "value"), Verdict("rejected", "", "crash"), None, OTHER),
        (_case("rejected", "value"), Verdict("accepted"), 1.0, OPEN),
        (_case("rejected", "clock", gainless=True), Verdict("accepted"), 1.0, RIGHT),
        (_case("rejected", "clock", gainless=True), Verdict("accepted"), 9.0, OPEN),
        (_case("rejected", "clock", gainless=True), Verdict("accepted"), None, OPEN),
        (_case("accepted"), Verdict("rejected", "", "value"), None, REFUSED),
        (_case("accepted"), Verdict("accepted"), 1.0, RIGHT),
        (_case("accepted"), Verdict("unjudged"), None, UNJUDGED),
        (_case("unscored"), Verdict("unjudged", "", "unscored"), None, RIGHT),
        (_case("unscored"), Verdict("unjudged", "", "walls"), None, UNJUDGED),
        (_case("unjudged", "walls"), Verdict("unjudged", "", "walls"), None, RIGHT),
        (_case("unjudged", "walls"), Verdict("rejected", "", "crash"), None, REFUSED),
        (_case("unscored"), Verdict("accepted"), 1.0, OPEN),
    ],
)
def test_outcomes(case: Case, verdict: Verdict, speedup: float | None, outcome: str) -> None:
    assert classify(case, verdict, speedup) == outcome
