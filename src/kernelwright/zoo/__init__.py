"""The zoo: systems from papers, built as a library on the engine's winners (docs/zoo/)."""

from ._registry import fields, system, systems
from ._system import HotOperation, Measured, Result, System, Track, plainly

__all__ = ["HotOperation", "Measured", "Result", "System", "Track", "fields", "plainly", "system", "systems"]
