"""Numbers as people read them: one place, so that the terminal, the report and the pictures agree."""

from __future__ import annotations

import math


def seconds_text(seconds: float | None) -> str:
    """A duration with three significant digits and a fitting unit: ``seconds_text(1.2e-5) == "12.0 µs"``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= scale * 0.9995:
            return f"{_three(seconds / scale)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def ratio_text(ratio: float | None) -> str:
    """A speed-up: ``ratio_text(2.134) == "2.13×"``; never more than two decimals, a timing does not hold more."""
    return "–" if ratio is None or not math.isfinite(ratio) else f"{_two(ratio)}×"


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval of a ratio: ``interval_text((2.1, 2.2)) == "2.10–2.20"``."""
    return "" if interval is None else f"{_two(interval[0])}–{_two(interval[1])}"


def percent_text(fraction: float | None) -> str:
    """A fraction of a bound in per cent."""
    return "–" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.0f} %"


def rate_text(value: float, unit: str) -> str:
    """A rate with an SI prefix: ``rate_text(2.8e10, "B/s") == "28.0 GB/s"``."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{_three(value / scale)} {prefix}{unit}"
    return f"{_three(value)} {unit}"


def bytes_text(value: float) -> str:
    """A size in binary units: ``bytes_text(1 << 20) == "1 MiB"``."""
    for prefix, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}"
    return f"{value:.0f} B"


def duration_text(seconds: float) -> str:
    """A waiting time: ``duration_text(3725) == "1:02:05"``."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _two(value: float) -> str:
    """At most two decimals, at least three digits."""
    return f"{value:.2f}" if abs(value) < 9.995 else _three(value)


def _three(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0:
        return "0"
    value = float(f"{value:.3g}")  # rounded first: 0.9999 has its three digits as 1.00
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
