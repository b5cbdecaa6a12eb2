"""The cases that ``gpu.py`` measures, and how one is measured, in a process that may be lost with it.

A case is captured on the CPU, printed as Triton with several schedules, compared with float64 on the device (it may be
some times as wrong as eager is, or a few roundings), and timed by the judge's own clock (``judge/_device_clock``).
``dry``: the same on the CPU, at small sizes, with Triton's interpreter in the GPU's place; its times mean nothing.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

import suite
from kernelwright.compiler import prepare
from kernelwright.judge._clock import Clock, HostClock, Pace
from kernelwright.judge._device import ieee, stepwise
from kernelwright.judge._device_clock import CudaDevice, DeviceClock
from kernelwright.judge._measure import count_sets
from kernelwright.machine import find_device
from kernelwright.search._device import TimedTriton
from kernelwright.targets import Candidate, load

Made = tuple[torch.nn.Module, tuple[Any, ...]]
Row = dict[str, Any]
Call = Callable[..., Any]
Partly = Callable[[Row], None]  # hears of a row before the slow rest of it is there

_SIDE, _DRY_SIDE = 8192, 64
_ROUNDS, _DRY_ROUNDS = 15, 3
_TIMES = 8.0  # an error may be so many times the largest of eager's, or so many roundings of the largest value
_DIVISORS = (16, 8, 4, 2, 1)
_SIZE = re.compile(r"^(\w+) = (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """``make(scale, dry)`` builds a module and its arguments on the CPU; ``flops``, ``bytes`` of a call if known."""

    label: str
    make: Callable[[str, bool], Made]
    tried: int = 3
    flops: float = 0.0
    bytes: float = 0.0


class Apply(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


def cases() -> Iterator[Case]:
    """What memory bounds, products, attention, and our suite, the cheap ones first."""
    element = 4.0 * _SIDE * _SIDE
    for label, function, moved in (
        ("copy", lambda x: x + 1, 2), ("row softmax", lambda x: torch.softmax(x, -1), 2),
        ("row sum", lambda x: x.sum(-1), 1), ("layer norm", lambda x: torch.layer_norm(x, x.shape[-1:]), 2),
        ("transpose", lambda x: x.t().contiguous(), 2), ("gelu", torch.nn.functional.gelu, 2),
    ):  # fmt: skip
        yield Case(f"memory {label}", partial(_on_square, function), tried=5, bytes=moved * element)
    for dtype, side in ((torch.bfloat16, 2048), (torch.bfloat16, 4096), (torch.bfloat16, 8192), (torch.float32, 2048)):
        name = str(dtype).removeprefix("torch.")
        yield Case(f"matmul {name} {side}", partial(_product, dtype, side), tried=8, flops=2.0 * side**3)
    for causal, (batch, heads, length, width) in itertools.product(
        (False, True), ((4, 16, 2048, 64), (2, 16, 4096, 128))
    ):
        shape = (batch, heads, length, width)
        label = f"attention {'causal ' if causal else ''}{length}x{width}"
        flops = 4.0 * batch * heads * length * length * width / (2 if causal else 1)
        yield Case(label, partial(_attention, shape, causal), flops=flops)
    for path in sorted(suite.task_files(), key=lambda path: (path.parent.name, len(path.read_text()))):
        yield Case(f"suite {path.parent.name}/{path.stem}", partial(_task, path))


def _on_square(function: Callable[..., Any], scale: str, dry: bool) -> Made:
    side = _DRY_SIDE if dry else _SIDE
    return Apply(function), (torch.randn(side, side),)


def _product(dtype: torch.dtype, side: int, scale: str, dry: bool) -> Made:
    side = _DRY_SIDE if dry else side
    return Apply(torch.matmul), tuple(torch.randn(side, side).to(dtype) for _ in range(2))


def _attention(shape: tuple[int, ...], causal: bool, scale: str, dry: bool) -> Made:
    shape = (1, 2, 32, 16) if dry else shape
    attend = partial(torch.nn.functional.scaled_dot_product_attention, is_causal=causal)
    return Apply(lambda q, k, v: attend(q, k, v)), tuple(torch.randn(shape).to(torch.bfloat16) for _ in range(3))


def _task(path: Path, scale: str, dry: bool) -> Made:
    """A task of the suite; ``scale`` is "official" or what its leading size, a batch of some kind, is multiplied by."""
    if dry:
        return _small(path.read_text())
    factor = 1 if scale == "official" else int(scale)
    for times in dict.fromkeys((factor, 1)):
        try:
            return _scaled(path, times)
        except Exception:  # a size that other sizes of the task depend on
            if times == 1:
                raise
    raise AssertionError("the official size raises")


def _scaled(path: Path, times: int) -> Made:
    module = suite.load(path)
    name = next((k for k, v in vars(module).items() if isinstance(v, int) and not k.startswith("_")), None)
    if name is not None:
        setattr(module, name, getattr(module, name) * times)
    model, inputs = suite.build(module), tuple(suite.draw(module, 1))
    with torch.no_grad():
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # do the sizes still fit together?
            model(*pytree.tree_map_only(torch.Tensor, mode.from_tensor, inputs))
    return model, inputs


def _small(source: str) -> Made:
    """A task whose size constants are divided by as much as it stands: an interpreter runs it."""
    for divisor in _DIVISORS:
        names: dict[str, Any] = {}
        try:
            exec(_SIZE.sub(partial(_divided, divisor), source), names)
            model, args = names["Model"](*names["get_init_inputs"]()).eval(), tuple(names["get_inputs"]())
            with torch.no_grad():
                model(*args)
            return model, args
        except Exception:  # too small for the model
            if divisor == 1:
                raise
    raise AssertionError("the official size raises")


def _divided(divisor: int, match: re.Match[str]) -> str:
    size = int(match[2])
    return f"{match[1]} = {size if size < 16 else max(size // divisor, 4)}"


# ── one case ──


def error_of(model: torch.nn.Module, args: tuple[Any, ...], got: Any) -> float:
    """The largest error against float64 in units of what is allowed: some times eager's own, or a few roundings."""
    double = copy.deepcopy(model).double()
    want = double(*pytree.tree_map(lambda a: a.double() if _is_floating(a) else a, args))
    worst = 0.0
    for mine, truth, eager in zip(*map(_tensors, (got, want, model(*_copied(args)))), strict=True):
        if mine.shape != eager.shape or mine.dtype != eager.dtype:
            return float("inf")
        if not mine.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(mine, eager) else float("inf"))
            continue
        finite = torch.isfinite(truth)
        if not torch.equal(mine.double()[~finite].nan_to_num(), truth[~finite].double().nan_to_num()):
            return float("inf")
        if bool(finite.any()):
            own = float((eager.double() - truth)[finite].abs().max())
            rounding = float(truth[finite].abs().max()) * torch.finfo(mine.dtype).eps
            error = float((mine.double() - truth)[finite].abs().max())
            worst = max(worst, error / (_TIMES * max(own, rounding) or 1.0))
            worst = float("inf") if math.isnan(error) else worst
    return worst


