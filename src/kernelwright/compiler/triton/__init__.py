"""The Triton code generator: the same tensor programs as tile programs, printed as readable Python."""

from ._code import TritonCode

__all__ = ["TritonCode"]
