"""What was proved of a candidate's indices, as a line of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def proof_text(indices: Mapping[str, Any]) -> str:
    """A recorded proof in words; ``indices`` is what :meth:`Archive.record_proof` took."""
    if indices["proved"]:
        once = ", each element once" if indices["once"] else ""
        return f"indices proved: inside, without races, outputs covered{once}"
    kernels = indices["kernels"]
    done = sum(bool(kernel["proved"]) for kernel in kernels)
    why = next((kernel["why_not"] for kernel in kernels if not kernel["proved"]), indices["why_not"])
    return f"indices not proved: {why}" + (f" ({done} of {len(kernels)} kernels are)" if kernels else "")


__all__ = ["proof_text"]
