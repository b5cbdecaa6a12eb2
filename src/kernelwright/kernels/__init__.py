"""Parametric kernel families: everything of one family lies in one folder, and no family knows another."""

from ._single import SingleProposer

__all__ = ["SingleProposer"]
