"""The candidate's side on a GPU: the same memory laid out on the device, byte by byte, guards and poison included.

What the oracle laid out in shared memory is copied to the device as it is before a call, and back as it is afterwards.
So inputs are as unaligned and strided there as here, and whatever was written where it must not be written shows in the
oracle's own comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..targets import Candidate
from ..task import Task
from ._arena import Arena, Slot, span
from ._candidate import Allocate, CandidateHost, GuardedMemory
from ._protocol import Message
from ._reference import clone_tree


class Mirror(Arena):
    """An arena's bytes in a device's memory, at the same offsets."""

    def __init__(self, arena: Arena, device: str) -> None:
        self.descriptor, self.size, self.host = -1, arena.size, arena
        self.bytes = arena.bytes.to(device, copy=True)

    def take(self) -> None:
        """What the host wrote."""
        self.bytes.copy_(self.host.bytes)

    def give_back(self) -> None:
        """What the device wrote, and what it should not have written."""
        self.host.bytes.copy_(self.bytes)

    def take_one(self, tensor: torch.Tensor) -> None:
        """What the host wrote where this tensor of the mirror lies."""
        start = tensor.data_ptr() - self.bytes.data_ptr()
        end = start + span(tensor.shape, tensor.stride()) * tensor.element_size()
        self.bytes[start:end].copy_(self.host.bytes[start:end])


class DeviceHost(CandidateHost):
    """A :class:`CandidateHost` whose calls happen on a device."""

    interprets = False

    def __init__(self, device: str = "cuda") -> None:
        super().__init__()
        self.device = device
        self.memory = GuardedMemory(device)
        self._inputs: Mirror | None = None
        if device == "cuda":
            from ._device_clock import CudaDevice, DeviceClock

            self.clock = DeviceClock(CudaDevice())

    def open(self, task: Task, state: dict[str, Any], changed: Sequence[str], descriptor: int) -> Message:
        told = super().open(task, state, changed, descriptor)
        self._weights = Mirror(self.state_arena, self.device)
        self.state = {name: self._weights.tensor(Slot.from_json(data)) for name, data in state.items()}
        self.pristine = {name: self.state[name].clone() for name in changed}
        self._settle()
        return told

    def _settle(self) -> None:
        """Code that says nowhere on which device it makes tensors runs with this one as the default."""
        self.bind_own_state()
        args = pytree.tree_map_only(torch.Tensor, lambda t: t.detach().to(self.device), clone_tree(self.template))
        try:
            with torch.no_grad():
                self.reference.call(*args)
        except RuntimeError as error:
            if "device" in str(error) and self.reference.gradients is None:
                self.reference = replace(self.reference, call=_with_default(self.reference.call, self.device))
        finally:
            self.read_state()
            self.wait()

    def wait(self) -> None:
        """For everything on every stream of the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def read_state(self) -> None:
        self._weights.take()
        super().read_state()

    def arguments(self, arena: Arena, slots: Sequence[Slot], others: Sequence[Any]) -> tuple[Any, ...]:
        if self._inputs is None or self._inputs.host is not arena:
            self._inputs = Mirror(arena, self.device)
        return super().arguments(self._inputs, slots, others)

    def bring_to_life(self, candidate: Candidate, allocate: Allocate | None = None) -> Callable[..., Any]:
        made = super().bring_to_life(candidate, allocate)
        if candidate.target == "compile" and self.device == "cuda":
            return stepwise(made, keep=allocate is not None, replays=candidate.schedule != "default")
        return made

    def run(self, case: Message, descriptors: Sequence[int]) -> Message:
        self._inputs = None  # the arena is another one, or holds other values
        with ieee():
            return super().run(case, descriptors)

    def finish(self) -> Message:
        """The cotangents were written after the inputs had been copied."""
        done, mirror = self.held, self._inputs
        assert done is not None
        assert mirror is not None
        for index in set(done.sequence):
            for cotangent in pytree.tree_leaves(done.args[index][-1]):
                if isinstance(cotangent, torch.Tensor) and cotangent.numel():
                    mirror.take_one(cotangent)
        with ieee():
            return super().finish()

    def _describe(self, done: Any) -> Message:
        self.wait()
        if self._inputs is not None:
            self._inputs.give_back()
        self._weights.give_back()
        described = super()._describe(done)
        self._inputs = None
        return described


@contextmanager
def ieee() -> Iterator[None]:
    """Is it right? That is asked in the precision of the dtype: cuDNN's default for convolutions is a shorter one.

    How fast is it? That is asked under the user's own settings.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _with_default(call: Callable[..., Any], device: str) -> Callable[..., Any]:
    def run(*args: Any, **named: Any) -> Any:
        with torch.device(device):
            return call(*args, **named)

    return run


def stepwise(call: Callable[..., Any], *, keep: bool, replays: bool) -> Callable[..., Any]:
    """``torch.compile`` may replay CUDA graphs, whose outputs the next call overwrites: each call is a step.

    ``keep``: results are looked at after later calls, so they are copied out. ``replays``: it does, so that no other
    graph can hold it.
    """

    def run(*args: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        made = call(*args)
        return clone_tree(made) if keep else made

    run.replays = replays  # type: ignore[attr-defined]
    return run


def host_for(device: str) -> CandidateHost:
    """The host of a worker whose candidates run on ``device``."""
    return CandidateHost() if device == "cpu" else DeviceHost(device)


__all__ = ["DeviceHost", "Mirror", "host_for", "ieee", "stepwise"]
