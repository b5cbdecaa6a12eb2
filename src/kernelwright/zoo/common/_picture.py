"""One look for all pictures of the zoo, in the colours of the reports; SVG files turn dark where the reader's page is.

No pyplot: a picture belongs to whoever asked for it, and nothing here needs a display.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ZooInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1c2430", "#667085", "#e4e7ec", "#ffffff"
# Own result, rival, then others; in pairs that stay apart for readers who see few colours.
COLOURS = ("#0b7a75", "#d9822b", "#4763c9", "#b0409a", "#8a94a6", "#6b8e23")

# What a light colour becomes on a dark page. Colours of matplotlib's maps stay as they are.
_DARK = {
    INK: "#e6e9ef", MUTED: "#98a2b3", GRID: "#2d3440", PAPER: "#151a21",
    "#0b7a75": "#34c3b5", "#d9822b": "#f0a45d", "#4763c9": "#8ea3f5", "#b0409a": "#e08bd0", "#8a94a6": "#8f9bb0",
    "#6b8e23": "#a9cc5c", "#000000": "#e6e9ef",
}  # fmt: skip


def _look() -> Any:
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=COLOURS), "axes.facecolor": "none", "axes.edgecolor": MUTED,
        "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.labelsize": 10, "axes.grid": True, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": GRID, "grid.linewidth": 0.8,
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
        "xtick.labelsize": 9, "ytick.labelsize": 9, "text.color": INK, "font.size": 10,
        "figure.facecolor": PAPER,
    }  # fmt: skip


def axes(rows: int = 1, columns: int = 1, *, width: float = 4.6, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure with ``rows`` × ``columns`` axes in the house style, row by row; sizes in inches each.

    >>> figure, (left, right) = axes(1, 2)
    >>> _ = left.plot([0, 1], [0, 1])
    """
    if rows < 1 or columns < 1:
        raise ZooInvalid(f"rows and columns are {rows} and {columns}; they must be at least 1.")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_look()):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    return figure, list(grid.flat)


def legend(at: Axes, **options: Any) -> None:
    """A legend without a frame; ``options`` are those of matplotlib's."""
    at.legend(**{"frameon": False, "labelcolor": INK, "fontsize": 9, **options})


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure to ``path``, whose ending is ``.svg`` or ``.png``; the same figure is always the same file.

    An SVG file takes dark colours where the page it is shown on is dark. Raises :class:`ZooInvalid`.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise ZooInvalid(f"path is {str(path)!r}; its ending must be .svg or .png.")
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kernelwright", "font.family": "DejaVu Sans"}):
        try:
            if path.suffix == ".png":
                figure.savefig(path, dpi=160, metadata={"Software": None})
            else:
                text = StringIO()
                figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
                path.write_text(_with_dark(text.getvalue()), encoding="utf-8")
        except OSError as error:
            raise ZooInvalid(f"The picture {str(path)!r} cannot be written: {error.strerror}.") from error
    return path


def _with_dark(svg: str) -> str:
    """Add the dark colours; viewers that know no such style sheets show the light ones, which stay in the elements."""
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    )
    font = 'text{font-family:system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif!important}'
    black = f"svg{{fill:{_DARK[INK]}}}"  # matplotlib leaves out what is black already, as text that nobody coloured
    style = f"<style>{font}@media (prefers-color-scheme:dark){{{black}{rules}}}</style>"
    body = "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
    return body.replace("<defs>", f"{style}\n <defs>", 1)


__all__ = ["COLOURS", "GRID", "INK", "MUTED", "PAPER", "axes", "legend", "save"]
