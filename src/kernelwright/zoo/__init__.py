"""The zoo: systems from papers, built as a library on the engine's winners (docs/zoo/)."""

from ._registry import fields, figures, system, systems
from ._system import HotOperation, Measured, Result, System, Track, plainly

__all__ = [
    "HotOperation",
    "Measured",
    "Result",
    "System",
    "Track",
    "fields",
    "figures",
    "plainly",
    "system",
    "systems",
]
