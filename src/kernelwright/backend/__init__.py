"""``torch.compile(model, backend="kernelwright")``, for inference and training.

Dynamo hands over a graph, AOTAutograd splits it into forward and backward graphs of ATen operations; each graph is a
task like any other: generated, judged in a worker, measured against the graph as it stands, archived, served. A graph
whose kernel is not accepted, or not faster, runs as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd

from ..errors import OptionInvalid
from ..search import EFFORTS
from ._serve import Options, Served

TARGETS = ("cpu", "triton")


def kernelwright(module: torch.fx.GraphModule, example_inputs: Sequence[Any], **settings: Any) -> Callable[..., Any]:
    """The backend that ``torch.compile`` finds under the name "kernelwright".

    ``options``: ``effort`` ("quick", "balanced", "full") and ``budget`` (seconds), for each graph; ``sizes``, how many
    sets of sizes a graph is specialised for before it runs as it is; ``archive``, the path of one (by default the
    user's own); ``target``, "cpu" or "triton", by default as the graph's tensors lie. Raises
    :class:`~kernelwright.errors.OptionInvalid`.

    >>> import torch
    >>> double = torch.compile(lambda x: torch.relu(x) * 2, backend="kernelwright", options={"effort": "quick"})
    >>> double(torch.ones(3))
    tensor([2., 2., 2.])
    """
    options = read_options(settings)

    def compiler(name: str, backward: bool = False) -> Callable[..., Any]:
        return lambda graph, inputs: Served(graph, name, backward, options)

    compiled: Callable[..., Any] = aot_autograd(
        fw_compiler=compiler("forward graph"),
        bw_compiler=compiler("backward graph", backward=True),
        inference_compiler=compiler("graph"),
    )(module, list(example_inputs))
    return compiled


def read_options(settings: dict[str, Any]) -> Options:
    """The options given to ``torch.compile``, checked."""
    given = dict(settings.get("options") or {})
    mode = settings.get("mode")
    if mode not in (None, "default"):
        raise OptionInvalid(f"mode is {mode!r}, which is Inductor's; use options={{'effort': ...}} instead.")
    known = [field.name for field in fields(Options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise OptionInvalid(f"Option {unknown[0]!r} does not exist: choose among {', '.join(known)}.")
    if given.get("effort", "quick") not in EFFORTS:
        raise OptionInvalid(f"effort is {given['effort']!r}: choose one of {', '.join(EFFORTS)}.")
    budget = given.get("budget", 1.0)
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0:
        raise OptionInvalid(f"budget is {budget!r}; it must be a positive number of seconds.")
    sizes = given.get("sizes", 1)
    if isinstance(sizes, bool) or not isinstance(sizes, int) or sizes < 1:
        raise OptionInvalid(f"sizes is {sizes!r}; it must be a whole number of at least 1.")
    if given.get("target") not in (None, *TARGETS):
        raise OptionInvalid(f"target is {given['target']!r}: choose {' or '.join(TARGETS)}.")
    archive = given.get("archive")
    if archive is not None and not isinstance(archive, str | Path):
        raise OptionInvalid(f"archive is {archive!r}; it must be the path of one.")
    return Options(**{**given, "archive": Path(archive) if archive is not None else None})


__all__ = ["Options", "kernelwright", "read_options"]
