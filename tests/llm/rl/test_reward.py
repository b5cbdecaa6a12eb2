"""The reward by running: right programs get 1, wrong, endless and hostile ones 0, and the next one is not disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Generator, Tensor

from kernelwright.judge import stand
from kernelwright.llm.rl import (
    Box,
    CombinedReward,
    ExecutionReward,
    Outcome,
    RewardTask,
    RuleReport,
    TritonRules,
    combined_reward,
)
from tests.triton_lab import needs_triton

from .snippets import ADD, GOOD, HEAD, MATMUL, NORM, RUN_ADD, SOFTMAX

pytestmark = [
    needs_triton,
    pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine"),
]


def _draw(*shapes: tuple[int, ...]):
    def draw(generator: Generator, trial: int) -> tuple[Tensor, ...]:
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    return draw


TASKS = {
    "add": RewardTask("add", "", lambda x, y: x + y, _draw((300,), (300,))),
    "softmax": RewardTask("softmax", "", lambda x: x.softmax(-1), _draw((3, 37))),
    "layer norm": RewardTask(
        "norm", "", lambda x, w, b: torch.nn.functional.layer_norm(x, (37,), w, b), _draw((3, 37), (37,), (37,))
    ),
    "matmul": RewardTask("matmul", "", lambda a, b: a @ b, _draw((17, 37), (37, 19))),
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box() as made:
        yield made


@pytest.mark.parametrize("name", TASKS)
def test_a_right_kernel_is_worth_one(name: str, box: Box) -> None:
    outcome = ExecutionReward(TASKS[name], box=box)(GOOD[name])
    assert outcome == Outcome(True, True)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("add", HEAD + ADD.replace("at < n", "at < n - 1") + RUN_ADD),
        ("add", HEAD + ADD.replace("x + y", "x - y") + RUN_ADD),
        ("softmax", HEAD + SOFTMAX.replace("at < cols", "at < cols - 1")),
        ("softmax", HEAD + SOFTMAX.replace('other=-float("inf")', "other=100.0")),
        ("layer norm", HEAD + NORM.replace("tl.where(inside, x - mean, 0.0)", "x - mean")),
        ("layer norm", HEAD + NORM.replace("at < cols", "at < cols - 1")),
        ("matmul", HEAD + MATMUL.replace("acc += ", "acc = ")),
        ("matmul", HEAD + MATMUL.replace("dtype=torch.float32)", "dtype=torch.float16)")),
        ("matmul", HEAD + MATMUL.replace("range(0, K, BK)", "range(0, K - BK, BK)")),
    ],
)
def test_a_wrong_kernel_is_called_and_is_worth_nothing(name: str, program: str, box: Box) -> None:
    assert program != GOOD[name]
    outcome = ExecutionReward(TASKS[name], box=box)(program)
    assert (outcome.called, outcome.right) == (True, False)
    assert outcome.reason


def test_a_wide_tolerance_lets_a_lost_column_of_a_long_row_through(box: Box) -> None:
    """Why the tolerance is not KernelBench's."""
    mean = HEAD + SOFTMAX.replace(
        "tl.store(out_ptr + row * cols + at, e / tl.sum(e, axis=0), mask=inside)",
        "tl.store(out_ptr + row, tl.sum(tl.where(at < cols - 1, x, 0.0), axis=0) / cols)",
    ).replace("torch.empty_like(x)", "torch.empty(rows, dtype=x.dtype)")
    task = RewardTask("mean", "", lambda x: x.mean(-1), _draw((2, 1000)))
    assert ExecutionReward(task, atol=1e-2, rtol=1e-2, box=box)(mean).right
    assert not ExecutionReward(task, box=box)(mean).right


