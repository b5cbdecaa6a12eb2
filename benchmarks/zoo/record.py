"""How a benchmark of the zoo ends: its table on the terminal, its result file, its picture for the documentation.

A benchmark is a script ``benchmarks/zoo/<system>.py`` that calls :func:`record` once, at its end::

    from record import record

    record("ntk", measured, picture=figure, seconds={"gram": 1.2})
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "src" / "kernelwright" / "zoo" / "figures.json"
sys.path.insert(0, str(ROOT / "benchmarks"))

from stamp import stamp  # noqa: E402

from kernelwright.zoo import Measured  # noqa: E402
from kernelwright.zoo.common import save  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def record(name: str, measured: Sequence[Measured], *, picture: Figure | None = None, **detail: Any) -> Path:
    """Print the table, write ``benchmarks/results/zoo-<name>.json`` and ``docs/zoo/<name>.svg``; return the former.

    ``figures.json`` of the package, which ``kernelwright zoo`` shows, follows from all results and is written anew.

    ``detail`` is whatever else readers may want to see: curves, times, comparisons with peers; tensors and arrays
    become lists, values that are not finite become null. A benchmark fails (SystemExit) where an expectation does not
    hold, after everything is written.
    """
    _show(name, measured)
    rows = [_plain(asdict(m)) for m in measured]
    document = {**stamp(), "system": name, "measured": rows, **{key: _plain(value) for key, value in detail.items()}}
    path = RESULTS / f"zoo-{name}.json"
    path.write_text(_text(document), encoding="utf-8")
    publish()
    if picture is not None:
        folder = ROOT / "docs" / "zoo"
        folder.mkdir(exist_ok=True)
        save(picture, folder / f"{name}.svg")
    failed = [m.name for m in measured if m.holds is False]
    if failed:
        raise SystemExit(f"{name}: not as expected: {', '.join(failed)}.")
    return path


def publish() -> None:
    """Write what ``kernelwright zoo`` shows, ``src/kernelwright/zoo/figures.json``, from all results."""
    results = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("zoo-*.json")))
    FIGURES.write_text(_text({result["system"]: result["measured"] for result in results}), encoding="utf-8")


def _show(name: str, measured: Sequence[Measured]) -> None:
    marks = {None: " ", True: "✓", False: "✗"}
    width = max((len(m.name) for m in measured), default=0)
    print(name)
    for m in measured:
        print(f"  {marks[m.holds]} {m.name:{width}}  {m.value:<12.6g} {m.expected}".rstrip())


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if hasattr(value, "tolist"):  # tensors, arrays and their scalars
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
