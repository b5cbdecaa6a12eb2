"""The proficiency benchmark: six kernels, asked for in many programming models, graded by building and running them.

Names are resolved when they are first used: asking for help needs neither torch nor a compiler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._box import Box, lacking
    from ._generator import Generator, generated
    from ._grade import LEVELS, Outcome, Proficiency, Suggestion, grade, score
    from ._matrix import notes, run_matrix, table, to_json
    from ._models import KERNELS, LANGUAGES, MODELS, MOST, Cell, Language, Model, cells, prompt
    from ._picture import heat_map, page
    from ._source import Asked, Folder, Source

_HOME = {
    **dict.fromkeys(("Box", "lacking"), "_box"),
    **dict.fromkeys(("Generator", "generated"), "_generator"),
    **dict.fromkeys(("LEVELS", "Outcome", "Proficiency", "Suggestion", "grade", "score"), "_grade"),
    **dict.fromkeys(("notes", "run_matrix", "table", "to_json"), "_matrix"),
    **dict.fromkeys(("KERNELS", "LANGUAGES", "MODELS", "MOST", "Cell", "Language", "Model"), "_models"),
    **dict.fromkeys(("cells", "prompt"), "_models"),
    **dict.fromkeys(("heat_map", "page"), "_picture"),
    **dict.fromkeys(("Asked", "Folder", "Source"), "_source"),
}

__all__ = [
    "KERNELS",
    "LANGUAGES",
    "LEVELS",
    "MODELS",
    "MOST",
    "Asked",
    "Box",
    "Cell",
    "Folder",
    "Generator",
    "Language",
    "Model",
    "Outcome",
    "Proficiency",
    "Source",
    "Suggestion",
    "cells",
    "generated",
    "grade",
    "heat_map",
    "lacking",
    "notes",
    "page",
    "prompt",
    "run_matrix",
    "score",
    "table",
    "to_json",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