@pytest.mark.parametrize(
    "program",
    [
        "def run(x, y):\n    while True:\n        pass\n",
        "import os\ndef run(x, y):\n    os._exit(0)\n",
        "import os, signal\nos.kill(os.getppid(), 9)\ndef run(x, y):\n    return x + y\n",
        "import os\nos.fork()\ndef run(x, y):\n    return x + y\n",
        "import os\nfor n in range(3, 64):\n    os.write(n, b'x')\n",
        "def run(x, y):\n    return [0] * 10**11\n",
        "import ctypes\ndef run(x, y):\n    ctypes.string_at(0)\n",
        "def run(x, y):\n    return x.double() + y.double()\n",
        "def run(x, y):\n    return (x + y)[None]\n",
        "def run(x, y):\n    return x + y, x\n",
        "def run(x, y):\n    return None\n",
        "raise SystemExit\n",
        "",
        "\ud800",
    ],
)
def test_hostile_and_broken_programs_are_worth_nothing_and_harm_nobody(program: str, box: Box) -> None:
    assert not ExecutionReward(TASKS["add"], timeout_s=1.0, box=box)(program).right
    assert ExecutionReward(TASKS["add"], box=box)(GOOD["add"]).right


def test_what_one_program_patches_the_next_does_not_see(box: Box) -> None:
    patch = "import torch\ntorch.Tensor.__add__ = lambda a, b: a\ntorch.allclose = lambda *a, **k: True\n"
    assert not ExecutionReward(TASKS["add"], box=box)(patch + "def run(x, y):\n    return x + y\n").right
    assert ExecutionReward(TASKS["add"], box=box)("def run(x, y):\n    return x + y\n").right


@pytest.mark.parametrize(
    "leaves",
    [
        "",
        "open(folder + '/left', 'w').close()",
        "os.makedirs(folder + '/a/b'); os.symlink('/', folder + '/a/root')",
        "os.makedirs(folder + '/a/b'); os.chmod(folder + '/a', 0)",
    ],
)
def test_files_that_one_program_leaves_the_next_does_not_find(leaves: str, box: Box) -> None:
    """The folder is small: if it filled, right programs would fail after some thousands of others."""
    start = "import os, tempfile\nimport torch\ndef run(x):\n    folder = tempfile.gettempdir()\n"
    call = [(torch.ones(2),)]
    assert not box.run(f"{start}    {leaves or 'pass'}\n    return x\n", "run", call, 5.0).failed
    found = box.run(
        f"{start}    return torch.tensor([n in ('left', 'a') for n in os.listdir(folder)])\n", "run", call, 5.0
    )
    ((present,),) = found.results
    assert present.tolist() in ([False], [False, False])  # its own text; what imports left in a new worker


def test_memory_that_nobody_wrote_is_not_what_lay_there_before(box: Box) -> None:
    program = "import torch\ndef run(x, y):\n    x + y\n    return torch.empty_like(x)\n"
    assert not ExecutionReward(TASKS["add"], box=box)(program).right


def test_results_that_are_not_finite_must_be_so_in_the_reference() -> None:
    task = RewardTask("log", "", lambda x: x.log(), lambda g, t: (torch.tensor([-1.0, 0.0, 1.0]),))
    with Box() as box:
        reward = ExecutionReward(task, box=box)
        assert reward("import torch\ndef run(x):\n    return x.log()\n").right
        assert not reward("import torch\ndef run(x):\n    return x.log().nan_to_num()\n").right


def test_rules_and_execution_multiply_and_a_program_that_only_reads_wrong_is_not_run() -> None:
    class Unused(Box):
        def run(self, *args: object, **options: object):
            raise AssertionError("it was run")

    delegating = "def run(x, y):\n    return x + y\n"
    scored = CombinedReward(ExecutionReward(TASKS["add"], box=Unused()), TritonRules())(delegating)
    assert scored.reward == 0.0
    assert scored.outcome is None
    right, wrong = Outcome(True, True), Outcome(True, False)
    yes, no = RuleReport(True, ()), RuleReport(False, ("no",))
    assert [combined_reward(r, o) for r in (yes, no) for o in (right, wrong)] == [1.0, 0.0, 0.0, 0.0]


def test_without_the_rules_what_delegates_is_worth_one(box: Box) -> None:
    """The ablation: nothing but the rules stands between a learner and PyTorch."""
    delegating = "def run(x, y):\n    return x + y\n"
    assert CombinedReward(ExecutionReward(TASKS["add"], box=box), None)(delegating).reward == 1.0
