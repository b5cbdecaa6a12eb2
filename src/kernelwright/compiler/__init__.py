"""The compiler proposer: PyTorch to tensor programs (level 1), to schedules (level 2), to C++."""

from ._pipeline import Kernel, Prepared, emit, prepare, prepare_graph

__all__ = ["Kernel", "Prepared", "emit", "prepare", "prepare_graph"]
