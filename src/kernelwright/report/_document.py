"""The one JSON shape that every command writes, so that whoever reads one can read all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kernelwright.report._record import Record, record
from kernelwright.report._scores import summary

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome


def to_json(
    outcomes: Sequence[Outcome | Record], machine: Mapping[str, Any], versions: Mapping[str, Any]
) -> dict[str, Any]:
    """The document {"machine", "versions", "tasks", "summary"} of some outcomes (or records already made of them)."""
    records = [o if isinstance(o, Record) else record(o) for o in outcomes]
    return {
        "machine": plain(machine),
        "versions": plain(versions),
        "tasks": [plain(r.to_dict()) for r in records],
        "summary": plain(summary(records)),
    }


def document_text(document: Mapping[str, Any]) -> str:
    """The document as strict JSON text (no NaN: other languages cannot read it)."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Reduce to what JSON can say: non-finite numbers become null, unknown objects their text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
