"""Serves one graph of AOTAutograd: finds a kernel at the first call with each set of sizes, and calls it afterwards."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..archive import Archive
from ..errors import KernelwrightError, OutsideDomain
from ..search import Outcome
from ..targets import load
from ._device import target_of
from ._find import find
from ._graph import Argument, Core, Plain, View, split

log = logging.getLogger("kernelwright")

Run = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Options:
    """``effort`` and ``budget`` (seconds) are for each graph; ``sizes``: sets of sizes a graph is specialised for.

    ``target``: by default that of the device on which the graph's tensors lie.
    """

    effort: str = "quick"
    budget: float = 30.0
    sizes: int = 8
    archive: Path | None = None
    target: str | None = None


class Served:
    """One graph, called with a list of inputs, which it empties (AOTAutograd's boxed convention)."""

    def __init__(self, graph: torch.fx.GraphModule, name: str, backward: bool, options: Options) -> None:
        self._graph, self._name, self._backward, self._options = graph, name, backward, options
        nodes = [n for n in graph.graph.nodes if n.op == "placeholder"]
        self._varying = tuple(k for k, n in enumerate(nodes) if _varies(n.meta.get("val")))
        self._runs: dict[tuple[Any, ...], Run] = {}
        self._making = threading.Lock()
        self._told = False
        self._boxed_call = True  # on the object: Dynamo's wrappers copy what they find in its __dict__

    def __call__(self, inputs: list[Any]) -> Any:
        key = tuple([_size(inputs[k]) for k in self._varying]) if self._varying else ()
        run = self._runs.get(key)
        if run is None:
            run = self._first(key, inputs)
        return run(inputs)

    def _first(self, key: tuple[Any, ...], inputs: list[Any]) -> Run:
        if not self._making.acquire(blocking=False):  # another thread is at it
            return self._as_it_is
        try:
            if key not in self._runs:
                if len(self._runs) >= self._options.sizes:
                    self._tell(f"it met more than {self._options.sizes} sets of sizes")
                    return self._as_it_is
                self._runs[key] = self._make(inputs)
            return self._runs[key]
        finally:
            self._making.release()

    def _make(self, inputs: list[Any]) -> Run:
        start = time.perf_counter()
        try:
            target = target_of(inputs, self._options.target)
            core = split(self._graph, inputs)
            if not core.outputs:
                return self._as_it_is
            feeds = [_feed(feed, inputs).detach() for feed in core.feeds]
            name = f"{self._name} of {len(core.graph.graph.nodes)} operations"
            options = self._options
            with torch.no_grad(), Archive(options.archive) as store:
                outcome = find(
                    core,
                    feeds,
                    name,
                    backward=self._backward,
                    effort=options.effort,
                    budget=options.budget,
                    store=store,
                    target=target,
                )
        except KernelwrightError as error:
            self._tell(str(error))
            return self._as_it_is
        except Exception as error:  # the border to torch: a fault of ours must not end somebody's training
            self._tell(f"kernelwright itself failed with {type(error).__name__}: {error}")
            log.debug("The fault in full:", exc_info=True)
            return self._as_it_is
        seconds = time.perf_counter() - start
        log.info("%s (%.1f s)", _explain(outcome), seconds)
        if outcome.winner is None or outcome.winner.target == "eager":
            return self._as_it_is
        return self._bind(core, load(outcome.winner, core.graph, {}))

    def _as_it_is(self, inputs: list[Any]) -> Any:
        given = list(inputs)
        inputs.clear()
        return self._graph(*given)

    def _bind(self, core: Core, kernel: Callable[..., Any]) -> Run:
        places = tuple(f.position for f in core.feeds if isinstance(f, Argument))
        draws = tuple(f.call for f in core.feeds if not isinstance(f, Argument))  # the last inputs, in order
        results, graph = core.results, core.graph

        def run(inputs: list[Any]) -> Any:
            args = [inputs[place] for place in places]
            if draws:
                args += [draw() for draw in draws]
            with torch.no_grad():
                try:
                    made = kernel(*args)
                except OutsideDomain as error:
                    self._tell(str(error))
                    made = graph(*args)
                out = [_take(result, made, inputs) for result in results]
            inputs.clear()
            return out

        return run

    def _tell(self, reason: str) -> None:
        """One line for each graph, not one for each call."""
        if not self._told:
            self._told = True
            log.warning("A %s runs as it is: %s", self._name, reason.rstrip(".") + ".")


def _take(result: View | Plain, made: Sequence[torch.Tensor], inputs: Sequence[Any]) -> Any:
    if isinstance(result, Plain):
        return result.value
    base: torch.Tensor = inputs[result.index] if result.of_input else made[result.index]
    if result.shape is None:
        return base
    return base.as_strided(result.shape, result.strides, base.storage_offset() + result.offset)


def _feed(feed: Any, inputs: Sequence[Any]) -> torch.Tensor:
    if isinstance(feed, Argument):
        found: torch.Tensor = inputs[feed.position]
        return found
    places = {given.device.index for given in inputs if isinstance(given, torch.Tensor) and given.is_cuda}
    with torch.random.fork_rng(devices=sorted(places)):  # the search must not move the user's random stream
        drawn: torch.Tensor = feed.call()
    return drawn


def _varies(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return any(not isinstance(s, int) for s in value.shape)
    return not isinstance(value, torch.Tensor)


def _size(given: Any) -> Any:
    return tuple(given.shape) if isinstance(given, torch.Tensor) else given


def _explain(outcome: Outcome) -> str:
    assert outcome.winner is not None
    lines = [f"{outcome.task.name}: {outcome.status}, {outcome.winner.label} is served"]
    if outcome.reason:
        lines.append(outcome.reason)
    if outcome.measurement:
        lines += [f"{ratio.median:.2f}x {rival}" for rival, ratio in outcome.measurement.speedup.items()]
    if outcome.winner.notes:
        lines.append("ATen calls: " + ", ".join(outcome.winner.notes))
    return "; ".join(line.rstrip(".") for line in lines)


__all__ = ["Options", "Served"]
