"""Products with sign planes: searched for, judged, served and remembered like those of integers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import BinaryTensor, QuantTensor, binary_code, pack, tile_binary
from kernelwright.ops import _lowbit, lowbit_matmul


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def own_archive(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(home))


@pytest.fixture(scope="module")
def weight() -> BinaryTensor:
    return binary_code(torch.randn(48, 128, generator=torch.Generator().manual_seed(0)), 2, 64)


def test_the_judge_accepts_it_and_it_is_found_again(weight: BinaryTensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lowbit, "_kernels", {})  # other tests of this process have kernels of their own
    x, laid = torch.randn(3, 128), tile_binary(weight)
    y = lowbit_matmul(x, laid)
    torch.testing.assert_close(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)
    (product,) = _lowbit._kernels
    outcome = _lowbit._kernels.pop(product).outcome
    verdicts = {trial.candidate.label: trial.verdict for trial in outcome.candidates}
    assert verdicts["lut"].accepted, verdicts["lut"].reason
    torch.testing.assert_close(lowbit_matmul(x, laid), y)
    assert _lowbit._kernels[product].outcome.from_archive


@pytest.mark.parametrize("shape", [(128,), (0, 128), (1, 128), (2, 3, 128), (600, 128), (2, 0, 128)])
def test_any_leading_shape_of_a_weight_as_it_is_stored(shape: tuple[int, ...], weight: BinaryTensor) -> None:
    x = torch.randn(shape)
    y = lowbit_matmul(x, weight)
    assert y.shape == (*shape[:-1], 48)
    torch.testing.assert_close(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)


def test_strided_activations(weight: BinaryTensor) -> None:
    x = torch.randn(128, 5).T
    torch.testing.assert_close(lowbit_matmul(x, weight), x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_in_its_row(bad: float, weight: BinaryTensor) -> None:
    x = torch.randn(4, 128)
    x[2, 17] = bad
    y, want = lowbit_matmul(x, weight), x @ weight.dequantize().T
    assert not y[2].isfinite().any()
    torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_gradients_are_those_of_the_dequantised_product(weight: BinaryTensor) -> None:
    x, bias = torch.randn(4, 128, requires_grad=True), torch.randn(48, requires_grad=True)
    y = lowbit_matmul(x, weight, bias)
    torch.testing.assert_close(y, x @ weight.dequantize().T + bias, rtol=1e-4, atol=1e-4)
    cotangent = torch.randn_like(y)
    got = torch.autograd.grad(y, (x, bias), cotangent)
    torch.testing.assert_close(got[0], cotangent @ weight.dequantize(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], cotangent.sum(0))


def test_activations_of_sixteen_bits(weight: BinaryTensor) -> None:
    x = torch.randn(3, 128).bfloat16()
    y = lowbit_matmul(x, weight)
    assert y.dtype == torch.bfloat16
    want = x.double() @ weight.dequantize(torch.float64).T
    torch.testing.assert_close(y.double(), want, rtol=2 * torch.finfo(torch.bfloat16).eps, atol=1e-4)


def test_signs_of_a_quantised_tensor_are_a_plane() -> None:
    codes = torch.randint(0, 2, (48, 128), dtype=torch.uint8)
    weight = QuantTensor.of_codes(codes, torch.rand(48, 2) + 0.5, None, "sign")
    x = torch.randn(2, 128)
    torch.testing.assert_close(lowbit_matmul(x, weight), x @ weight.dequantize().T, rtol=1e-4, atol=1e-4)
    assert any(getattr(product, "bits", 0) == 1 for product in _lowbit._kernels)


def test_other_groups_are_dequantised_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lowbit, "_told", set())
    made, x = binary_code(torch.randn(20, 60), 3, 20), torch.randn(3, 60)
    for _ in range(2):
        torch.testing.assert_close(lowbit_matmul(x, made, None, "relu"), torch.relu(x @ made.dequantize().T))
    assert caplog.text.count("no tiles for 3 sign planes in groups of 20") == 1


def test_bad_arguments_get_a_sentence(weight: BinaryTensor) -> None:
    x = torch.randn(3, 128)
    with pytest.raises(LowBitInvalid, match=r"x has shape \(3, 64\); its last axis must be the weight's 128"):
        lowbit_matmul(x[:, :64], weight)
    with pytest.raises(LowBitInvalid, match="bias is"):
        lowbit_matmul(x, weight, torch.zeros(47))
    with pytest.raises(LowBitInvalid, match=r"x is torch\.float64"):
        lowbit_matmul(x.double(), weight)
    with pytest.raises(LowBitInvalid, match=r"x is torch\.int64"):
        lowbit_matmul(x.long(), binary_code(torch.randn(4, 128), 1, 64))
    planes = pack(torch.zeros(2, 4, 32, dtype=torch.uint8), 1)
    with pytest.raises(LowBitInvalid, match=r"alpha has shape \(1, 4, 1\)"):
        BinaryTensor(planes, torch.ones(1, 4, 1), None, (4, 32), 32)
    with pytest.raises(LowBitInvalid, match="alpha holds NaN or infinity"):
        BinaryTensor(planes, torch.full((2, 4, 1), torch.nan), None, (4, 32), 32)
    with pytest.raises(LowBitInvalid, match="0 sign planes"):
        BinaryTensor(planes[:0], torch.ones(0, 4, 1), None, (4, 32), 32)
    with pytest.raises(LowBitInvalid, match=r"alpha is torch\.int64"):
        BinaryTensor(planes, torch.ones(2, 4, 1, dtype=torch.int64), None, (4, 32), 32)
    with pytest.raises(LowBitInvalid, match=r"the weight has shape \(0, 32\)"):
        BinaryTensor(planes[:, :0], torch.ones(2, 0, 1), None, (0, 32), 32)
