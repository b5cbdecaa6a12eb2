"""Quantised layers inside models: results, saving and loading, training beside them, calibration."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import kernelwright.nn as kn
from kernelwright.errors import LowBitInvalid


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def own_archive(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(home))


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64))


def meant(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The same network with dequantised weights in PyTorch's own layers."""
    for layer in model:
        if isinstance(layer, kn.QuantLinear):
            x = torch.nn.functional.linear(x, layer.dequantize(), layer.bias)
        else:
            x = layer(x)
    return x


def test_a_model_computes_what_its_dequantised_weights_mean(model: torch.nn.Module) -> None:
    x = torch.randn(5, 64)
    made = kn.quantize(model, bits=4, group_size=32)
    assert made is model
    with torch.no_grad():
        for _ in range(2):  # the second call takes the quick way
            torch.testing.assert_close(model(x), meant(model, x), rtol=1e-4, atol=1e-4)


def test_fewer_bits_are_further_off(model: torch.nn.Module) -> None:
    x = torch.randn(50, 64)
    with torch.no_grad():
        before = model(x)
        errors = [
            float((meant(kn.quantize(copy.deepcopy(model), bits=bits, group_size=32), x) - before).square().mean())
            for bits in (8, 6, 4, 3, 2)
        ]
    assert errors == sorted(errors)


def test_a_model_of_sign_planes_computes_what_they_mean(model: torch.nn.Module) -> None:
    x = torch.randn(5, 64)
    made = kn.quantize(copy.deepcopy(model), bits=2, group_size=32, method="binary")
    assert made[0].tiled
    with torch.no_grad():
        for _ in range(2):  # the second call takes the quick way
            torch.testing.assert_close(made(x), meant(made, x), rtol=1e-4, atol=1e-4)
    worse = kn.quantize(copy.deepcopy(model), bits=2, group_size=32)

    def off(other: torch.nn.Module) -> float:
        return float((other[0].dequantize() - model[0].weight.detach()).square().mean())

    assert off(made) < 0.8 * off(worse)


def test_sign_planes_in_odd_groups_are_dequantised() -> None:
    layer = torch.nn.Linear(48, 8)
    made = kn.quantize(layer, bits=1, group_size=24, method="binary")
    x = torch.randn(3, 48, requires_grad=True)
    y = made(x)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, made.dequantize(), layer.bias))
    y.sum().backward()
    torch.testing.assert_close(x.grad, made.dequantize().sum(0).expand(3, -1))


@pytest.mark.parametrize("options", [{"bits": 4}, {"bits": 2, "method": "binary"}], ids=["integers", "planes"])
@pytest.mark.parametrize("how", ["torch", "safetensors"])
def test_saving_and_loading(model: torch.nn.Module, tmp_path: Path, how: str, options: dict) -> None:
    other = kn.quantize(copy.deepcopy(model), group_size=32, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    kn.quantize(model, group_size=32, **options)
    if how == "torch":
        torch.save(model.state_dict(), tmp_path / "model")
        other.load_state_dict(torch.load(tmp_path / "model"))
    else:
        safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        safetensors.save_file(model.state_dict(), tmp_path / "model")
        other.load_state_dict(safetensors.load_file(tmp_path / "model"))
    x = torch.randn(3, 64)
    with torch.no_grad():
        assert torch.equal(model(x), other(x))


def test_adapters_train_beside_frozen_weights(model: torch.nn.Module) -> None:
    kn.quantize(model, bits=4, group_size=32)
    adapter = torch.nn.Linear(64, 64, bias=False)
    x = torch.randn(5, 64)
    loss = model(adapter(x)).square().sum()
    loss.backward()
    inner = adapter(x).detach().requires_grad_()
    meant(model, inner).square().sum().backward()
    torch.testing.assert_close(adapter.weight.grad, inner.grad.T @ x, rtol=1e-3, atol=1e-3)


def test_calibration_makes_the_outputs_better(model: torch.nn.Module) -> None:
    mix = torch.randn(64, 64) * torch.linspace(0.1, 3, 64)
    data = [torch.randn(64, 64) @ mix for _ in range(4)]

    def off(made: torch.nn.Module) -> float:
        return float(sum((meant(made, x) - model(x)).square().mean() for x in data))

    with torch.no_grad():
        plain = off(kn.quantize(copy.deepcopy(model), bits=3, group_size=32))
        better = off(kn.quantize(copy.deepcopy(model), bits=3, group_size=32, method="gptq", calibration=data))
    assert better < 0.8 * plain


@pytest.mark.parametrize("method", ["clip", "half-quadratic"])
def test_methods_without_data_make_the_weights_better(method: str, model: torch.nn.Module) -> None:
    plain = kn.quantize(copy.deepcopy(model), bits=3, group_size=32)
    better = kn.quantize(copy.deepcopy(model), bits=3, group_size=32, method=method)

    def off(made: torch.nn.Module) -> float:
        return float((made[0].dequantize() - model[0].weight).abs().mean())

    assert off(better) < off(plain)


def test_layers_may_be_left_and_odd_sizes_take_whole_rows(caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(48, 8), "lm_head": torch.nn.Linear(8, 8)})
    kn.quantize(model, group_size=32)
    assert isinstance(model["lm_head"], torch.nn.Linear)
    assert model["body"].group_size == 48
    assert "body has 48 inputs, no multiple of group_size 32" in caplog.text


def test_a_bare_layer_is_replaced() -> None:
    assert isinstance(kn.quantize(torch.nn.Linear(32, 8), group_size=32), kn.QuantLinear)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "awq"}, "method is 'awq', which is none of nearest"),
        ({"bits": 1}, "bits is 1; weights are quantised to 2 to 8 bits, to one bit by method 'binary'"),
        ({"bits": 9, "method": "binary"}, "bits is 9; weights are quantised to 1 to 8 bits"),
        ({"kind": "u4", "method": "binary"}, "kind is 'u4'; method 'binary' has sign planes"),
        ({"method": "gptq"}, "calibration is None"),
        ({"kind": "e9m9"}, "dtype is 'e9m9'"),
    ],
)
def test_bad_options_get_a_sentence(change: dict, sentence: str, model: torch.nn.Module) -> None:
    with pytest.raises(LowBitInvalid, match=sentence):
        kn.quantize(model, **{"group_size": 32, **change})
