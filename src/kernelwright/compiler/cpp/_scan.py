"""Prints scans."""
from __future__ import annotations

from ._nest import Context, Text
from ._stages import Stage


def emit_scan(context: Context, stage: Stage, lane: str | None, text: Text) -> None:
    raise NotImplementedError
