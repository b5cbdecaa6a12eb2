"""The command line: what a person touches."""

from kernelwright.cli._main import app, main, run

__all__ = ["app", "main", "run"]
