"""Measures ``torch.compile(backend="kernelwright")`` against eager and Inductor: training steps and inference.

    python benchmarks/training.py [--seconds 20] [--models transformer,convnet] [--out benchmarks/results]

Every model is trained ``--steps`` steps by each of the three from the same start, on the same data: the losses must
agree with eager's. Then steps of all three are timed in interleaved rounds, in random order, so that a busy machine
disturbs them alike; the figures are medians of the ratios of one round. Writes ``training-<machine>.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from stamp import stamp
from torch import nn

from suite import machine_slug

RIVALS = ("eager", "inductor", "kernelwright")
TOLERANCE = 1e-3  # relative, of every loss


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    """A decoder on characters: pre-norm blocks, GELU, learned positions."""

    def __init__(self, vocabulary: int = 65, width: int = 128, depth: int = 4, length: int = 64) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.mixers = nn.ModuleList(Attention(width, width // 32) for _ in range(depth))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(depth)
        )
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places
        for k, (mix, feed) in enumerate(zip(self.mixers, self.feeds, strict=True)):
            x = x + mix(self.norms[2 * k](x))
            x = x + feed(self.norms[2 * k + 1](x))
        return self.head(self.norms[-1](x)).flatten(0, 1)


def conv_net(width: int = 32, classes: int = 10) -> nn.Module:
    """Three stages of convolution, batch norm, ReLU and pooling on 32x32 images."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in range(3):
        wide = width << stage
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)]
        channels = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


@dataclass(frozen=True)
class Workload:
    """``batch(generator)`` draws inputs and labels that depend on them, so that there is something to learn."""

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[torch.Generator], tuple[torch.Tensor, torch.Tensor]]


def tokens(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randint(65, (12, 64), generator=generator)
    return x, ((x + x.roll(1, 1)) % 65).flatten()


def images(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.randint(10, (32,), generator=generator)
    return torch.randn(32, 3, 32, 32, generator=generator) + 0.3 * y.view(-1, 1, 1, 1), y


WORKLOADS = (Workload("transformer", Transformer, tokens), Workload("convnet", conv_net, images))


class Contender:
    """One model under one compiler, with its optimiser: a training step and an inference call."""

    def __init__(self, name: str, model: nn.Module, options: dict[str, Any]) -> None:
        self.name, self.model = name, copy.deepcopy(model)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)
        if name == "eager":
            self.run: Callable[..., torch.Tensor] = self.model
        else:
            extra = {"options": options} if name == "kernelwright" else {}
            self.run = torch.compile(self.model, backend=name, **extra)

    def train(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.run(batch[0]), batch[1])
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def infer(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return self.run(batch[0])


def learn(contender: Contender, load: Workload, steps: int) -> tuple[list[float], float]:
    """Losses of the first steps, and the seconds that the very first one took (compilation)."""
    generator = torch.Generator().manual_seed(1)
    losses, first = [], 0.0
    for step in range(steps):
        batch = load.batch(generator)
        start = time.perf_counter()
        losses.append(float(contender.train(batch)))
        first = first or (time.perf_counter() - start if step == 0 else 0.0)
    return losses, first


def race(calls: dict[str, Callable[[Any], Any]], batches: list[Any], seconds: float) -> dict[str, Any]:
    """Interleaved rounds in random order: medians of times, and of each round's ratios to kernelwright's time."""
    rng, times = random.Random(0), {name: [] for name in calls}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times["eager"]) < 10:
        batch, order = rng.choice(batches), list(calls)
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter()
            calls[name](batch)
            times[name].append(time.perf_counter() - start)
    own = times["kernelwright"]
    ratios = {name: sorted(t / o for t, o in zip(times[name], own, strict=True)) for name in calls}
    return {
        "rounds": len(own),
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "least_seconds": {name: min(values) for name, values in times.items()},
        "speedup": {n: statistics.median(r) for n, r in ratios.items() if n != "kernelwright"},
        "quartiles": {n: [r[len(r) // 4], r[3 * len(r) // 4]] for n, r in ratios.items() if n != "kernelwright"},
        "least_speedup": {n: min(times[n]) / min(own) for n in calls if n != "kernelwright"},
    }


def measure(load: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = load.make()
    options: dict[str, Any] = {"effort": arguments.effort, "budget": arguments.budget, "archive": arguments.archive}
    contenders = {name: Contender(name, model, options) for name in RIVALS}
    learnt = {name: learn(contender, load, arguments.steps) for name, contender in contenders.items()}
    expected = learnt["eager"][0]
    off = {n: max(abs(a - b) / abs(b) for a, b in zip(learnt[n][0], expected, strict=True)) for n in RIVALS}
    generator = torch.Generator().manual_seed(2)
    batches = [load.batch(generator) for _ in range(8)]
    trained = race({n: c.train for n, c in contenders.items()}, batches, arguments.seconds)
    for contender in contenders.values():
        contender.model.load_state_dict(contenders["eager"].model.state_dict())
        contender.model.eval()
    answers = {n: c.infer(batches[0]) for n, c in contenders.items()}
    inferred = race({n: c.infer for n, c in contenders.items()}, batches, arguments.seconds)
    apart = {n: float((a - answers["eager"]).abs().max() / answers["eager"].abs().max()) for n, a in answers.items()}
    return {
        "model": load.name,
        "steps": arguments.steps,
        "losses": {n: [learnt[n][0][0], learnt[n][0][-1]] for n in RIVALS},
        "loss_error": off,
        "same_losses": off["kernelwright"] <= TOLERANCE,
        "inference_error": apart,
        "first_step_seconds": {n: learnt[n][1] for n in RIVALS},
        "training": trained,
        "inference": inferred,
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'':24}{'eager':>10}{'inductor':>10}{'own':>10}{'x eager':>10}{'x inductor':>12}   losses"]
    for result in results:
        for kind in ("training", "inference"):
            found = result[kind]
            cells = "".join(f"{1e3 * found['seconds'][n]:>7.2f} ms" for n in RIVALS)
            speed = f"{found['speedup']['eager']:>10.2f}{found['speedup']['inductor']:>12.2f}"
            error = result["loss_error" if kind == "training" else "inference_error"]["kernelwright"]
            lines.append(f"{result['model'] + ' ' + kind:24}{cells}{speed}   within {error:.1e}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(load.name for load in WORKLOADS))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each race")
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of search for each graph")
    parser.add_argument("--archive", help="path of the archive to use (default: a new one, so that searches are shown)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    wanted = arguments.models.split(",")
    with tempfile.TemporaryDirectory() as folder:
        arguments.archive = arguments.archive or str(Path(folder) / "archive.sqlite")
        results = [measure(load, arguments) for load in WORKLOADS if load.name in wanted]
    document = {**stamp(), "threads": torch.get_num_threads(), "results": results}
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"training-{machine_slug()}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(table(results))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
