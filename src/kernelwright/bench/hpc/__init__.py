"""The proficiency benchmark: six kernels, asked for in many programming models, graded by building and running them."""

from ._box import Box, lacking
from ._grade import LEVELS, Outcome, Proficiency, Suggestion, grade, score
from ._models import KERNELS, LANGUAGES, MODELS, Cell, Language, Model, cells, prompt

__all__ = [
    "KERNELS",
    "LANGUAGES",
    "LEVELS",
    "MODELS",
    "Box",
    "Cell",
    "Language",
    "Model",
    "Outcome",
    "Proficiency",
    "Suggestion",
    "cells",
    "grade",
    "lacking",
    "prompt",
    "score",
]
