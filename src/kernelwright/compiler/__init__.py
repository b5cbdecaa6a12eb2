"""The compiler proposer: PyTorch to tensor programs (level 1), to schedules (level 2), to C++."""

from ._pipeline import Kernel, Prepared, emit, prepare, prepare_captured, prepare_graph
from .capture import capture
from .identity import identity

__all__ = ["Kernel", "Prepared", "capture", "emit", "identity", "prepare", "prepare_captured", "prepare_graph"]
