"""Splits."""
from __future__ import annotations

from ._code import KernelCode
from ._normal import Normal


def splittable(normal: Normal) -> bool:
    return False


def emit_split(normal: Normal, name: str, vectors: int) -> KernelCode:
    raise NotImplementedError
