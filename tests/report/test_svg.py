"""Pictures: what they show is where the numbers say it is."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import made
import pytest

from kernelwright.report import Ceilings, record, svg_roofline, svg_speedup, svg_suite
from kernelwright.report._curve import best_over_time, svg_curve
from kernelwright.report._svg import Scale, linear_ticks, log_ticks, shorten, spread
from kernelwright.task import Cost

CEILINGS = Ceilings(28e9, 230e9)
SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter(f"{SVG}rect") if e.get("class")]


def test_bars_are_as_long_as_the_ratios() -> None:
    eager, compiled = bars(svg_speedup(made.won()))
    assert float(eager.get("width", 0)) / float(compiled.get("width", 1)) == pytest.approx(8 / 5.2, rel=2e-3)


def test_slower_than_the_rival_is_marked() -> None:
    svg = svg_speedup(made.won(measurement=made.measurement(1e-3)))
    assert [bar.get("class") for bar in bars(svg)] == ["bad", "bad"]


def test_standalone_brings_its_style_and_both_schemes() -> None:
    root = ET.fromstring(svg_speedup(made.won()))
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert ET.fromstring(svg_speedup(made.won(), standalone=False)).find(f"{SVG}style") is None


def test_no_measurement_is_said() -> None:
    assert "not measured" in svg_speedup(made.failed())


def test_suite_is_sorted_and_signed() -> None:
    rows = [record(made.won(str(i), seconds=s)) for i, s in enumerate((1e-3, 1e-4, 4e-4))]
    svg = svg_suite(rows)
    assert [bar.get("class") for bar in bars(svg)] == ["own", "own", "bad"]
    assert [t.split(":")[0] for t in re.findall(r"<title>(\d: .*?)</title>", svg)] == ["1", "2", "0"]


def test_roofline_points_lie_under_one_another_and_below_the_roof() -> None:
    root = ET.fromstring(svg_roofline(made.won(), CEILINGS))
    points = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter(f"{SVG}circle")]
    assert len(points) == 3
    assert len({x for x, _ in points}) == 1
    heights = [y for _, y in points]
    assert heights[2] < heights[0] < heights[1]  # the faster, the higher; drawn: torch.compile, eager, ours on top


def test_roofline_of_pure_movement_is_bandwidth() -> None:
    svg = svg_roofline(made.won(cost=Cost(0, 8e6)), CEILINGS)
    assert "27.6 GB/s" in svg  # 8 MB in 290 µs
    assert "FLOP" not in svg


@pytest.mark.parametrize("missing", ["the task's cost", "the machine's peaks", "a measurement"])
def test_roofline_says_what_is_missing(missing: str) -> None:
    outcome = made.won()
    if missing == "the task's cost":
        outcome = replace(outcome, cost=None)
    if missing == "a measurement":
        outcome = replace(outcome, measurement=None)
    svg = svg_roofline(outcome, None if missing == "the machine's peaks" else CEILINGS)
    assert missing in svg.replace("&#x27;", "'")


def test_curve_only_rises() -> None:
    curve = best_over_time(made.won().candidates)
    assert [t for t, _ in curve] == [0.9, 4.1, 5.6, 8.2]
    assert curve == sorted(curve, key=lambda p: p[1])
    ET.fromstring(svg_curve(made.won()))
    assert "from the archive" in svg_curve(made.won(candidates=(), from_archive=True))


def test_a_second_timing_is_no_second_discovery() -> None:
    outcome = made.won()
    again = replace(outcome.candidates[4], measurement=made.measurement(2e-4), seconds=99.0)
    curve = best_over_time((*outcome.candidates, again))
    assert curve[-1] == (8.2, pytest.approx(4.0))


def test_scales_meet_their_ends() -> None:
    for scale in (Scale(1, 100, 10, 20), Scale(1, 100, 10, 20, log=True), Scale(1, 100, 20, 10)):
        assert scale(1) == scale.start
        assert scale(100) == scale.stop
        assert scale(1e9) == scale.stop
    assert Scale(1, 100, 0, 2, log=True)(10) == pytest.approx(1)


def test_ticks() -> None:
    assert linear_ticks(0, 3, 6) == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert log_ticks(1, 10) == [1, 2, 5, 10]
    assert log_ticks(1, 1e4) == [1, 10, 100, 1000, 10000]


def test_labels_keep_apart_in_order() -> None:
    placed = spread([50, 52, 51, 200], 20, 0, 300)
    assert sorted(placed) == [placed[0], placed[2], placed[1], placed[3]]
    gaps = [b - a for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False)]
    assert min(gaps) >= 20
    assert max(spread([95, 96], 20, 0, 100)) <= 100


def test_long_names_keep_both_ends() -> None:
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert shorten("abc", 5) == "abc"
