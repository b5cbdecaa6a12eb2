"""Drawing primitives: a few SVG shapes, scales and ticks; no library, for a report must need no network, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

STYLE = """
.kw{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
--ink:#1c2430;--muted:#667085;--grid:#e4e7ec;--own:#0b7a75;--own-soft:#0b7a7526;--eager:#8a94a6;--compile:#d9822b;
--good:#0b7a75;--bad:#c2413b;--paper:#ffffff}
@media (prefers-color-scheme:dark){.kw{--ink:#e6e9ef;--muted:#98a2b3;--grid:#2d3440;--own:#34c3b5;--own-soft:#34c3b533;
--eager:#8f9bb0;--compile:#f0a45d;--good:#34c3b5;--bad:#f0736c;--paper:#151a21}}
.kw text{fill:var(--ink)} .kw .muted{fill:var(--muted)} .kw .small{font-size:11px} .kw .strong{font-weight:600}
.kw .own{fill:var(--own)} .kw .eager{fill:var(--eager)} .kw .compile{fill:var(--compile)} .kw .bad{fill:var(--bad)}
.kw .good{fill:var(--good)} .kw line,.kw path{fill:none;stroke:var(--muted)} .kw .grid{stroke:var(--grid)}
.kw .one{stroke:var(--muted);stroke-dasharray:4 3} .kw .whisker{stroke:var(--ink);stroke-width:1.5}
.kw .roof{stroke:var(--ink);stroke-width:2} .kw .curve{stroke:var(--own);stroke-width:2}
.kw .lead{stroke:var(--muted);stroke-width:.75} .kw circle{stroke:var(--paper);stroke-width:1.5}
"""


@dataclass
class Canvas:
    """An SVG being drawn, in user units; ``svg()`` is the finished text."""

    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>')

    def path(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """A line through several points."""
        steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path d="M{steps}" class="{css}"/>')

    def rect(self, x: float, y: float, width: float, height: float, css: str, tip: str = "") -> None:
        """A bar with a tooltip."""
        hint = f"<title>{escape(tip)}</title>" if tip else ""
        box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="2"'
        self.parts.append(f'<rect {box} class="{css}">{hint}</rect>')

    def circle(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        """A point with a tooltip."""
        hint = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{css}">{hint}</circle>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start", turn: float = 0) -> None:
        """A line of text; ``anchor`` is start, middle or end; ``turn`` in degrees."""
        spin = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        attributes = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}"{spin}'
        self.parts.append(f"<text {attributes}>{escape(text)}</text>")

    def svg(self, standalone: bool = False) -> str:
        """The whole picture; ``standalone`` adds the style sheet and a background, for use outside a report."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}"'
        style = (
            f'<style>{STYLE}</style><rect width="100%" height="100%" style="fill:var(--paper)"/>' if standalone else ""
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="kw" role="img" {size}><title>{escape(self.title)}</title>'
        )
        return f"{head}{style}{''.join(self.parts)}</svg>"


@dataclass(frozen=True)
class Scale:
    """Values in [lo, hi] to positions in [start, stop], linearly or logarithmically."""

    lo: float
    hi: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        lo, hi, at = self.lo, self.hi, value
        if self.log:
            lo, hi, at = math.log(lo), math.log(hi), math.log(max(value, 1e-300))
        share = (at - lo) / (hi - lo) if hi != lo else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.stop - self.start)


def linear_ticks(lo: float, hi: float, about: int = 5) -> list[float]:
    """Round values that cover [lo, hi] in roughly ``about`` steps."""
    raw = (hi - lo) / max(about, 1)
    if raw <= 0:
        return [lo]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    return [i * step for i in range(first, math.floor(hi / step + 1e-9) + 1)]


def log_ticks(lo: float, hi: float) -> list[float]:
    """Powers of ten inside [lo, hi]; for a narrow range also 2 and 5 times them."""
    factors = (1,) if hi / lo > 300 else (1, 2, 5)
    powers = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
    ticks = [f * 10.0**p for p in powers for f in factors]
    return [t for t in ticks if lo * 0.999 <= t <= hi * 1.001]


def spread(positions: Sequence[float], gap: float, lo: float, hi: float) -> list[float]:
    """Move labels apart so that neighbours are at least ``gap`` away, in their order, inside [lo, hi] if they fit."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = list(positions)
    floor = lo
    for i in order:
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    ceiling = hi
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def shorten(text: str, limit: int) -> str:
    """Cut in the middle: names differ at both ends."""
    if len(text) <= limit:
        return text
    half = (limit - 1) / 2
    return text[: math.ceil(half)] + "…" + text[len(text) - math.floor(half) :]
