"""Count, shapes, dtypes, layout and structure of what a candidate returned: all that can be wrong but the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._arena import Slot
from ._protocol import Message
from ._truth import Truth


def check_form(truth: Truth, run: Message, slots: Sequence[Slot]) -> Message | None:
    """Count, shapes, dtypes, layout and structure of what was returned."""
    want = truth.eager.tensors[: truth.returned]
    have = [(tuple(t["shape"]), str(t["dtype"])) for t in run["tensors"]]
    if len(have) != len(want):
        return {"category": "shape", "detail": f"it returns {len(have)} tensors instead of {len(want)}"}
    for k, ((shape, dtype), tensor) in enumerate(zip(have, want, strict=True)):
        title = truth.title(k)
        if shape != tuple(tensor.shape):
            return {"category": "shape", "detail": f"{title} has shape {shape} instead of {tuple(tensor.shape)}"}
        if dtype != str(tensor.dtype).removeprefix("torch."):
            return {"category": "dtype", "detail": f"{title} is {dtype} instead of {str(tensor.dtype)[6:]}"}
        layout = k < truth.returned - len(truth.gradients)  # of a gradient nobody sees: it is added to another
        if layout and tensor.is_contiguous() and not run["tensors"][k]["contiguous"]:
            return {"category": "shape", "detail": f"output {k} is not contiguous as the reference's is"}
    if run["tree"] != truth.eager.tree:
        return {"category": "shape", "detail": f"it returns {run['tree']} instead of {truth.eager.tree}"}
    for mine, its in zip(truth.eager.others, run["others"], strict=False):
        if not _same_value(mine, its):
            return {"category": "value", "detail": f"it returns {its!r} where the reference returns {mine!r}"}
    if len(slots) != len(want):
        return {"category": "shape", "detail": "it returns outputs that do not fit"}
    return None


def _same_value(mine: Any, its: Any) -> bool:
    if isinstance(mine, float) and isinstance(its, float | int):
        return abs(mine - its) <= 1e-5 * abs(mine) or (mine != mine and its != its)
    return not isinstance(mine, bool | int | str | None) or bool(mine == its)
