"""Quantum kernels: 20 drawn ad hoc sets, ordinary data as a control, and the Gram matrix against qiskit's.

    python benchmarks/zoo/quantum_kernel.py [--peer PYTHON]

PYTHON is an interpreter that has qiskit-machine-learning; without one the comparison is left out. Both sides run in
processes of their own, one thread each, in turns; the least time counts.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time

import numpy as np
import torch
from record import record
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from kernelwright.zoo import Measured
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.quantum_kernel import QSVC, FidelityKernel, ZZFeatureMap, compare, picture
from kernelwright.zoo.kernel_methods.quantum_kernel._example import summary

POINTS, QUBITS = 100, 5
PEER = f"""
import time, warnings
warnings.filterwarnings("ignore")
import numpy as np
from qiskit.circuit.library import zz_feature_map
from qiskit_machine_learning.kernels import FidelityStatevectorKernel
x = 2 * np.pi * np.random.default_rng(0).random(({POINTS}, {QUBITS}))
kernel = FidelityStatevectorKernel(feature_map=zz_feature_map({QUBITS}, reps=2))
begin = time.perf_counter()
gram = kernel.evaluate(x)
print(time.perf_counter() - begin, gram[0, 1], gram[1, 2])
"""


def against_peer(peer: str) -> dict[str, float]:
    """Seconds of both for one Gram matrix, and how far two of its entries are apart."""
    x = 2 * np.pi * np.random.default_rng(0).random((POINTS, QUBITS))
    ours, theirs, apart = [], [], 0.0
    for _ in range(3):
        text = subprocess.run([peer, "-c", PEER], capture_output=True, text=True, check=True).stdout.split()
        theirs.append(float(text[0]))
        for _ in range(5):
            begin = time.perf_counter()
            gram = FidelityKernel(ZZFeatureMap(QUBITS))(x)
            ours.append(time.perf_counter() - begin)
        apart = max(apart, abs(gram[0, 1] - float(text[1])), abs(gram[1, 2] - float(text[2])))
    return {"ours": min(ours), "qiskit": min(theirs), "ratio": min(theirs) / min(ours), "apart": apart}


def ordinary_data(qubits: int = 4) -> dict[str, dict[str, float]]:
    """Test accuracy on the leading principal components of data sets that no circuit made: no advantage is claimed."""
    found = {}
    for name in ("breast-cancer", "digits"):
        split = load(name, scale="standard" if name == "breast-cancer" else "unit", dtype=torch.float64)
        pca = PCA(qubits).fit(split.train_x)
        angles = MinMaxScaler((0.05, 2 * math.pi)).fit(pca.transform(split.train_x))
        x, held = (
            angles.transform(pca.transform(part)).clip(0.01, 2 * math.pi) for part in (split.train_x, split.test_x)
        )
        y, labels = split.train_y.numpy(), split.test_y.numpy()
        quantum = GridSearchCV(QSVC(), {"C": [1.0, 10.0, 100.0]}, cv=3).fit(x, y).score(held, labels)
        grid = {"C": [1.0, 10.0, 100.0], "gamma": [0.03, 0.1, 0.3, 1.0]}
        found[name] = {"quantum": quantum, "rbf": GridSearchCV(SVC(), grid, cv=3).fit(x, y).score(held, labels)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", help="interpreter with qiskit-machine-learning")
    peer = parser.parse_args().peer
    torch.set_num_threads(1)
    found = [compare(seed) for seed in range(20)]
    measured = list(summary(found))
    worst = min(f["kernel"] for f in found)
    measured.append(Measured("accuracy of the kernel SVM, worst set", worst))
    control = ordinary_data()
    for name, scores in control.items():
        measured.append(Measured(f"kernel SVM minus RBF SVM on {name}", scores["quantum"] - scores["rbf"]))
    speed = None
    if peer is None:
        print("no interpreter with qiskit-machine-learning given: not compared", file=sys.stderr)
    else:
        speed = against_peer(peer)
        measured.append(
            Measured("times as fast as qiskit-machine-learning", speed["ratio"], ">= 20", speed["ratio"] >= 20)
        )
        measured.append(Measured("largest difference from qiskit", speed["apart"], "<= 1e-10", speed["apart"] <= 1e-10))
    gram = {"points": POINTS, "qubits": QUBITS, "threads": 1, "seconds": speed}
    record("quantum-kernel", measured, picture=picture(found), sets=found, ordinary=control, gram=gram)


if __name__ == "__main__":
    main()
