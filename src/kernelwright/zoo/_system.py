"""What every system of the zoo says about itself: its source, its claim, its hot operations, its example."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from ..task import Task, from_callable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Item = TypeVar("Item")


class Track(Protocol):
    """Passes items on and shows how far it has come: ``for epoch in track(range(100), "training")``."""

    def __call__(self, items: Iterable[Item], what: str) -> Iterable[Item]: ...


@dataclass(frozen=True)
class Measured:
    """One figure that an example found, beside what the paper (or its card) lets us expect.

    ``holds`` is None where nothing is expected of it.
    """

    name: str
    value: float
    expected: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Result:
    """What an example found, and the picture of it as the paper's figure would look."""

    measured: tuple[Measured, ...]
    picture: Figure


@dataclass(frozen=True)
class HotOperation:
    """Where a system spends its time, as a plain PyTorch function and example arguments: a task for the engine."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], tuple[torch.Tensor, ...]]

    def task(self) -> Task:
        """The task; ``kernelwright generate kernelwright.zoo.<field>.<system>:<function>`` takes the same."""
        return from_callable(self.function, self.arguments(), name=self.name)


@dataclass(frozen=True)
class System:
    """One system: everything that lists, runs and benchmarks the zoo needs to know."""

    name: str  # as in `kernelwright zoo run NAME`
    title: str  # the paper's
    source: str  # "arXiv 1806.07572"
    claim: str  # one sentence: what the system shows
    operations: tuple[HotOperation, ...]
    example: Callable[[Track], Result]  # seconds to a minute on two cores, on data that ships with packages


def plainly(items: Iterable[Item], what: str) -> Iterable[Item]:
    """A :class:`Track` that shows nothing."""
    return items


__all__ = ["HotOperation", "Measured", "Result", "System", "Track", "plainly"]
