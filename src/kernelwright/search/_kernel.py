"""What the user gets: a callable that runs the winner, and falls back to the user's own code outside its domain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from ..archive import Archive, proof_text
from ..errors import KernelwrightError, OutsideDomain
from ..judge import Measurement, Verdict, dismiss, start_early
from ..machine import versions
from ..targets import Candidate, load
from ..task import DynamicSize, Task, asked_gradients, from_callable, module_state
from ._drive import Listener
from ._generate import capture_task, generate_task
from ._here import device_of, on_cpu, state_on, target_for
from ._outcome import Outcome
from ._proofs import proof_of

if TYPE_CHECKING:
    from ..compiler.capture import Captured
    from ..compiler.gradients import Halves

log = logging.getLogger("kernelwright")

_grad_enabled = torch.is_grad_enabled
_NESTS = (list, tuple, dict)
_UNTIMED = "its kernel is proven and compiled, but there is no GPU here to time it on."


class Kernel:
    """The winner of a search, callable like the reference.

    Inputs outside the verified domain (other sizes, dtypes, devices), keyword arguments, and calls that need gradients
    for which the kernel was not made run the user's own code instead, with one log line for each reason. A kernel made
    with gradients returns results that carry them; asked for gradients of gradients it raises ``NoGradient``.

    Attributes: ``source`` (generated C++; empty when a baseline is served), ``verdict``, ``measurement``, ``outcome``.
    """

    def __init__(self, outcome: Outcome, reference: Callable[..., Any], state: Mapping[str, torch.Tensor]) -> None:
        if outcome.winner is None:
            raise KernelwrightError(f"Nothing can be served for {outcome.task.name}: {outcome.reason or _UNTIMED}")
        self.outcome = outcome
        self._reference = reference
        self._state = state
        self._generated = outcome.winner.target not in ("eager", "compile")
        held = state_on(state, device_of(outcome.winner.target)) if self._generated else state
        self._run = load(outcome.winner, reference, held)
        self._state_needs_grad = any(t.requires_grad for t in state.values())
        self._given = _given(outcome.winner)
        self._told: set[str] = set()
        quick = None if self._state_needs_grad else getattr(self._run, "leaving_by", None)
        self._call = quick(self._unusual) if quick is not None else self._unusual

    @property
    def source(self) -> str:
        return self.outcome.winner.source if self.outcome.winner else ""

    @property
    def verdict(self) -> Verdict | None:
        return self.outcome.verdict

    @property
    def measurement(self) -> Measurement | None:
        return self.outcome.measurement

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    else:
        # Not a method: between a small tensor and its kernel every Python call is as long as the kernel itself.
        __call__ = property(attrgetter("_call"))

    def _unusual(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever is not the quick way of a kernel whose arguments are as it was made for."""
        if not self._generated:
            return self._run(*args, **kwargs)
        if kwargs:
            return self._fall_back("keyword arguments are not part of the kernel's domain", args, kwargs)
        if not (_grad_enabled() and (self._state_needs_grad or _needs_grad(args))) or self._gives(args):
            try:
                return self._run(*args)
            except OutsideDomain as error:
                return self._fall_back(str(error), args, kwargs)
        reason = "gradients are needed; use torch.no_grad(), or torch.compile(backend='kernelwright') to train"
        return self._fall_back(reason, args, kwargs)

    def _gives(self, args: tuple[Any, ...]) -> bool:
        """Whether the kernel has every gradient that the call needs."""
        tensors = [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, torch.Tensor)]
        needed: set[tuple[str, int | str]] = {("arg", k) for k, tensor in enumerate(tensors) if tensor.requires_grad}
        needed |= {("state", name) for name, tensor in self._state.items() if tensor.requires_grad}
        return needed <= self._given

    def _fall_back(self, reason: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if reason not in self._told:
            self._told.add(reason)
            log.warning("%s: running your own code: %s", self.outcome.task.name, reason)
        return self._reference(*args, **kwargs)

    def explain(self) -> str:
        """What is served, why it is believed, how fast it is, and what stayed an ATen call; a few lines of text."""
        outcome = self.outcome
        assert outcome.winner is not None
        lines = [self._headline]
        if outcome.reason:
            lines.append(outcome.reason)
        if outcome.verdict and outcome.verdict.checks:
            worst = max(check.error for check in outcome.verdict.checks)
            lines.append(
                f"{len(outcome.verdict.checks)} checks against float64; largest error {worst:.2f} of its bound"
            )
        if outcome.verdict and outcome.verdict.determinism:
            lines.append(outcome.verdict.determinism)
        if outcome.measurement:
            for rival, ratio in outcome.measurement.speedup.items():
                lines.append(f"{ratio.median:.2f}x {rival} [{ratio.lo:.2f}, {ratio.hi:.2f}]")
            if outcome.measurement.roofline is not None:
                lines.append(f"{outcome.measurement.roofline:.0%} of the machine's roofline")
        proof = proof_of(outcome)
        lines += [*outcome.winner.notes, *([proof_text(proof)] if proof is not None else [])]
        return "\n".join(lines)

    @property
    def _headline(self) -> str:
        outcome = self.outcome
        assert outcome.winner is not None
        return f"{outcome.task.name}: {outcome.status}, {outcome.winner.label} is served"

    def bundle(self, path: Path | str) -> Path:
        """Write the kernel with all its evidence into one file, which ``kernelwright verify`` judges again anywhere.

        The task is part of it: of a callable handed over in Python, its pickle and the example inputs. Raises
        ``ExportImpossible`` when what is served is the user's own code.
        """
        from ..evidence import gather

        outcome = self.outcome
        assert outcome.winner is not None
        known = outcome.versions if outcome.from_archive else versions()
        gather(outcome.task, outcome.winner, outcome.verdict, outcome.measurement, known).write(Path(path))
        return Path(path)

    def __repr__(self) -> str:
        return f"<kernelwright.Kernel {self._headline}>"


def generate(
    fn_or_module: Callable[..., Any],
    example_inputs: tuple[Any, ...] | list[Any],
    *,
    target: str | None = None,
    budget: float = 60.0,
    effort: str = "balanced",
    dynamic: tuple[DynamicSize, ...] = (),
    archive: Archive | Path | None = None,
    lock: Path | None = None,
    name: str | None = None,
    on_event: Listener | None = None,
    gradients: bool | None = None,
) -> Kernel:
    """Generate a verified, faster kernel for a function or module on example inputs.

    ``example_inputs``: the positional arguments of one call. ``target``: "cpu", "triton" or "cuda"; by default the
    device on which the example inputs lie decides. A kernel for a GPU takes tensors there; for any others the user's
    own code runs. Parameters on the CPU are copied to the GPU, once. ``dynamic``: sizes that may vary, each with its
    range; the kernel is then verified across the box and refuses outside it. ``budget``: seconds. ``effort``: "quick",
    "balanced" or "full". ``archive``: an ``Archive``, the path of one, or None for the user's own. ``lock``: a
    ``kernelwright.lock`` whose pins decide. ``gradients``: whether the kernel is to give
    them, judged and timed with its results: in the example inputs that require them (in all floating ones, where none
    does) and in the parameters that do; by default, where one of the example inputs requires them. Raises
    ``TaskError`` when the function cannot be used as a reference.

    >>> import torch, kernelwright
    >>> kernel = kernelwright.generate(lambda x: torch.softmax(x * 2, -1), (torch.randn(64, 512),), effort="quick")
    >>> kernel(torch.randn(64, 512)).shape
    torch.Size([64, 512])
    """
    since, target = time.monotonic(), target or target_for(example_inputs)
    call, inputs = on_cpu(fn_or_module, tuple(example_inputs))
    task = from_callable(call, inputs, name=name, dynamic=dynamic, gradients=gradients)
    store = archive if isinstance(archive, Archive) else Archive(archive)
    try:
        if not any(row.winners and row.name == task.name for row in store.tasks()):
            start_early()  # there will be a search: the judge can begin while the graph is captured
        captured = _capture(task, call, inputs)
        if captured is not None:
            from ..compiler import identity

            task = replace(task, key=identity(captured))
        outcome = generate_task(
            task,
            target=target,
            budget=budget,
            effort=effort,
            archive=store,
            lock=lock,
            on_event=on_event,
            since=since,
            captured=captured,
        )
    finally:
        dismiss()
        if store is not archive:
            store.close()
    return Kernel(outcome, fn_or_module, module_state(fn_or_module))


def _capture(task: Task, call: Callable[..., Any], inputs: tuple[Any, ...]) -> Captured | Halves | None:
    """The graph by which the archive knows the task, and of which kernels are made; None when there is none.

    Without one the pickled bytes name the task, and the search says what is wrong.
    """
    state = module_state(call)
    try:
        asked = asked_gradients(call, inputs, state, task.name, everything=True) if task.gradients else None
        return capture_task(call, inputs, task.dynamic, asked)
    except KernelwrightError:
        return None


def _given(winner: Candidate) -> frozenset[tuple[str, int | str]]:
    """In what a kernel gives gradients."""
    half = winner.plan.backward if winner.plan is not None else None
    return frozenset() if half is None else frozenset(half.sources)


def _needs_grad(args: tuple[Any, ...]) -> bool:
    for arg in args:
        needs = getattr(arg, "requires_grad", None)  # asking for the class of a tensor costs as much as the call
        if needs or (needs is None and isinstance(arg, _NESTS) and _needs_grad(tuple(pytree.tree_leaves(arg)))):
            return True
    return False
