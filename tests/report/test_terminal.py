"""Terminal tables hold what they promise."""

from dataclasses import replace

import made
from rich.console import Console
from rich.table import Table

from kernelwright.judge import Measurement, Ratio
from kernelwright.report import (
    bench_table,
    comparison_table,
    failed_record,
    headline,
    record,
    scores_table,
    status_line,
    trials_table,
)


def text(table: Table) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_comparison() -> None:
    shown = text(comparison_table(made.won()))
    for part in ("compiler/tile=64x128", "290 µs", "58 %", "PyTorch eager", "800 µs", "2.76×", "2.70–2.81", "1.79×"):
        assert part in shown


def test_comparison_without_a_measurement() -> None:
    assert "nothing" in text(comparison_table(made.failed()))


def test_the_headline_is_no_stronger_than_the_intervals() -> None:
    assert headline(made.won()).endswith("It is faster than PyTorch eager and torch.compile.")
    unsure = Measurement(
        1e-3, {}, {"eager": Ratio(1.4, 0.9, 1.8), "compile": Ratio(0.13, 0.12, 0.99)}, None, rounds=3, cold=True
    )
    said = headline(made.won(measurement=unsure))
    assert said.endswith("It is within the noise of PyTorch eager; slower than torch.compile.")
    assert "nothing is claimed" in headline(made.unscored())
    assert headline(made.won(measurement=None)) == "A generated kernel is served."


def test_a_candidate_timed_twice_is_one() -> None:
    outcome = made.won()
    again = replace(outcome.candidates[4], measurement=made.measurement(2e-4), seconds=99.0)
    trials = (*outcome.candidates, again)
    assert record(replace(outcome, candidates=trials)).candidates == 7
    shown = text(trials_table(trials))
    assert shown.count("tile=64x128") == 1
    assert "200 µs" in shown


def test_trials_say_why() -> None:
    shown = text(trials_table(made.won().candidates))
    assert "off by 3.1 bounds" in shown
    assert "no member named 'fma16'" in shown
    assert "3.1" in shown


def test_bench() -> None:
    rows = [record(made.won("[bold]a")), record(made.unscored()), failed_record("dead", "It died.", 1.0)]
    shown = text(bench_table(rows))
    assert "[bold]a" in shown  # a name is never markup
    assert "returns zeros passes" in shown
    assert "It died." in shown
    scores = text(scores_table(rows))
    assert "33 %" in scores
    assert "2.76×" in scores
    assert status_line(rows) == "3 tasks: 1 won, 1 unscored, 1 failed"
