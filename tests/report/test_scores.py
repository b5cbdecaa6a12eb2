"""Records, scores and the one JSON shape."""

import json
import math

import made
import pytest

from kernelwright.judge import Measurement, Ratio
from kernelwright.report import Record, document_text, failed_record, fast_p, geomean, record, summary, to_json


def scored(ratio: float | None, correct: bool = True, compiled: float | None = None) -> Record:
    speedup = {"eager": ratio, "compile": compiled}
    interval = {"eager": None, "compile": None}
    return Record("t", "won" if correct else "failed", correct, speedup, interval, None, "compiler", 1, 1.0, "")


def test_fast_p_is_strict_and_counts_every_task() -> None:
    records = [scored(1.0), scored(2.0), scored(4.0), scored(9.0, correct=False), scored(None)]
    assert fast_p(records, 0) == 4 / 5  # the correct rate, measured or not
    assert fast_p(records, 0.8) == 3 / 5
    assert fast_p(records, 1.0) == 2 / 5  # exactly 1 is not faster
    assert fast_p(records, 2.0) == 1 / 5
    assert fast_p([], 1.0) == 0.0


def test_geomean_is_over_correct_measured_tasks() -> None:
    records = [scored(2.0, compiled=3.0), scored(8.0), scored(100.0, correct=False), scored(None)]
    assert geomean(records) == pytest.approx(4.0)
    assert geomean(records, "compile") == pytest.approx(3.0)
    assert geomean([scored(None)]) is None


def test_geomean_of_inverses_is_the_inverse() -> None:
    ratios = [0.3, 1.7, 4.2, 9.9]
    product = (geomean([scored(r) for r in ratios]) or 0) * (geomean([scored(1 / r) for r in ratios]) or 0)
    assert product == pytest.approx(1.0)


def test_record_of_a_win() -> None:
    row = record(made.won())
    assert row.status == "won"
    assert row.correct
    assert row.speedup["eager"] == pytest.approx(8e-4 / 2.9e-4)
    assert row.interval["compile"] == pytest.approx((0.98 * 5.2 / 2.9, 1.02 * 5.2 / 2.9))
    assert row.proposer == "compiler"
    assert row.candidates == 7


def test_serving_a_baseline_is_exactly_one_against_itself() -> None:
    row = record(made.baseline(winner="compile"))
    assert row.correct
    assert row.speedup["compile"] == 1.0
    assert row.interval["compile"] == (1.0, 1.0)
    assert row.speedup["eager"] == pytest.approx(1.0)  # as measured


@pytest.mark.parametrize("outcome", [made.unscored(), made.failed()])
def test_nothing_is_claimed_without_a_winner(outcome: object) -> None:
    row = record(outcome)  # type: ignore[arg-type]
    assert not row.correct
    assert row.proposer is None
    assert set(row.speedup.values()) == {None}


def test_shrunk_sizes_explain_themselves() -> None:
    outcome = made.won(task=made.task("t", shrunk=((0, 0, 128, 8),)))
    assert record(outcome).shrunk == ({"argument": 0, "dim": 0, "from": 128, "to": 8},)


@pytest.mark.parametrize("outcome", [made.won(), made.baseline(), made.unmeasured(), made.unscored(), made.failed()])
def test_records_survive_json(outcome: object) -> None:
    row = record(outcome)  # type: ignore[arg-type]
    assert Record.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_document_has_the_one_shape() -> None:
    outcomes = [made.won(), made.baseline(), made.unmeasured(), made.unscored(), made.failed()]
    outcomes.append(failed_record("dead", "It died.", 3.0))
    document = json.loads(document_text(to_json(outcomes, {"cores": 2}, {"torch": "2"})))
    made.assert_shape(document)
    assert document["machine"] == {"cores": 2}
    assert [t["status"] for t in document["tasks"]] == ["won", "baseline", "unmeasured", "unscored", "failed", "failed"]
    assert document["summary"]["correct"] == 3 / 6
    assert document["summary"] == summary([o if isinstance(o, Record) else record(o) for o in outcomes])


def test_document_is_strict_json_whatever_was_measured() -> None:
    wild = Measurement(1e-3, {"eager": math.inf}, {"eager": Ratio(math.inf, 1.0, math.inf)}, math.nan, 3, False)
    document = json.loads(document_text(to_json([made.won(measurement=wild)], {"x": math.nan}, {})))
    assert document["tasks"][0]["speedup"]["eager"] is None
    assert document["tasks"][0]["roofline"] is None
    assert document["machine"]["x"] is None
