"""Pictures: one look, the same file for the same figure, dark colours beside the light ones."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import COLOURS, PAPER, axes, legend, save


def _drawn() -> mpl.figure.Figure:
    figure, (at, _) = axes(1, 2)
    for slope in range(len(COLOURS)):
        at.plot([0, 1], [0, slope], label=f"slope {slope}")
    at.set_xlabel("$h^2$")
    legend(at, loc="upper left")
    return figure


def test_the_same_figure_is_the_same_file_that_turns_dark(tmp_path: Path) -> None:
    one, two = (save(_drawn(), tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert one == two
    ElementTree.fromstring(one)
    assert "prefers-color-scheme:dark" in one
    for colour in (*COLOURS, PAPER):
        assert f": {colour}" in one.split("</style>", 1)[1], "a colour that the dark rules look for"
        assert f'[style*="fill: {colour}"]' in one
    assert "svg{fill:" in one, "text that nobody coloured"
    assert "slope 3</text>" in one, "text stays text"


def test_png_and_what_cannot_be_written(tmp_path: Path) -> None:
    assert save(_drawn(), str(tmp_path / "a.png")).read_bytes().startswith(b"\x89PNG")
    for path in ("a.pdf", "a"):
        with pytest.raises(ZooInvalid, match="ending"):
            save(_drawn(), tmp_path / path)
    with pytest.raises(ZooInvalid, match="cannot be written"):
        save(_drawn(), tmp_path / "nowhere" / "a.svg")


def test_axes_leave_the_users_settings_alone() -> None:
    before = dict(mpl.rcParams)
    figure, all_axes = axes(2, 3)
    assert len(all_axes) == 6
    assert len(figure.axes) == 6
    assert dict(mpl.rcParams) == before
    with pytest.raises(ZooInvalid):
        axes(0)
