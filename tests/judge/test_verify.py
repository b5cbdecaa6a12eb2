"""Honest candidates are accepted; each way of being wrong is rejected for its own reason and harms nobody else."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from kernelwright.judge import Session, judge, verdict_from_json
from kernelwright.judge._verify import choose_sizes
from kernelwright.targets import Candidate
from kernelwright.task import DynamicSize, from_callable

from .kernels import COLUMNS, EAGER, HONEST, ROWS, make, make_plan, make_task

WRONG = {
    "zeros": ("value", make(after="for (int64_t i = 0; i < total; ++i) y[i] = 0.f;")),
    "tail": ("nan", make(end="total - 1")),  # what was not written is poison
    "bias": ("value", make(bias="0.f")),
    "bias-of-the-neighbour": ("value", make(bias="b[(i + 1) % n]")),
    "one-element": ("value", make(after="y[total / 2] += 1e-3f;")),
    "nan-becomes-zero": ("nan", make(after="for (int64_t i = 0; i < total; ++i) if (!(y[i] == y[i])) y[i] = 0.f;")),
    "shape": ("shape", make(plan=make_plan(columns=COLUMNS + 1))),
    "dtype": ("dtype", make(plan=make_plan(dtype="float64"), end="0")),
    "input": ("input-mutated", make(after="x[3] = 0.f;")),
    "input-by-one-bit": ("input-mutated", make(after="((char*)x)[total] ^= 1;")),
    "first-call-remembered": (
        "unstable",
        make(after="for (int i = 0; i < total; ++i) if (calls == 4) y[i] = kept[i]; else kept[i] = y[i];"),
    ),
    "drifting": ("unstable", make(after="if (calls > 3) y[0] += 1.f;")),
    "writes-before-output": ("guard", make(after="((char*)y)[-1] = 0;")),
    "writes-behind-output": ("guard", make(after="y[total] = 0.f;")),
    "reads-behind-input": ("nan", make(after="y[0] = x[total] != x[total] ? x[total] : y[0];")),
    "refuses": ("shape", make(before="return kw::answer(result, 1);")),
    "no-compile": ("build", make(before="this is not C++;")),
    "abort": ("crash", make(before="abort();")),
    "segfault": ("crash", make(before="*(volatile int*)0 = 1;")),
    "exit": ("crash", make(before="_exit(0);")),
    "no-entry": ("crash", Candidate("cpu", "test", "#include <kw/abi.h>\n", make_plan())),
}  # fmt: skip


def test_honest_candidates_are_accepted(session: Session) -> None:
    for candidate in (HONEST, EAGER):
        verdict = session.verify(candidate)
        assert verdict.accepted, verdict.reason
        assert len(verdict.checks) >= 4
        assert max(check.error for check in verdict.checks) <= 1.0
        assert len({check.seed for check in verdict.checks}) == len(verdict.checks) - 1  # the first is repeated once


def test_a_verdict_states_determinism(session: Session) -> None:
    """Repeated calls agree bit by bit, or the verdict says that they do not: within the bound, that is no fault."""
    steady = session.verify(HONEST)
    assert steady.repeated >= 4
    assert steady.deterministic
    assert steady.determinism.startswith("Deterministic")
    restless = session.verify(make(after="y[5] *= 1.f + (calls & 1) * 1.2e-7f;"))
    assert restless.accepted, restless.reason
    assert restless.deterministic is False
    assert 0 < restless.varied < restless.repeated
    assert restless.determinism.startswith("Not deterministic")
    assert verdict_from_json(asdict(restless)) == restless
    rejected = session.verify(make(bias="0.f"))
    assert rejected.deterministic is None
    assert not rejected.determinism


@pytest.mark.parametrize("name", WRONG)
def test_wrong_candidates_are_rejected(session: Session, name: str) -> None:
    category, candidate = WRONG[name]
    verdict = session.verify(candidate)
    assert verdict.status == "rejected"
    assert verdict.category == category, verdict.reason
    assert verdict.reason.endswith(".")


def test_garbage_on_every_descriptor_only_costs_the_verdict(session: Session) -> None:
    loud = make(before='for (int fd = 0; fd < 64; ++fd) write(fd, "PASS accepted 1.0 {}", 20);')
    verdict = session.verify(loud)
    assert verdict.status == "rejected"
    assert verdict.category == "crash"
    assert session.verify(HONEST).accepted


def test_a_hang_is_a_timeout() -> None:
    with Session(make_task()) as session:
        assert session.verify(HONEST).accepted
        session.time_limit = 2.0
        verdict = session.verify(make(before="for (;;) usleep(1000);"))
        assert (verdict.status, verdict.category) == ("rejected", "timeout")
        session.time_limit = 60.0
        assert session.verify(HONEST).accepted


def test_a_memory_bomb_is_stopped() -> None:
    with Session(make_task(), time_limit=30.0, memory_limit=256 << 20) as session:
        bomb = "for (;;) { volatile char* p = (char*)malloc(4096); p[0] = p[4095] = 1; }"
        verdict = session.verify(make(before=bomb))
        assert (verdict.status, verdict.category) == ("rejected", "memory")


def test_sizes_of_a_box() -> None:
    box = (DynamicSize(0, 0, 1, 100),)
    honest, short = make(plan=make_plan(largest=100)), make(plan=make_plan(largest=ROWS))
    fixed = make(end=f"{ROWS * COLUMNS}", plan=make_plan(largest=100))
    with Session(make_task(box)) as session:
        verdict = session.verify(honest)
        assert verdict.accepted, verdict.reason
        assert any("dynamic sizes [100]" in check.structure for check in verdict.checks)
        assert session.verify(short).category == "shape"  # refuses 100 rows
        assert session.verify(fixed).status == "rejected"


def test_chosen_sizes_hold_the_corners_and_move_equal_dimensions_together() -> None:
    import random

    same = (DynamicSize(0, 0, 2, 9), DynamicSize(1, 1, 2, 9), DynamicSize(1, 0, 1, 4))
    points = choose_sizes(same, [5, 5, 3], random.Random(0))
    assert {0: 2, 1: 2, 2: 1} in points
    assert {0: 9, 1: 9, 2: 4} in points
    assert all(p[0] == p[1] for p in points)


class Norm(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def test_buffers_that_the_reference_changes_are_outputs_too() -> None:
    from kernelwright.targets import AtenCall, InputSpec, Plan, TensorSpec

    task = from_callable(Norm().train(), (torch.randn(16, 8),), name="norm")
    x, v = TensorSpec("x", (16, 8), "float32", (8, 1)), ("w", "b", "m", "s")
    names = dict(zip(v, ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"), strict=True))

    def plan(statistics: tuple[object, object]) -> Plan:
        state = tuple(InputSpec(("state", names[k]), TensorSpec(k, (8,), "float32", (1,))) for k in v)
        count = InputSpec(("state", "norm.num_batches_tracked"), TensorSpec("n", (), "int64", ()))
        args = ({"tensor": "x"}, {"tensor": "w"}, {"tensor": "b"}, *statistics, True, 0.1, 1e-5)
        return Plan(
            inputs=(InputSpec(("arg", 0), x), *state, count),
            buffers=(),
            steps=(
                AtenCall("aten.native_batch_norm.default", args, (), ("y", "", "")),
                AtenCall("aten.add.Scalar", ({"tensor": "n"}, 1), (), ("n1",)),
            ),
            results=("y",),
            mutations=(("n1", "norm.num_batches_tracked"),),
        )

    source = "#include <kw/abi.h>\n"
    with Session(task) as session:
        assert session.facts == {}
        honest = session.verify(Candidate("cpu", "test", source, plan(({"tensor": "m"}, {"tensor": "s"}))))
        assert honest.accepted, honest.reason
        forgetful = session.verify(Candidate("cpu", "test", source, plan((None, None))))
        assert forgetful.category == "value"
        assert "running_mean" in forgetful.reason


def test_judge_is_a_session_for_one_beside_others(session: Session) -> None:
    session.start()
    assert judge(make_task(), HONEST).accepted
    assert session.verify(HONEST).accepted
