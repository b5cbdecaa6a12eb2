"""A small language of kernels that a tiny model can learn: rows of numbers, a chain of operations, perhaps a reduction.

A token is a fragment of program text, and any sequence of tokens is a text: most of them are wrong, and some are right
without being Triton, because the language also has fragments that call PyTorch. So what is learnt is decided by the
reward alone, as it is with a large model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._reward import ATOL, RTOL, RewardTask

if TYPE_CHECKING:
    from torch import Generator, Tensor

_CLOSE = 0.1  # of the tolerance may be used up by rounding

# name -> (in a kernel, on a tensor), of v and, for the second group, w
_UNARY = {
    "exp": ("tl.exp(v)", "torch.exp(v)"),
    "sin": ("tl.sin(v)", "torch.sin(v)"),
    "cos": ("tl.cos(v)", "torch.cos(v)"),
    "abs": ("tl.abs(v)", "torch.abs(v)"),
    "relu": ("tl.maximum(v, 0.0)", "torch.relu(v)"),
    "sigmoid": ("tl.sigmoid(v)", "torch.sigmoid(v)"),
    "square": ("v * v", "v * v"),
    "negate": ("-v", "-v"),
    "double": ("v * 2.0", "v * 2.0"),
    "increment": ("v + 1.0", "v + 1.0"),
}
_BINARY = {
    "add": ("v + w", "v + w"),
    "subtract": ("v - w", "v - w"),
    "multiply": ("v * w", "v * w"),
    "larger": ("tl.maximum(v, w)", "torch.maximum(v, w)"),
    "smaller": ("tl.minimum(v, w)", "torch.minimum(v, w)"),
}
# name -> (neutral element, in a kernel, on a tensor)
_REDUCTIONS = {
    "sum": ("zero", "tl.sum(v, axis=0)", "v.sum(dim=1)"),
    "mean": ("zero", "tl.sum(v, axis=0) / cols", "v.mean(dim=1)"),
    "max": ("lowest", "tl.max(v, axis=0)", "v.amax(dim=1)"),
    "min": ("highest", "tl.min(v, axis=0)", "v.amin(dim=1)"),
}
_NEUTRAL = {"zero": "0.0", "lowest": 'float("-inf")', "highest": 'float("inf")'}
_HEAD = "import torch\nimport triton\nimport triton.language as tl\n\n\n"
_LAUNCH = "    kernel[(x.shape[0],)]({}, out, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))\n"


def _texts() -> dict[str, str]:
    """What each token of a program stands for."""
    found = {
        "import": _HEAD,
        "kernel1": "@triton.jit\ndef kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):\n",
        "kernel2": "@triton.jit\ndef kernel(x_ptr, y_ptr, out_ptr, cols, BLOCK: tl.constexpr):\n",
        "row": "    row = tl.program_id(0)\n",
        "columns": "    at = tl.arange(0, BLOCK)\n",
        "inside": "    inside = at < cols\n",
        "inside-short": "    inside = at < cols - 1\n",
        "inside-wide": "    inside = at <= cols\n",
        "load-x": "    v = tl.load(x_ptr + row * cols + at, mask=inside, other=0.0)\n",
        "load-y": "    w = tl.load(y_ptr + row * cols + at, mask=inside, other=0.0)\n",
        "store-row": "    tl.store(out_ptr + row * cols + at, v, mask=inside)\n\n\n",
        "store-one": "    tl.store(out_ptr + row, v)\n\n\n",
        "run1": "def run(x):\n",
        "run2": "def run(x, y):\n",
        "like-x": "    out = torch.empty_like(x)\n",
        "one-each": "    out = torch.empty(x.shape[0], dtype=x.dtype)\n",
        "launch1": _LAUNCH.format("x"),
        "launch2": _LAUNCH.format("x, y"),
        "return-out": "    return out\n",
        "torch-x": "    v = x\n",
        "torch-y": "    w = y\n",
        "return-v": "    return v\n",
    }
    found |= {f"guard-{name}": f"    v = tl.where(inside, v, {text})\n" for name, text in _NEUTRAL.items()}
    for name, (ours, torchs) in (_UNARY | _BINARY).items():
        found |= {f"tl-{name}": f"    v = {ours}\n", f"torch-{name}": f"    v = {torchs}\n"}
    for name, (_, ours, torchs) in _REDUCTIONS.items():
        found |= {f"tl-{name}": f"    v = {ours}\n", f"torch-{name}": f"    v = {torchs}\n"}
    return found


TEXTS = _texts()
WORDS = (*_UNARY, *_BINARY, *_REDUCTIONS, "code:")


@dataclass(frozen=True)
class Spec:
    """What a kernel shall compute of rows: operations in order, and a ``reduction`` along each row ("": none)."""

    steps: tuple[str, ...]
    reduction: str = ""

    @property
    def prompt(self) -> str:
        """The instruction as the tiny model reads it."""
        return " ".join((*self.steps, *([self.reduction] if self.reduction else []), "code:"))

    @property
    def binary(self) -> bool:
        """Whether there is a second tensor."""
        return any(step in _BINARY for step in self.steps)

    def program(self) -> tuple[str, ...]:
        """A right program in Triton, as tokens."""
        two = "2" if self.binary else "1"
        body = ["import", f"kernel{two}", "row", "columns", "inside", "load-x", *(["load-y"] if self.binary else [])]
        body += [f"tl-{step}" for step in self.steps]
        if self.reduction:
            body += [f"guard-{_REDUCTIONS[self.reduction][0]}", f"tl-{self.reduction}", "store-one"]
        else:
            body.append("store-row")
        return (*body, f"run{two}", "one-each" if self.reduction else "like-x", f"launch{two}", "return-out")

    def delegating(self) -> tuple[str, ...]:
        """A right program that leaves the work to PyTorch, as tokens."""
        body = ["import", "run2" if self.binary else "run1", "torch-x", *(["torch-y"] if self.binary else [])]
        steps = [*self.steps, *([self.reduction] if self.reduction else [])]
        return (*body, *(f"torch-{step}" for step in steps), "return-v")

    def task(self) -> RewardTask:
        """What the reward runs: rows of ragged lengths, below and above a power of two."""
        return RewardTask(self.prompt, self.prompt, self.reference(), self._draw)

    def reference(self) -> Callable[..., Any]:
        """Plain PyTorch of the same steps."""
        return _Reference(self)

    def _draw(self, generator: Generator, trial: int) -> tuple[Tensor, ...]:
        import torch

        shape = ((3, 7), (2, 33), (5, 4))[trial % 3]
        return tuple(torch.randn(shape, generator=generator) for _ in range(2 if self.binary else 1))


@dataclass(frozen=True)
class _Reference:
    """A callable that can travel to another process."""

    spec: Spec

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        import torch

        v: Any = x
        for step in self.spec.steps:
            v = _apply(step, v, y)
        if not self.spec.reduction:
            return v
        found: torch.Tensor = {
            "sum": lambda: v.sum(1), "mean": lambda: v.mean(1), "max": lambda: v.amax(1), "min": lambda: v.amin(1),
        }[self.spec.reduction]()  # fmt: skip
        return found


def _apply(step: str, v: Any, w: Any) -> Any:
    import torch

    plain: dict[str, Callable[[], Any]] = {
        "square": lambda: v.square(), "negate": lambda: v.neg(), "double": lambda: v.mul(2.0),
        "increment": lambda: v.add(1.0), "add": lambda: v.add(w), "subtract": lambda: v.sub(w),
        "multiply": lambda: v.mul(w), "larger": lambda: torch.maximum(v, w), "smaller": lambda: torch.minimum(v, w),
    }  # fmt: skip
    return plain[step]() if step in plain else getattr(torch, step)(v)


def render(tokens: Sequence[str]) -> str:
    """The program text of tokens; what is no token of a program is left as it is, and will not parse.

    >>> print(render(Spec(("relu",)).delegating()).splitlines()[-2])
        v = torch.relu(v)
    """
    return "".join(TEXTS.get(token, f" {token} ") for token in tokens)


def draw_specs(seed: int, count: int, lengths: Sequence[int], without: Sequence[Spec] = ()) -> list[Spec]:
    """``count`` different specs with as many steps as one of ``lengths``; none of those in ``without``.

    What rounding alone makes wrong, such as the sine of a large exponential, is left out.
    """
    return list(_distinct(random.Random(seed), count, lengths, frozenset(without)))


def _distinct(rng: random.Random, count: int, lengths: Sequence[int], without: frozenset[Spec]) -> Iterator[Spec]:
    seen = set(without)
    while len(seen) < count + len(without):
        steps = tuple(rng.choice([*_UNARY, *_BINARY]) for _ in range(rng.choice(lengths)))
        spec = Spec(steps, rng.choice([*_REDUCTIONS, "", "", "", ""]))
        if spec not in seen and _steady(spec):
            seen.add(spec)
            yield spec


def _steady(spec: Spec) -> bool:
    """Whether float32 comes much closer to float64 than the reward's tolerance."""
    import torch

    for trial in range(3):
        inputs = spec.task().draw(torch.Generator().manual_seed(trial), trial)
        plain = spec.reference()(*inputs).double()
        exact = spec.reference()(*(t.double() for t in inputs))
        if not bool(((plain - exact).abs() <= _CLOSE * (ATOL + RTOL * exact.abs())).all()):
            return False
    return True


__all__ = ["TEXTS", "WORDS", "Spec", "draw_specs", "render"]
