"""The matrix as a heat map, and the page that holds it with what was said of each suggestion."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...report import Canvas
from ._grade import LEVELS, Proficiency
from ._matrix import means, notes, rows, score_text
from ._models import KERNELS, TITLES

_SIDE, _HIGH, _LEFT, _TOP = 88, 26, 220, 34
_SHADES = {0.0: "s0", 0.25: "s1", 0.5: "s2", 0.75: "s3", 1.0: "s4"}
_STYLE = """
.kw .s0{fill:#f1eef6}.kw .s1{fill:#c6dbef}.kw .s2{fill:#74a9cf}.kw .s3{fill:#2b8cbe}.kw .s4{fill:#045a8d}
.kw .none{fill:var(--grid)}.kw text.on{fill:#fff}.kw text.off{fill:#1c2430}
"""
_PAGE_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
body{max-width:1000px;margin:32px auto;padding:0 20px}
h1{font-size:24px;margin:0 0 12px}h2{font-size:16px;margin:24px 0 4px}
svg{max-width:100%;height:auto}table{border-collapse:collapse;width:100%;font-size:13px}
td{padding:3px 12px 3px 0;vertical-align:top;border-bottom:1px solid #8884}
td:first-child{width:18em;overflow-wrap:anywhere}td:nth-child(2){width:4em}
.right{color:#0b7a75}.wrong{color:#c2413b}.other{color:#a15c00}.muted{color:#777}code{font-size:13px}
"""


def heat_map(graded: Sequence[Proficiency], name: str) -> str:
    """An SVG of its own: models down, kernels across, darker is better."""
    matrix = rows(graded)
    width, height = _LEFT + _SIDE * (len(KERNELS) + 1) + 12, _TOP + _HIGH * (len(matrix) + 1) + 58
    canvas = Canvas(width, height, f"Proficiency of {name}")
    canvas.parts.append(f"<style>{_STYLE}</style>")
    for column, kernel in enumerate((*TITLES.values(), "mean")):
        canvas.text(_LEFT + _SIDE * (column + 0.5), _TOP - 10, kernel, "small strong", "middle")
    for line, row in enumerate(matrix):
        y = _TOP + _HIGH * line
        canvas.text(_LEFT - 10, y + 17, row.title, anchor="end")
        for column, kernel in enumerate(KERNELS):
            if kernel in row.grades:
                _cell(canvas, _LEFT + _SIDE * column, y, row.grades[kernel])
        canvas.text(_LEFT + _SIDE * (len(KERNELS) + 0.5), y + 17, score_text(row.mean), "strong", "middle")
    y, averages = _TOP + _HIGH * len(matrix), means(matrix)
    canvas.text(_LEFT - 10, y + 17, "mean", "strong", "end")
    for column, kernel in enumerate(KERNELS):
        canvas.text(_LEFT + _SIDE * (column + 0.5), y + 17, score_text(averages.get(kernel)), "strong", "middle")
    _legend(canvas, y + _HIGH + 14)
    return canvas.svg(standalone=True)


def page(graded: Sequence[Proficiency], name: str) -> str:
    """The heat map, and a table of suggestions for each prompt. Nothing of a suggestion is taken for HTML."""
    said = "".join(f'<p class="muted">{escape(note)}</p>' for note in notes(graded))
    details = "".join(_details(one) for one in graded)
    title = escape(f"Proficiency of {name}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_PAGE_STYLE}</style>'
    body = f"<h1>{title}</h1>{heat_map(graded, name)}{said}{details}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _cell(canvas: Canvas, x: float, y: float, grade: Proficiency) -> None:
    counts: dict[str, int] = {}
    for outcome in grade.outcomes:
        counts[outcome.kind] = counts.get(outcome.kind, 0) + 1
    tip = f"{grade.cell.prompt}: {grade.level}; " + ", ".join(f"{n} {kind}" for kind, n in counts.items())
    canvas.rect(x + 1, y + 1, _SIDE - 2, _HIGH - 2, "none" if grade.score is None else _SHADES[grade.score], tip)
    dark = grade.score is not None and grade.score > 0.5
    canvas.text(
        x + _SIDE / 2,
        y + 17,
        score_text(grade.score),
        "on" if dark else "off" if grade.score is not None else "muted",
        "middle",
    )


def _legend(canvas: Canvas, y: float) -> None:
    x = 12.0
    for score, level in LEVELS.items():
        canvas.rect(x, y, 14, 14, _SHADES[score])
        canvas.text(x + 20, y + 12, f"{score:g} {level}", "small")
        x += 128
    canvas.rect(x, y, 14, 14, "none")
    canvas.text(x + 20, y + 12, "not runnable here", "small")


def _details(one: Proficiency) -> str:
    lines = "".join(
        f'<tr><td>{escape(o.name)}</td><td class="{o.kind}">{o.kind}</td>'
        f"<td>{escape(o.reason or o.signature)}</td></tr>"
        for o in one.outcomes
    )
    head = f"<h2><code>{escape(one.cell.prompt)}</code> {score_text(one.score)} {one.level}</h2>"
    return f"{head}<table>{lines}</table>" if lines else head


__all__ = ["heat_map", "page"]
