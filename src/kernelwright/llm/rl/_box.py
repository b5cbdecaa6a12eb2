"""Where programs run while a model learns: behind the judge's walls, thousands of them, each in a clean process."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ...errors import WallsMissing
from ...judge import Worker, WorkerFault, WorkerLost, explain

if TYPE_CHECKING:
    from torch import Tensor

_MEMORY = 1 << 30
_LATE = 25.0  # seconds for each that a program may compute, after which the server itself is given up


@dataclass(frozen=True)
class Ran:
    """What a program returned for each call; ``failed``: why it did not, going on after "it " ("": it did)."""

    results: tuple[tuple[Tensor, ...], ...] = ()
    seconds: tuple[float, ...] = ()
    failed: str = ""


class Box:
    """Runs programs. A context manager; its process starts with the first program. Linux only.

    ``unsafe`` does without walls where they do not stand; else ``WallsMissing`` is raised there.
    """

    def __init__(self, *, unsafe: bool = False) -> None:
        self.unsafe = unsafe
        self._worker: Worker | None = None
        self._walled = True

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def run(self, source: str, entry: str, calls: Sequence[Sequence[Tensor]], seconds: float) -> Ran:
        """Call ``entry`` of the Python text with each list of tensors; ``seconds`` of computing for all of it
        (and 20 times as much to wait). Never raises for what the program does. Raises ``WallsMissing``."""
        message = {"source": source, "entry": entry, "calls": [[_coded(t) for t in call] for call in calls]}
        try:
            worker = self._ready()
            order = {"op": "run", "seconds": seconds, "walled": self._walled, **message}
            reply, _ = worker.request(order, seconds=_LATE * (seconds + 1))
            if reply.get("spoilt"):  # it left files behind that nobody can remove
                self.close()
            if "failed" in reply:
                return Ran(failed=str(reply["failed"])[:400])
            results = tuple(tuple(_decoded(part) for part in parts) for parts in reply["results"])
            return Ran(results, tuple(float(s) for s in reply["seconds"]))
        except (WorkerLost, WorkerFault) as lost:
            self.close()
            return Ran(failed=getattr(lost, "reason", "") or f"raises {lost}")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RuntimeError):
            return Ran(failed="answered with something that is no result")

    def _ready(self) -> Worker:
        if self._worker is not None and self._worker.alive:
            return self._worker
        self.close()
        worker = self._worker = Worker("kernelwright.llm.rl._inside:serve", _MEMORY, walls=self._walled)
        worker.wait()
        if self._walled and (worker.standing is None or worker.standing.missing):
            self.close()
            if not self.unsafe:
                raise WallsMissing(explain(worker.standing))
            self._walled = False
            return self._ready()
        return worker


def _coded(tensor: Tensor) -> dict[str, Any]:
    import torch

    raw = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"dtype": dtype, "shape": list(tensor.shape), "data": base64.b64encode(raw).decode()}


def _decoded(part: dict[str, Any]) -> Tensor:
    import torch

    dtype, shape = getattr(torch, part["dtype"]), [int(n) for n in part["shape"]]
    if not isinstance(dtype, torch.dtype) or min(shape, default=0) < 0:
        raise ValueError
    data = bytearray(base64.b64decode(part["data"]))
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError
    return (torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)).reshape(shape)


__all__ = ["Box", "Ran"]
