"""The whole matrix of prompts: graded cell by cell, as a table for people and a document for programs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._box import Box
from ._grade import LEVELS, Proficiency, grade
from ._models import KERNELS, LANGUAGES, TITLES, Cell
from ._source import Source

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {0.0: "red", 0.25: "dark_orange", 0.5: "yellow", 0.75: "green", 1.0: "bold green"}


@dataclass(frozen=True)
class Row:
    """A programming model and one way to ask for it: its grades by kernel."""

    title: str
    grades: dict[str, Proficiency]

    @property
    def mean(self) -> float | None:
        """Of what could be graded."""
        scores = [g.score for g in self.grades.values() if g.score is not None]
        return statistics.fmean(scores) if scores else None


def run_matrix(
    source: Source, cells: Sequence[Cell], box: Box, progress: Callable[[Proficiency], None] = lambda graded: None
) -> list[Proficiency]:
    """Grade whatever the source has to say to these prompts. Raises ``WallsMissing``."""
    graded = []
    for cell in cells:
        said = source.suggestions(cell)
        if said is not None:
            graded.append(grade(said, cell, box))
            progress(graded[-1])
    return graded


def rows(graded: Sequence[Proficiency]) -> list[Row]:
    """The matrix, in the order of the grades."""
    found: dict[str, dict[str, Proficiency]] = {}
    for one in graded:
        word = LANGUAGES[one.cell.model.language].keyword if one.cell.keyword else ""
        title = one.cell.model.title + (f" + {word}" if word else "")
        found.setdefault(title, {})[one.cell.kernel] = one
    return [Row(title, grades) for title, grades in found.items()]


def means(matrix: Sequence[Row]) -> dict[str, float]:
    """Of each kernel that was graded at all."""
    scores = {kernel: [row.grades[kernel].score for row in matrix if kernel in row.grades] for kernel in KERNELS}
    graded = {kernel: [s for s in each if s is not None] for kernel, each in scores.items()}
    return {kernel: statistics.fmean(each) for kernel, each in graded.items() if each}


def table(graded: Sequence[Proficiency], name: str) -> Table:
    """The matrix for a terminal."""
    from rich.table import Table
    from rich.text import Text

    matrix, shown = rows(graded), Table(title=f"Proficiency of {name}", header_style="bold")
    shown.add_column("")
    for kernel in KERNELS:
        shown.add_column(TITLES[kernel], justify="right")
    shown.add_column("mean", justify="right")
    for row in matrix:
        cells = [_cell_text(row.grades.get(kernel)) for kernel in KERNELS]
        styled = [Text(text, style=STYLES.get(score, "dim") if score is not None else "dim") for text, score in cells]
        shown.add_row(row.title, *styled, score_text(row.mean))
    averages = means(matrix)
    shown.add_section()
    shown.add_row("mean", *(score_text(averages.get(kernel)) for kernel in KERNELS), "")
    return shown


def to_json(graded: Sequence[Proficiency], name: str) -> dict[str, Any]:
    """The document: every grade with its suggestions, means by kernel and by model."""
    from ...machine import versions

    matrix = rows(graded)
    return {
        "benchmark": "hpc-proficiency",
        "source": name,
        "versions": versions(),
        "levels": {str(score): level for score, level in LEVELS.items()},
        "cells": [one.to_json() for one in graded],
        "means": {"kernels": means(matrix), "models": {row.title: row.mean for row in matrix}},
    }


def notes(graded: Sequence[Proficiency]) -> Iterator[str]:
    """What a reader of the table must know, each sentence once."""
    found: dict[str, list[str]] = {}
    for one in graded:
        if one.note:
            titles = found.setdefault(one.note, [])
            if one.cell.model.title not in titles:
                titles.append(one.cell.model.title)
    for note, titles in found.items():
        yield f"{', '.join(titles)}: {note}."


def score_text(score: float | None) -> str:
    """As tables show it."""
    return "–" if score is None else f"{score:.2f}"


def _cell_text(grade: Proficiency | None) -> tuple[str, float | None]:
    return ("", None) if grade is None else (score_text(grade.score), grade.score)


__all__ = ["Row", "means", "notes", "rows", "run_matrix", "score_text", "table", "to_json"]
