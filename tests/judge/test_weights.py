"""Parameters are inputs: a kernel that was made for the values they had is refused, whatever those were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kernelwright.errors import InputsInvalid
from kernelwright.judge import Session
from kernelwright.judge._reference import Runner
from kernelwright.judge._weights import LAWS, redraw_state
from kernelwright.targets import AtenCall, Candidate, InputSpec, Plan, TensorSpec
from kernelwright.task import Reference, from_callable, module_state


class Norm(torch.nn.Module):
    """In the state of its birth: weight 1, bias 0, mean 0, variance 1."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(8, eps=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def batch_norm(ignored: str) -> Candidate:
    """Inference of :class:`Norm` that takes one parameter for what it was; "" for none."""
    names = {"w": "weight", "b": "bias", "m": "running_mean", "s": "running_var"}
    spec = {k: TensorSpec(k, (8,), "float32", (1,)) for k in names}
    inputs = [InputSpec(("arg", 0), TensorSpec("x", (16, 8), "float32", (8, 1)))]
    inputs += [InputSpec(("state", f"norm.{name}"), spec[k]) for k, name in names.items()]
    w, b, m, s = ({"tensor": k} for k in names)
    steps: list[AtenCall] = []
    if ignored in ("running_mean", "running_var"):  # the operator wants both
        op, source, made = ("mul", m, "zero") if ignored == "running_mean" else ("div", s, "one")
        other = 0.0 if op == "mul" else source
        overload = "Scalar" if op == "mul" else "Tensor"
        steps.append(AtenCall(f"aten.{op}.{overload}", (source, other), (), (made,)))
        m, s = ({"tensor": "zero"}, s) if op == "mul" else (m, {"tensor": "one"})
    args = (
        {"tensor": "x"}, None if ignored == "weight" else w, None if ignored == "bias" else b, m, s, False, 0.1, 0.0,
    )  # fmt: skip
    steps.append(AtenCall("aten.native_batch_norm.default", args, (), ("y", "", "")))
    plan = Plan(inputs=tuple(inputs), buffers=(), steps=tuple(steps), results=("y",))
    return Candidate("cpu", "test", "#include <kw/abi.h>\n", plan, label=ignored or "honest")


@pytest.fixture(scope="module")
def session(home: None) -> Session:
    with Session(from_callable(Norm().eval(), (torch.randn(16, 8),), name="norm")) as session:
        yield session


def test_parameters_that_are_used_are_judged_as_inputs(session: Session) -> None:
    verdict = session.verify(batch_norm(""))
    assert verdict.accepted, verdict.reason
    assert any("other parameters" in check.structure for check in verdict.checks)


@pytest.mark.parametrize("ignored", ["weight", "bias", "running_mean", "running_var"])
def test_parameters_that_are_ignored_are_missed(session: Session, ignored: str) -> None:
    verdict = session.verify(batch_norm(ignored))
    assert (verdict.status, verdict.category) == ("rejected", "value")
    assert "other parameters" in verdict.reason


def test_timing_happens_with_the_tasks_own_parameters(session: Session) -> None:
    assert session.verify(batch_norm("bias")).status == "rejected"
    assert session.measure(batch_norm(""), [Candidate("eager", "baseline", "", None, label="eager")], seconds=0.2)


@pytest.mark.parametrize("law", LAWS)
def test_a_redraw_keeps_what_makes_the_reference_well_defined(law: str) -> None:
    torch.manual_seed(0)
    tied = torch.randn(6, 5)
    given = {
        "bias": torch.zeros(40), "norm.running_var": torch.zeros(40), "gain": torch.full((40,), 2.0),
        "half": torch.ones(7, dtype=torch.bfloat16), "a.weight": tied, "b.weight": tied,
        "mask": torch.ones(5, 5).tril(), "hidden": torch.where(torch.ones(4, 4).tril() == 1, 0.0, -torch.inf),
        "offsets": torch.tensor([0, 3, 3, 9]), "on": torch.tensor([True, False]), "codes": torch.randint(0, 99, (50,)),
        "none": torch.zeros(0),
    }  # fmt: skip
    before = {name: tensor.clone() for name, tensor in given.items()}
    new = redraw_state(given, law, 5)
    assert all(torch.equal(given[n], before[n]) for n in given)
    assert {n: (t.shape, t.dtype, t.stride()) for n, t in new.items()} == {
        n: (t.shape, t.dtype, t.stride()) for n, t in given.items()
    }
    assert (new["norm.running_var"] > 0).all()
    assert (new["gain"] > 0).all()
    for name in ("bias", "gain", "half"):
        assert new[name].unique().numel() > 1
    for name in ("mask", "hidden", "offsets", "on"):
        assert torch.equal(new[name], given[name])
    assert torch.equal(new["codes"].sort().values, given["codes"].sort().values)
    assert torch.equal(new["a.weight"], new["b.weight"])
    assert torch.equal(new["a.weight"], tied) == (law == "kept")
    assert torch.equal(redraw_state(given, law, 5)["bias"], new["bias"])
    assert not torch.equal(redraw_state(given, law, 6)["bias"], new["bias"])


class Fragile(torch.nn.Module):
    def __init__(self, value: torch.Tensor, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.p = torch.nn.Parameter(value)
        self.call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x, self.p)


def only_its_own(x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    return x if torch.equal(p, torch.arange(0.0, 8.0) ** 2 / 7) else x / 0 * 0


@pytest.mark.parametrize(
    ("value", "call", "law"),
    [
        (torch.randn(8, 8), lambda x, p: x @ p, "lively"),
        (torch.rand(8) + 0.1, lambda x, p: x * p.log(), "lively"),  # resampled in its range
        (torch.linspace(-0.5, 0.5, 64).view(8, 8), lambda x, p: (x @ p) / (p.abs().amax() <= 0.5), "near"),
        (torch.arange(0.0, 8.0) ** 2 / 7, only_its_own, ""),
    ],
)
def test_the_boldest_law_that_the_reference_stands(
    value: torch.Tensor, call: Callable[..., torch.Tensor], law: str
) -> None:
    module = Fragile(value.clone(), call)
    x = torch.randn(3, 8)
    runner = Runner(Reference(module, lambda seed, structure: (x,), module_state(module)))
    runner.discover((x,), 1)
    if law:
        runner.use_state(9, (x,))
        assert not torch.equal(module.p, value)
    else:
        with pytest.raises(InputsInvalid):
            runner.use_state(9, (x,))
    assert runner.state.law == law
    runner.use_state(0)
    assert torch.equal(module.p, value)