class Bench:
    """Where cases are measured: the GPU, or, ``dry``, the interpreter."""

    def __init__(self, dry: bool) -> None:
        self.dry, self.device = dry, "cpu" if dry else "cuda"
        self.clock: Clock = HostClock() if dry else DeviceClock(CudaDevice())
        self.rounds = _DRY_ROUNDS if dry else _ROUNDS

    def run(self, case: Case, scale: str, partly: Partly) -> Row:
        """The row of one case. ``partly`` hears of it before ``torch.compile`` begins, which may take minutes."""
        model, inputs = case.make(scale, self.dry)
        proposer = TimedTriton(prepare(model, inputs), case.label)
        model = model.to(self.device)
        args = pytree.tree_map_only(torch.Tensor, lambda t: t.to(self.device), inputs)
        row: Row = {"case": case.label, "shapes": [list(t.shape) for t in _tensors(args)]}
        with torch.no_grad(), self._default_device(model, args):
            own, tried = self._best(case, proposer, model, args)
            row |= {"tried": tried}
            if own is None:
                return {**row, "status": "wrong" if tried else "not lowered"}
            row |= {"status": "right", "schedule": own[0].label}
            calls: dict[str, Call] = {"kernelwright": own[1], "eager": model}
            row |= self._compared(case, calls, model, args)
            partly({**row, "note": "torch.compile did not finish"})
            calls["compile"] = self._compiled(model)
            try:
                calls["compile"](*args)
            except Exception as error:  # then there is one rival less
                return {**row, "note": f"torch.compile raises {type(error).__name__}: {str(error)[:200]}"}
            return row | self._compared(case, calls, model, args)

    def _default_device(self, model: Call, args: tuple[Any, ...]) -> torch.device | torch.no_grad:
        """The default for code that makes tensors without saying where, if this one is such code."""
        try:
            model(*_copied(args))
        except RuntimeError as error:
            if "device" in str(error):
                return torch.device(self.device)
            raise
        return torch.no_grad()

    def _best(
        self, case: Case, proposer: TimedTriton, model: torch.nn.Module, args: tuple[Any, ...]
    ) -> tuple[tuple[Candidate, Call] | None, int]:
        """The fastest right candidate by a glance, and how many were tried; every result decides what comes next."""
        best, least, tried = None, float("inf"), 0
        state = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
        while tried < (1 if self.dry else case.tried) and (batch := proposer.propose(1)):
            for candidate in batch:
                tried += 1
                seconds = self._glance(candidate, model, state, args)
                proposer.feedback(candidate, seconds[0] if seconds else None)
                if seconds and seconds[0] < least:
                    best, least = (candidate, seconds[1]), seconds[0]
        return best, tried

    def _glance(
        self, candidate: Candidate, model: torch.nn.Module, state: dict[str, torch.Tensor], args: tuple[Any, ...]
    ) -> tuple[float, Call] | None:
        if not candidate.source:
            return None
        call = load(candidate, model, state, interpreted=self.dry)
        with ieee():
            if error_of(model, args, call(*_copied(args))) > 1.0:
                return None
        times = self._timed({"own": call}, "own", [args, _copied(args)], 5)[0]["own"]
        return statistics.median(times), call

    def _compiled(self, model: torch.nn.Module) -> Call:
        if self.dry:
            return torch.compile(model, backend="eager")
        return stepwise(torch.compile(model, mode="max-autotune", dynamic=False), keep=False, replays=True)

    def _compared(self, case: Case, calls: dict[str, Call], model: torch.nn.Module, args: tuple[Any, ...]) -> Row:
        times, notes = self._timed(calls, "eager", self._sets(model, args), self.rounds)
        own = times["kernelwright"]
        row: Row = {"microseconds": _short(statistics.median(own) * 1e6), "notes": notes, "speedup": {}}
        for name, each in times.items():
            if name != "kernelwright":
                ratios = [rival / mine for rival, mine in zip(each, own, strict=True) if mine > 0]
                row["speedup"][name] = [_short(q) for q in statistics.quantiles(ratios, n=4, method="inclusive")]
        if case.bytes:
            row["gigabytes_per_second"] = _short(case.bytes / statistics.median(own) / 1e9)
        if case.flops:
            row["teraflops"] = _short(case.flops / statistics.median(own) / 1e12)
        return row

    def _sets(self, model: torch.nn.Module, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The arguments at as many addresses as it takes to leave the cache cold."""
        gpu = find_device()
        weights = sum(t.nbytes for t in model.parameters())
        bytes_ = sum(t.nbytes for t in _tensors(args))
        count = count_sets(bytes_, weights, gpu.cache, gpu.memory // 8)[0] if gpu is not None else 2
        return [args, *(_copied(args) for _ in range(count - 1))]

    def _timed(
        self, calls: dict[str, Call], baseline: str, work: Sequence[tuple[Any, ...]], rounds: int
    ) -> tuple[dict[str, list[float]], list[str]]:
        """Seconds of one call by contender and round, in turns."""
        for call in calls.values():
            for args in work[:2]:
                call(*args)
        count = self.clock.begin(calls, work, Pace(baseline, 1e-3, False))
        queue = [work[k % len(work)] for k in range(count)]
        times: dict[str, list[float]] = {name: [] for name in calls}
        names = list(calls)
        for _ in range(rounds):
            names = names[1:] + names[:1]
            for name in names:
                times[name].append(self.clock.sample(name, calls[name], queue)[0] / count)
        return times, self.clock.end()[0]


def find_case(label: str) -> Case:
    return next(case for case in cases() if case.label == label)


def labels(match: str) -> list[str]:
    return [case.label for case in cases() if re.search(match, case.label)]


def _copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    copied: tuple[Any, ...] = pytree.tree_map_only(torch.Tensor, torch.clone, args)
    return copied


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _is_floating(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _short(value: float) -> float:
    return float(f"{value:.4g}")
