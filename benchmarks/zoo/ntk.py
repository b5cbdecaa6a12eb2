"""The tangent kernel against finite networks, against training, on digits, and its Gram matrix against JAX.

``python benchmarks/zoo/ntk.py``. Where neural_tangents is installed, time it before, alone on the machine:
``python benchmarks/zoo/ntk.py --peer PYTHON > seconds.json``, then give ``--seconds seconds.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from pathlib import Path

import torch
from record import record
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.ntk import (
    NTKMLP,
    SYSTEM,
    NTKClassifier,
    NTKRegressor,
    circle,
    kernels_on_circle,
    ntk,
)

# One line for every time to take: the peer stays alive, so that both can be timed in turns.
PEER = """
import sys, time
import numpy as np, jax
from neural_tangents import stax
n, d, depth = map(int, sys.argv[1:4])
layers = [layer for _ in range(depth - 1) for layer in (stax.Dense(1, 1.0, 0.1), stax.Relu())]
kernel = stax.serial(*layers, stax.Dense(1, 1.0, 0.1))[2]
x = np.random.default_rng(0).standard_normal((n, d)).astype('f')
gram = jax.jit(lambda x: kernel(x, None, 'ntk'))
gram(x[:8]).block_until_ready()
gram(x).block_until_ready()
print('ready', flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    result = gram(x).block_until_ready()
    print(time.perf_counter() - start, float(result[0, 1]), flush=True)
"""


def in_turns(python: str, n: int, d: int, depth: int, rounds: int) -> dict[str, object]:
    """Seconds of the float32 Gram matrix, ours and the peer's in turns."""
    import numpy as np

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((n, d)).astype("f"))
    found: dict[str, list[float]] = {"ours": [], "neural_tangents": []}
    peer = None
    if python:
        command = [python, "-W", "ignore", "-c", PEER, str(n), str(d), str(depth)]
        peer = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdout.readline()
    value = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        value = float(ntk(x, depth=depth)[0, 1])
        found["ours"].append(time.perf_counter() - start)
        if peer is not None:
            peer.stdin.write("\n")
            peer.stdin.flush()
            seconds, theirs = map(float, peer.stdout.readline().split())
            found["neural_tangents"].append(seconds)
            assert abs(theirs - value) < 1e-4 * abs(value) + 1e-5
    if peer is not None:
        peer.stdin.close()
        peer.wait()
    return {"n": n, "d": d, "depth": depth, **found}


def float32_error(n: int = 1000, d: int = 64) -> float:
    """The largest error of the float32 Gram matrix against float64, over its largest element; half the rows are near
    copies of others."""
    x = torch.randn(n // 2, d, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, x + 1e-3 * torch.randn(n // 2, d, generator=torch.Generator().manual_seed(1))])
    exact = ntk(x.double(), depth=4)
    return float((ntk(x, depth=4) - exact).abs().max() / exact.max())


def finite(draws: int = 120) -> tuple[list[Measured], dict[str, list[float]]]:
    """Means and spreads of empirical kernels on the circle, by width."""
    angles = torch.linspace(0, math.pi, 9)
    limit = ntk(circle(torch.zeros(1)), circle(angles), depth=4)[0]
    rows, spread = {}, {}
    for width in (250, 1000):
        kernels = kernels_on_circle(width, draws, angles)
        spread[width] = float(kernels.std(0).mean())
        off = (kernels.mean(0) - limit).abs() / (kernels.std(0) / math.sqrt(draws))
        rows[str(width)] = [spread[width], float(off.max())]
    ratio = spread[250] / spread[1000]
    return [
        Measured("spread of random kernels, width 250 over 1000", ratio, "1.6 to 2.5", 1.6 <= ratio <= 2.5),
        Measured("mean at width 1000, worst, in standard errors", rows["1000"][1], "below 3", rows["1000"][1] < 3),
    ], rows


def training(width: int, n: int = 64, steps: int = 400) -> float:
    """The distance of a trained network from its closed form on digits, at the worst time, over the targets' RMS."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.from_numpy(x[:n]) / 16, torch.from_numpy((y[:n] % 2) * 2.0 - 1)
    net = NTKMLP((64, width, width, 1), dtype=torch.float64)
    start = net(x).detach()[:, 0]
    model = NTKRegressor(depth=3).fit(x, y - start)
    rate = 1.0 / float(model.eigenvalues_[0])
    times = list(range(0, steps + 1, 50))
    told = dict(
        zip(times, NTKRegressor(depth=3, learning_rate=rate).fit(x, y - start).predict_at(x, times), strict=True)
    )
    optimizer, worst = torch.optim.SGD(net.parameters(), lr=rate), 0.0
    for t in range(steps + 1):
        out = net(x)[:, 0]
        if t in told:
            worst = max(worst, float((out.detach() - start - torch.from_numpy(told[t])).square().mean().sqrt()))
        optimizer.zero_grad()
        ((out - y) ** 2).mean().div(2).backward()
        optimizer.step()
    return worst


def digits() -> tuple[float, float]:
    """Test accuracy of the kernel and of linear ridge: 1000 digits to learn from, 797 to be told."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).numpy()
    x, y = x[order] / 16, y[order]
    models = (NTKClassifier(depth=3), RidgeClassifier())
    ours, linear = (m.fit(x[:1000], y[:1000]).score(x[1000:], y[1000:]) for m in models)
    return ours, linear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="only time Gram matrices against this interpreter, which has neural_tangents")
    parser.add_argument("--seconds", type=Path, help="what such a run printed")
    parser.add_argument("--n", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.peer:
        print(json.dumps(in_turns(options.peer, options.n, 64, 4, 2)))
        return
    gram = json.loads(options.seconds.read_text()) if options.seconds else None
    shown = SYSTEM.example(plainly)
    rows, detail = finite()
    narrow, wide = training(64), training(1024)
    ours, linear = digits()
    measured = [
        *shown.measured,
        *rows,
        Measured("training at width 1024, distance from the closed form", wide, "below 0.05", wide < 0.05),
        Measured("the same at width 64, over that", narrow / wide, "at least 2", narrow >= 2 * wide),
        Measured("digits, accuracy", ours, "at least 0.97", ours >= 0.97),
        Measured("digits, above linear ridge", ours - linear, "at least 0.02", ours - linear >= 0.02),
        Measured(
            "float32 Gram matrix, relative error with near copies",
            float32_error(),
            "below 1e-5",
            float32_error() < 1e-5,
        ),
    ]
    if gram:
        ratio = min(gram["neural_tangents"]) / min(gram["ours"])
        measured.append(
            Measured(f"Gram matrix of {gram['n']}, times as fast as neural_tangents", ratio, "at least 2", ratio >= 2)
        )
    else:
        print("neural_tangents: not compared; see --peer.")
    record("ntk", measured, picture=shown.picture, gram_seconds=gram, finite_widths=detail)


if __name__ == "__main__":
    main()
