"""Rewards over a Ray cluster: programs go to workers that each have a box; a worker that dies loses no program."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ...errors import ModelMissing
from ._box import Box
from ._reward import CombinedReward, ExecutionReward, RewardTask
from ._rules import TritonRules

_ATTEMPTS = 5  # deaths of workers that a batch survives before it is given up


class Spread:
    """Scores programs on ``workers`` actors of a Ray cluster. A context manager.

    ``address`` joins a cluster that runs ("auto", or host:port); None starts a local one. Raises ``ModelMissing``
    where Ray is not installed.
    """

    def __init__(self, tasks: Sequence[RewardTask], workers: int = 2, *, address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise ModelMissing("Spreading rewards needs Ray: pip install 'kernelwright[distributed]'.") from None
        self._ray, self._tasks = ray, tuple(tasks)
        self._began = not ray.is_initialized()
        if self._began:
            local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
            ray.init(address=address, log_to_driver=False, **local)
        self._actors = [self._actor() for _ in range(workers)]

    def __enter__(self) -> Spread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._began:
            self._ray.shutdown()

    @property
    def processes(self) -> list[int]:
        """The operating system's numbers of the workers, on their machines."""
        found: list[int] = self._ray.get([actor.process.remote() for actor in self._actors])
        return found

    def score(self, items: Sequence[tuple[str, str]], *, rules: bool = True) -> list[float]:
        """Rewards of (task's name, program), in order. What a dead worker had not answered is given to another."""
        found: dict[int, float] = {}
        left, deaths = list(range(len(items))), 0
        running: dict[Any, tuple[int, int]] = {}
        idle = list(range(len(self._actors)))
        while len(found) < len(items):
            while idle and left:
                place, number = idle.pop(), left.pop(0)
                running[self._actors[place].score.remote(*items[number], rules)] = (place, number)
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            place, number = running.pop(done)
            try:
                found[number] = float(self._ray.get(done))
            except self._ray.exceptions.RayActorError:
                deaths += 1
                if deaths > _ATTEMPTS:
                    raise
                left.insert(0, number)
                self._actors[place] = self._actor()
            idle.append(place)
        return [found[number] for number in range(len(items))]

    def _actor(self) -> Any:
        return self._ray.remote(num_cpus=1)(_Scorer).remote(self._tasks)


class _Scorer:
    """One worker: a box, and the rewards of all tasks."""

    def __init__(self, tasks: Sequence[RewardTask]) -> None:
        self._box = Box()
        self._rewards = {task.name: ExecutionReward(task, box=self._box) for task in tasks}

    def process(self) -> int:
        import os

        return os.getpid()

    def score(self, name: str, source: str, rules: bool) -> float:
        return CombinedReward(self._rewards[name], TritonRules() if rules else None)(source).reward


__all__ = ["Spread"]
