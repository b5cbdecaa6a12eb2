"""When, where and with what a result was made: what every file in ``benchmarks/results/`` says of itself."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from typing import Any


def stamp() -> dict[str, Any]:
    """Date, machine and versions. torch is imported here, so limits on threads must be set before."""
    from kernelwright.machine import describe, versions

    return {"date": datetime.date.today().isoformat(), "machine": asdict(describe()), "versions": versions()}
