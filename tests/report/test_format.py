"""Numbers as people read them."""

import pytest

from kernelwright.report import duration_text, interval_text, percent_text, ratio_text, seconds_text
from kernelwright.report._format import bytes_text, rate_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.2e-5, "12.0 µs"),
        (0.9999e-3, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (2, "2.00 s"),
        (123.4, "123 s"),
        (3e-9, "3.00 ns"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(2.134, "2.13×"), (0.985, "0.98×"), (12.34, "12.3×"), (123.4, "123×"), (None, "–")]
)
def test_ratio_never_claims_more_than_two_decimals(ratio: float | None, text: str) -> None:
    assert ratio_text(ratio) == text


def test_others() -> None:
    assert interval_text((2.1, 2.2)) == "2.10–2.20"
    assert interval_text(None) == ""
    assert percent_text(0.584) == "58 %"
    assert rate_text(2.8e10, "B/s") == "28.0 GB/s"
    assert bytes_text(32 << 10) == "32 KiB"
    assert duration_text(3725) == "1:02:05"
    assert duration_text(65) == "1:05"
