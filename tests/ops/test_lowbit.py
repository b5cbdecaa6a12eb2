"""The public product: what is served, what falls back, gradients, and bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import QuantTensor, round_to_nearest, tile
from kernelwright.ops import _lowbit, lowbit_matmul


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def own_archive(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(home))


@pytest.fixture(scope="module")
def weight() -> QuantTensor:
    return round_to_nearest(torch.randn(48, 128, generator=torch.Generator().manual_seed(0)), "u4", 64)


def test_the_judge_accepts_it_and_it_is_found_again(weight: QuantTensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lowbit, "_kernels", {})  # other tests of this process have kernels of their own
    x, laid = torch.randn(3, 128), tile(weight)
    y = lowbit_matmul(x, laid)
    torch.testing.assert_close(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)
    (product,) = _lowbit._kernels
    outcome = _lowbit._kernels.pop(product).outcome
    verdicts = {trial.candidate.label: trial.verdict for trial in outcome.candidates}
    assert verdicts["lowbit"].accepted, verdicts["lowbit"].reason
    torch.testing.assert_close(lowbit_matmul(x, laid), y)
    assert _lowbit._kernels[product].outcome.from_archive


@pytest.mark.parametrize("shape", [(128,), (0, 128), (1, 128), (2, 3, 128), (600, 128), (2, 0, 128)])
def test_any_leading_shape(shape: tuple[int, ...], weight: QuantTensor) -> None:
    x = torch.randn(shape)
    y = lowbit_matmul(x, tile(weight))
    assert y.shape == (*shape[:-1], 48)
    torch.testing.assert_close(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)


def test_strided_activations(weight: QuantTensor) -> None:
    x = torch.randn(128, 5).T
    torch.testing.assert_close(lowbit_matmul(x, tile(weight)), x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_dequantised_product(weight: QuantTensor) -> None:
    x = torch.randn(4, 128, requires_grad=True)
    y = lowbit_matmul(x, tile(weight))
    cotangent = torch.randn_like(y)
    (got,) = torch.autograd.grad(y, x, cotangent)
    torch.testing.assert_close(got, cotangent @ weight.dequantize())


@pytest.mark.parametrize(("kind", "group"), [("e2m1", 60), ("e3m2", 2), ("u4", 20), ("i3", 4)])
def test_what_has_no_tiles_is_dequantised(kind: str, group: int) -> None:
    made = round_to_nearest(torch.randn(20, 60), kind, group)
    x = torch.randn(3, 60)
    torch.testing.assert_close(lowbit_matmul(x, made, activation="relu"), torch.relu(x @ made.dequantize().T))


def test_bad_arguments_get_a_sentence(weight: QuantTensor) -> None:
    x = torch.randn(3, 128)
    with pytest.raises(LowBitInvalid, match=r"x has shape \(3, 64\); its last axis must be the weight's 128"):
        lowbit_matmul(x[:, :64], weight)
    with pytest.raises(LowBitInvalid, match="qweight is a Tensor"):
        lowbit_matmul(x, torch.randn(48, 128))  # type: ignore[arg-type]
    with pytest.raises(LowBitInvalid, match="bias is"):
        lowbit_matmul(x, weight, torch.zeros(47))
    with pytest.raises(LowBitInvalid, match="activation is 'swish'"):
        lowbit_matmul(x, weight, activation="swish")
    with pytest.raises(LowBitInvalid, match=r"x is torch\.float64"):
        lowbit_matmul(x.double(), weight)
