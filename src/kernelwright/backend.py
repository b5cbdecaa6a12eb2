"""``torch.compile(model, backend="kernelwright")``, for inference and training.

Dynamo hands over a graph, AOTAutograd splits it into forward and backward graphs of ATen operations; each graph is a
task like any other: generated, judged in a worker, measured against the graph as it stands, archived, served. A graph
whose kernel is not accepted, or not faster, runs as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func
from torch.fx.experimental.proxy_tensor import make_fx

from .archive import Archive
from .errors import KernelwrightError
from .search import generate_task
from .search._kernel import Kernel
from .task import from_callable

log = logging.getLogger("kernelwright")

OPTIONS = {"effort": "quick", "budget": 30.0}


def kernelwright(module: torch.fx.GraphModule, example_inputs: Sequence[Any], **settings: Any) -> Callable[..., Any]:
    """The backend that ``torch.compile`` finds under the name "kernelwright".

    ``options={"effort": ..., "budget": ...}`` are those of ``kernelwright.generate``, for each graph.
    """
    options = {**OPTIONS, **(settings.get("options") or {})}
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise KernelwrightError(f"Option {unknown[0]!r} does not exist: choose among {', '.join(OPTIONS)}.")

    def compiler(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        return make_boxed_func(_Served(graph, options))

    return aot_autograd(fw_compiler=compiler, bw_compiler=compiler, inference_compiler=compiler)(  # type: ignore[no-any-return]
        module, list(example_inputs)
    )


class _Served:
    """One graph. The kernel for a set of sizes is made at the first call with them, on the real inputs."""

    def __init__(self, graph: torch.fx.GraphModule, options: dict[str, Any]) -> None:
        self._graph = graph
        self._options = options
        self._kernels: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *inputs: Any) -> Any:
        key = tuple(tuple(i.shape) if isinstance(i, torch.Tensor) else i for i in inputs)
        run = self._kernels.get(key)
        if run is None:
            run = self._kernels[key] = self._make(inputs)
        return run(*inputs)

    def _make(self, inputs: tuple[Any, ...]) -> Callable[..., Any]:
        start = time.perf_counter()
        try:
            with torch.no_grad(), Archive() as archive:
                # Dynamo marks sizes symbolic once they vary; this kernel is for these sizes alone.
                static = make_fx(self._graph, tracing_mode="fake")(*inputs)
                task = from_callable(static, inputs, name=f"graph of {len(static.graph.nodes)} operations")
                outcome = generate_task(task, archive=archive, **self._options)
                kernel = Kernel(outcome, static, {})
        except KernelwrightError as error:
            log.warning("A graph runs as it is: %s", error)
            return self._graph
        log.info("%s (%.1f s)", kernel.explain(), time.perf_counter() - start)
        return kernel
