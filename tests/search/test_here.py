"""Which device a kernel is made for and runs on, told without a GPU; other tensors run the user's own code."""

from __future__ import annotations

import logging

import pytest
import torch

from kernelwright.errors import KernelwrightError, OutsideDomain
from kernelwright.machine import Device
from kernelwright.search import _here
from kernelwright.search._here import can_time, device_of, on_cpu, sessions_for, state_on, target_for, target_here
from kernelwright.search._kernel import Kernel
from kernelwright.search._memory import machine_of, toolchain_of
from kernelwright.search._outcome import Outcome
from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, TensorSpec
from kernelwright.targets.cpu import Launcher
from kernelwright.task import from_callable
from tests.triton_lab import needs_triton

GPU = Device("NVIDIA H200", 90, 132, 150 << 30, 60 << 20)


def plan() -> Plan:
    x, y = TensorSpec("x", (3,), "float32", (1,)), TensorSpec("y", (3,), "float32", (1,))
    return Plan((InputSpec(("arg", 0), x),), (y,), (EntryCall("k0", ("x", "y")),), ("y",))


def on_gpu_zero() -> Launcher:
    """A kernel for a GPU that nothing here can launch."""

    def k0(x: torch.Tensor, y: torch.Tensor) -> None:
        raise AssertionError("launched")

    return Launcher(plan(), {"k0": k0}, {}, torch.empty_strided, blind=True, device="cuda:0")


def test_without_a_gpu_the_cpu_is_the_target_and_a_gpus_kernels_are_not_timed():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert target_here() == "cpu"
    assert can_time("cpu")
    assert not can_time("triton")


@needs_triton
def test_with_a_gpu_triton_is_the_target_and_the_gpu_names_the_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_here, "find_device", lambda: GPU)
    assert target_here() == "triton"
    assert can_time("triton")
    assert sessions_for("triton").keywords == {"device": "cuda"}  # type: ignore[attr-defined]
    assert sessions_for("cpu").keywords == {"device": "cpu"}  # type: ignore[attr-defined]
    monkeypatch.setattr("kernelwright.search._memory.find_device", lambda: GPU)
    name, about = machine_of("triton")
    assert name.startswith("nvidia-h200-")
    assert about["gpu"]["sms"] == 132
    assert toolchain_of("triton").endswith("run on sm_90")
    assert machine_of("cpu")[0] != name
    assert "gpu" not in machine_of("cpu")[1]


def test_a_gpus_fingerprint_is_of_what_decides_speed():
    same = Device("NVIDIA H200", 90, 132, (150 << 30) + 5, 60 << 20)
    assert same.fingerprint == GPU.fingerprint
    assert Device("NVIDIA H200", 90, 114, 150 << 30, 60 << 20).fingerprint != GPU.fingerprint


def test_the_device_of_the_inputs_decides_when_nobody_says():
    assert target_for((torch.ones(2), [torch.ones(1)])) == "cpu"
    assert (device_of("triton"), device_of("cuda"), device_of("cpu")) == ("cuda", "cuda", "cpu")


def test_what_lies_on_the_cpu_is_not_copied():
    model, x = torch.nn.Linear(2, 2), torch.ones(2)
    call, (same,) = on_cpu(model, (x,))
    assert call is model
    assert same is x
    state = dict(model.named_parameters())
    assert state_on(state, "cpu")["weight"] is model.weight


def test_what_lies_elsewhere_is_copied():
    model = torch.nn.Linear(2, 2, device="meta")
    assert all(
        t.device.type == "meta" for t in state_on(dict(torch.nn.Linear(2, 2).named_parameters()), "meta").values()
    )
    with pytest.raises(NotImplementedError):  # torch has no values to copy, which shows that it was asked
        on_cpu(model, (torch.ones(2),))


def test_a_kernel_for_a_gpu_refuses_tensors_of_the_cpu():
    with pytest.raises(OutsideDomain, match="is on cpu, but the kernel was made for cuda:0"):
        on_gpu_zero().call(torch.ones(3))


def test_and_the_user_gets_what_their_own_code_gives(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    task = from_callable(torch.square, (torch.ones(3),), name="square")
    winner = Candidate("triton", "compiler", "source", plan(), "compiler")
    about = {"verdict": None, "measurement": None, "candidates": (), "seconds": 0.0, "from_archive": False}
    outcome = Outcome(task=task, status="won", winner=winner, reason="", cost=None, **about)  # type: ignore[arg-type]
    monkeypatch.setattr("kernelwright.search._kernel.load", lambda *args: on_gpu_zero().call)
    kernel = Kernel(outcome, torch.square, {})
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        assert torch.equal(kernel(torch.full((3,), 3.0)), torch.full((3,), 9.0))
        kernel(torch.ones(3))
    assert len(caplog.records) == 1
    assert "running your own code: A tensor is on cpu" in caplog.text


def test_a_kernel_for_the_cpu_refuses_tensors_of_another_device():
    launcher = Launcher(plan(), {"k0": lambda x, y: None}, {}, torch.empty_strided, blind=True)
    with pytest.raises(OutsideDomain, match="is on meta, but the kernel was made for cpu"):
        launcher.call(torch.ones(5, device="meta"))


@needs_triton
def test_without_a_gpu_nothing_is_served_and_one_sentence_says_why():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    import kernelwright

    with pytest.raises(KernelwrightError, match="no GPU here to time it on"):
        kernelwright.generate(torch.square, (torch.randn(8),), target="triton", effort="quick", budget=60.0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
