"""States against explicit matrices, the kernel against identities and its shots, classifiers on ad hoc data."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.kernel_methods.quantum_kernel import (
    QSVC,
    SYSTEM,
    FidelityGram,
    FidelityKernel,
    PegasosQSVC,
    VariationalClassifier,
    ZZFeatureMap,
    circuit,
    expectation,
    fidelity_gram,
    kernel_target_alignment,
    make_ad_hoc,
    psd_project,
    rotations,
    shifted_gradient,
    walsh_hadamard,
)

Z, Y = np.diag([1.0, -1.0]), np.array([[0, -1j], [1j, 0]])


def _angles(count: int, n: int, seed: int = 0) -> torch.Tensor:
    return 2 * math.pi * torch.rand(count, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _on(matrix: np.ndarray, qubit: int, n: int) -> np.ndarray:
    return np.kron(np.kron(np.eye(2**qubit), matrix), np.eye(2 ** (n - qubit - 1)))


def _explicit_state(x: np.ndarray, pairs: tuple[tuple[int, int], ...], reps: int) -> np.ndarray:
    n = len(x)
    h = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
    walls = h
    for _ in range(n - 1):
        walls = np.kron(walls, h)
    exponent = sum(x[i] * _on(Z, i, n) for i in range(n)) + sum(
        (math.pi - x[i]) * (math.pi - x[j]) * _on(Z, i, n) @ _on(Z, j, n) for i, j in pairs
    )
    state = np.eye(2**n)[0].astype(complex)
    for _ in range(reps):
        state = expm(1j * exponent) @ walls @ state
    return state


@pytest.mark.parametrize("entanglement", ["full", "linear", "circular"])
@pytest.mark.parametrize(("n", "reps"), [(1, 2), (2, 1), (2, 2), (3, 2), (4, 3)])
def test_states_are_the_product_of_the_circuits_matrices(n: int, reps: int, entanglement: str) -> None:
    feature_map = ZZFeatureMap(n, reps, entanglement)  # type: ignore[arg-type]
    x = _angles(3, n)
    explicit = np.stack([_explicit_state(p, feature_map.pairs, reps) for p in x.numpy()])
    assert np.abs(feature_map(x).numpy() - explicit).max() < 1e-13


def test_one_qubit_has_the_closed_form() -> None:
    x, z = 1.1, 2.3

    def amplitudes(a: float) -> tuple[complex, complex]:  # (U H)² |0> by hand: H turns e^{±ia} into cos a, i sin a
        return math.cos(a) * complex(math.cos(a), math.sin(a)), 1j * math.sin(a) * complex(math.cos(a), -math.sin(a))

    overlap = sum(p.conjugate() * q for p, q in zip(amplitudes(x), amplitudes(z), strict=True))
    assert FidelityKernel()([[x]], [[z]])[0, 0] == pytest.approx(abs(overlap) ** 2, abs=1e-14)


@pytest.mark.parametrize("n", [0, 1, 4, 5, 6, 11])
def test_walsh_hadamard_is_its_own_inverse_and_preserves_length(n: int) -> None:
    x = torch.randn(3, 2**n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    once = walsh_hadamard(x)
    assert torch.allclose(walsh_hadamard(once), x, atol=1e-12)
    assert torch.allclose(once.norm(dim=-1), x.norm(dim=-1))
    parity = torch.tensor([bin(i & (2**n - 1)).count("1") % 2 for i in range(2**n)])
    assert torch.allclose(once[:, -1], (x * (1.0 - 2.0 * parity)).sum(-1) / 2 ** (n / 2))


def test_walsh_hadamard_refuses_other_lengths() -> None:
    with pytest.raises(ZooInvalid, match="length 6"):
        walsh_hadamard(torch.zeros(6))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_kernel_is_symmetric_positive_with_unit_diagonal_and_low_rank(dtype: torch.dtype, error: float) -> None:
    x = _angles(40, 2).to(dtype)
    gram = FidelityKernel()(x)
    assert gram.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert (gram == gram.T).all() or np.abs(gram - gram.T).max() < error
    assert (np.diag(gram) == 1).all()
    values = np.linalg.eigvalsh(gram.astype(np.float64))
    assert values[0] > -error * 40
    assert (values > error * 40).sum() <= 4**2
    assert np.abs(FidelityKernel()(x, x.clone()) - gram).max() < error


def test_points_with_one_coordinate_off_pi_have_a_product_kernel() -> None:
    x = torch.full((3, 3), math.pi, dtype=torch.float64)
    x[0, 0], x[1, 1], x[2, 2] = 0.4, 2.0, 5.0
    single = np.ones((3, 3))
    for qubit in range(3):
        single *= FidelityKernel()(x[:, qubit : qubit + 1])
    assert np.abs(FidelityKernel()(x) - single).max() < 1e-13


def test_tiles_give_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = _angles(11, 3), _angles(7, 3, seed=1)
    whole, across = FidelityKernel()(x), FidelityKernel()(x, z)
    monkeypatch.setattr("kernelwright.zoo.kernel_methods.quantum_kernel._kernel._TILE", 4 * 16 * 8)  # four points
    assert np.allclose(FidelityKernel()(x), whole, atol=1e-14)
    assert np.allclose(FidelityKernel()(x, z), across, atol=1e-14)


def test_the_gram_is_that_of_complex_states() -> None:
    feature_map = ZZFeatureMap(4)
    x, z = _angles(5, 4), _angles(6, 4, seed=1)
    states = feature_map(x) @ feature_map(z).conj().mT
    assert torch.allclose(fidelity_gram(feature_map.parts(x), feature_map.parts(z)), states.abs().square())


def test_gradients_of_the_module_and_training_for_alignment() -> None:
    module = FidelityGram(ZZFeatureMap(2), dtype=torch.float64)
    x = _angles(4, 2)

    def gram(scale: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"scale": scale}, (points,))

    scale = torch.tensor([0.8, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gram, (scale, x.requires_grad_()))
    points, labels, _, _ = make_ad_hoc(10, 1, random_state=0)
    data, signs = torch.as_tensor(points), torch.as_tensor(labels)
    with torch.no_grad():
        module.scale.fill_(0.7)
    before = kernel_target_alignment(module(data), signs).item()
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        (-kernel_target_alignment(module(data), signs)).backward()
        optimizer.step()
    assert kernel_target_alignment(module(data), signs).item() > before + 0.01


def test_shots_have_binomial_errors_and_need_the_projection() -> None:
    x, shots = _angles(80, 2), 200
    exact = FidelityKernel()(x)
    noisy = FidelityKernel(shots=shots, enforce_psd=False, random_state=0)(x)
    assert (noisy == noisy.T).all()
    assert (np.diag(noisy) == 1).all()
    upper = np.triu_indices(80, 1)
    scaled = (noisy - exact)[upper] / np.sqrt(exact * (1 - exact) / shots)[upper].clip(1e-9)
    assert scaled.std() == pytest.approx(1, rel=0.05)
    assert np.linalg.eigvalsh(noisy)[0] < -0.2
    projected = FidelityKernel(shots=shots, random_state=0)(x)
    assert np.linalg.eigvalsh(projected)[0] > -1e-10
    assert np.allclose(projected, psd_project(noisy))


def test_ad_hoc_data_has_its_gap_and_both_labels() -> None:
    x, y, held, labels = make_ad_hoc(7, 5, n_qubits=3, gap=0.1, random_state=1)
    assert x.shape == (14, 3)
    assert held.shape == (10, 3)
    assert sorted(y) == [-1] * 7 + [1] * 7
    assert sorted(labels) == [-1] * 5 + [1] * 5
    assert (x > 0).all()
    assert (x <= 2 * math.pi).all()
    with pytest.raises(ZooInvalid, match=r"gap is 0\.999"):
        make_ad_hoc(50, 50, n_qubits=4, gap=0.999, random_state=0)


def test_the_kernel_tells_ad_hoc_data_and_needs_pair_phases() -> None:
    scores: dict[str, list[float]] = {"exact": [], "shots": [], "none": [], "rbf": [], "pegasos": []}
    for seed in range(10):
        x, y, held, labels = make_ad_hoc(20, 40, random_state=seed)
        scores["exact"].append(QSVC(C=1e3).fit(x, y).score(held, labels))
        scores["shots"].append(QSVC(C=1e3, shots=200, random_state=seed).fit(x, y).score(held, labels))
        scores["none"].append(QSVC(C=1e3, phi="none").fit(x, y).score(held, labels))
        scores["pegasos"].append(PegasosQSVC(C=1e3, random_state=seed).fit(x, y).score(held, labels))
        grid = [(c, width) for c in (1, 10, 100, 1e3) for width in (0.1, 0.3, 1, 3, 10)]
        scores["rbf"].append(max(SVC(C=c, gamma=width).fit(x, y).score(held, labels) for c, width in grid))
    mean = {name: np.mean(values) for name, values in scores.items()}
    assert mean["exact"] >= 0.97
    assert mean["exact"] >= mean["rbf"] + 0.10
    assert mean["none"] < 0.85
    assert mean["shots"] >= mean["exact"] - 0.03
    assert mean["pegasos"] >= 0.95


def test_the_classifier_is_the_same_as_sklearns_with_our_kernel() -> None:
    x, y, held, _ = make_ad_hoc(20, 20, random_state=3)
    theirs = SVC(C=10, kernel=FidelityKernel(ZZFeatureMap(2))).fit(x, y)
    assert np.allclose(QSVC(C=10).fit(x, y).decision_function(held), theirs.decision_function(held))


def test_rotations_are_the_exponentials() -> None:
    z, y = 0.7, -1.9
    explicit = expm(0.5j * z * Z) @ expm(0.5j * y * Y)
    assert np.allclose(rotations(torch.tensor([z, y], dtype=torch.float64)).numpy(), explicit, atol=1e-14)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_circuit_is_its_matrices_and_unitary(n: int) -> None:
    feature_map = ZZFeatureMap(n)
    angles = torch.randn(2, 3, n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    states = feature_map(_angles(4, n))
    signs = torch.randint(0, 2, (2**n,), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    out = circuit(angles, states, signs)
    assert torch.allclose(out.abs().square().sum(-1), torch.ones(2, 4, dtype=torch.float64))
    for one, result in zip(angles, out, strict=True):
        expected = states.numpy()
        for layer in range(3):
            expected = expected * signs.numpy() if layer else expected
            for qubit in range(n):
                expected = expected @ _on(rotations(one[layer, qubit]).numpy(), qubit, n).T
        assert np.allclose(result.numpy(), expected, atol=1e-13)


def test_parameter_shift_is_autograd() -> None:
    feature_map = ZZFeatureMap(2)
    states = feature_map(_angles(5, 2))
    angles = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def value(at: torch.Tensor) -> torch.Tensor:
        return expectation(at, states, feature_map).sum()

    (exact,) = torch.autograd.grad(value(angles), angles)
    assert torch.allclose(shifted_gradient(angles.detach(), value), exact, atol=1e-8)


def test_the_expectation_is_linear_in_the_density_matrix() -> None:
    """A linear classifier in 4^n features: the observable W^dagger f W, read off the basis, gives every expectation."""
    feature_map = ZZFeatureMap(2)
    angles = torch.randn(4, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    states = feature_map(_angles(6, 2))
    signs = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    w = circuit(angles, torch.eye(4, dtype=torch.complex128), signs).mT
    observable = w.mH @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.complex128)) @ w
    linear = torch.einsum("na,ab,nb->n", states.conj(), observable, states).real
    assert torch.allclose(expectation(angles, states, feature_map), linear)


@pytest.mark.parametrize("optimizer", ["adam", "spsa"])
def test_deep_circuits_learn_what_shallow_ones_cannot(optimizer: str) -> None:
    trained: dict[int, list[float]] = {0: [], 4: []}
    for seed in range(5 if optimizer == "adam" else 2):
        x, y, _, _ = make_ad_hoc(20, 1, random_state=seed)
        for depth, scores in trained.items():
            steps = 80 if optimizer == "adam" else 200
            model = VariationalClassifier(depth, optimizer, n_steps=steps, random_state=seed)  # type: ignore[arg-type]
            scores.append(model.fit(x, y).score(x, y))
    assert np.mean(trained[4]) >= 0.95
    assert np.mean(trained[4]) >= np.mean(trained[0]) + 0.1


def test_the_circuit_trains_on_shots() -> None:
    x, y, _, _ = make_ad_hoc(20, 1, random_state=0)
    model = VariationalClassifier(2, shots=2000, n_steps=120, random_state=0).fit(x, y)
    assert model.score(x, y) >= 0.85


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ZZFeatureMap(0), "n_qubits is 0"),
        (lambda: ZZFeatureMap(21), "n_qubits is 21"),
        (lambda: ZZFeatureMap(2, reps=0), "reps is 0"),
        (lambda: ZZFeatureMap(2, entanglement="star"), "entanglement is 'star'"),  # type: ignore[arg-type]
        (lambda: ZZFeatureMap(2, phi="sum"), "phi is 'sum'"),  # type: ignore[arg-type]
        (lambda: ZZFeatureMap(2).states(torch.zeros(3, 4)), r"needs \[N, 2\]"),
        (lambda: FidelityKernel(shots=0), "shots is 0"),
        (lambda: VariationalClassifier(optimizer="sgd").fit([[0.0], [1.0]], [0, 1]), "'sgd'"),  # type: ignore[arg-type]
        (lambda: VariationalClassifier(optimizer="adam", shots=5).fit([[0.0], [1.0]], [0, 1]), "need 'spsa'"),
        (lambda: VariationalClassifier(depth=-1).fit([[0.0], [1.0]], [0, 1]), "depth is -1"),
    ],
)
def test_faults_are_sentences(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ZooInvalid, match=sentence):
        call()


def test_own_phases_and_empty_sets() -> None:
    own = ZZFeatureMap(2, phi=lambda a, b: (math.pi - a) * (math.pi - b))
    x = _angles(3, 2)
    assert torch.equal(own(x), ZZFeatureMap(2)(x))
    assert FidelityKernel()(x, x[:0]).shape == (3, 0)


@pytest.mark.parametrize(
    "estimator",
    [
        QSVC(),
        PegasosQSVC(random_state=0),
        VariationalClassifier(depth=1, n_steps=40, restarts=4, random_state=0),
    ],
    ids=["qsvc", "pegasos", "variational"],
)
def test_scikit_learn_takes_the_estimators(estimator: object) -> None:
    check_estimator(estimator)


def test_hot_operations_run() -> None:
    for operation in SYSTEM.operations:
        operation.function(*operation.arguments())
