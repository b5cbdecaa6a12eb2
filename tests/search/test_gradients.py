"""Kernels with gradients from end to end: searched, judged, served, kept, and never lost behind a kernel without."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kernelwright
from kernelwright.archive import Archive
from kernelwright.report import render_html
from kernelwright.search import EFFORTS, Kernel
from kernelwright.targets import Candidate


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(33, 65)
        self.norm = nn.LayerNorm(65)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return torch.nn.functional.gelu(self.norm(self.linear(x))) * scale


X, SCALE = torch.randn(70, 33, requires_grad=True), torch.rand(65)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, saved = tmp_path_factory.mktemp("home"), dict(EFFORTS)
    EFFORTS["quick"] = dataclasses.replace(EFFORTS["quick"], rivals=(), glance=0.1, final=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(folder))
        patch.chdir(folder)
        yield folder
    EFFORTS.update(saved)


@pytest.fixture(scope="module")
def layer() -> Layer:
    torch.manual_seed(0)
    return Layer()


@pytest.fixture(scope="module")
def kernel(layer: Layer) -> Kernel:
    return kernelwright.generate(layer, (X, SCALE), effort="quick", budget=120.0, name="layer")


def compiled(kernel: Kernel) -> Candidate:
    return next(t.candidate for t in kernel.outcome.candidates if t.candidate.proposer == "compiler")


@pytest.fixture(scope="module")
def serving(kernel: Kernel, layer: Layer) -> Kernel:
    """One that serves the generated candidate, whoever is faster on a busy machine."""
    outcome = dataclasses.replace(kernel.outcome, winner=compiled(kernel), proof=None)
    return Kernel(outcome, layer, dict(layer.named_parameters()))


def gradients(run: object, layer: Layer, x: Tensor, scale: Tensor, cotangent: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    result = run(x, scale)  # type: ignore[operator]
    found = torch.autograd.grad(result, [x, *layer.parameters()], cotangent)
    return [result.detach(), *found]


def test_the_generated_candidate_is_accepted_and_measured(kernel: Kernel) -> None:
    trial = next(t for t in kernel.outcome.candidates if t.candidate.proposer == "compiler")
    assert trial.verdict.accepted, trial.verdict.reason
    assert trial.measurement is not None
    assert trial.candidate.plan is not None
    assert trial.candidate.plan.backward is not None
    assert trial.candidate.plan.backward.sources[0] == ("arg", 0)  # not in the scale, which asks for none


def test_its_results_carry_gradients_that_are_autograds(serving: Kernel, layer: Layer) -> None:
    cotangent = torch.randn(70, 65)
    mine = gradients(serving, layer, X, SCALE, cotangent)
    truth = gradients(layer, layer, X, SCALE, cotangent)
    torch.testing.assert_close(mine, truth, rtol=1e-4, atol=1e-4)
    assert "Apply" in type(serving(X, SCALE).grad_fn).__name__
    with torch.no_grad():
        torch.testing.assert_close(serving(X, SCALE), layer(X, SCALE), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "scale"),
    [(X, SCALE.clone().requires_grad_()), (torch.randn(71, 33, requires_grad=True), SCALE)],
    ids=["another input asks", "another size"],
)
def test_what_it_has_no_gradients_for_runs_the_users_own_code(
    serving: Kernel, layer: Layer, x: Tensor, scale: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="kernelwright"):
        result = serving(x, scale)
    assert "running your own code" in caplog.text
    cotangent = torch.randn_like(result)
    asked = [t for t in (x, scale) if t.requires_grad]
    found = torch.autograd.grad(result, asked, cotangent)
    torch.testing.assert_close(found, torch.autograd.grad(layer(x, scale), asked, cotangent))


def test_what_is_proved_is_kept_and_shown(kernel: Kernel, serving: Kernel, layer: Layer) -> None:
    assert "indices proved" in serving.explain()
    again = kernelwright.generate(layer, (X, SCALE), effort="quick", name="layer")
    assert again.outcome.from_archive
    if kernel.outcome.status != "won":
        return
    assert kernel.outcome.proof is not None
    assert again.outcome.proof == kernel.outcome.proof
    assert "Indices proved: inside" in render_html(again.outcome)
    with Archive() as archive:
        assert archive.proof(compiled(kernel).digest) == kernel.outcome.proof


def test_without_gradients_it_is_another_task(layer: Layer, kernel: Kernel) -> None:
    plain = kernelwright.generate(layer, (X, SCALE), effort="quick", budget=60.0, name="layer", gradients=False)
    assert plain.outcome.task.digest != kernel.outcome.task.digest
    assert all(t.candidate.plan is None or t.candidate.plan.backward is None for t in plain.outcome.candidates)
    assert plain(X, SCALE).requires_grad  # by the user's own code
