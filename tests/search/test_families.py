"""A family of operations that ATen does better is left to it, and the rest of the graph stays generated."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kernelwright.compiler import prepare
from kernelwright.search._compiler import CompilerProposer
from kernelwright.search._families import families
from kernelwright.targets import AtenCall, Candidate, EntryCall, load


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.point = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(3))
        self.depth = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=8) for _ in range(2))
        self.dense = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (*self.point, *self.depth):
            x = F.relu(layer(x))
        x = F.softmax(x.mean((2, 3)), -1)
        for layer in self.dense:
            x = F.gelu(layer(x))
        return x


def proposer(model: nn.Module) -> CompilerProposer:
    return CompilerProposer(prepare(model, (torch.randn(2, 8, 6, 6),)), "net")


def calls(candidate: Candidate, name: str) -> int:
    assert candidate.plan is not None
    return sum(isinstance(step, AtenCall) and name in step.op for step in candidate.plan.steps)


def test_a_small_graph_has_no_families() -> None:
    prepared = prepare(nn.Linear(8, 8), (torch.randn(2, 8),))
    assert families(prepared) == []


def test_families_are_tried_one_at_a_time_on_top_of_the_best() -> None:
    search = proposer(Net())
    costs = {"compiler": 1.0, "convolution": 0.5, "product": 0.8, "one point": 0.4}
    seen = []
    while len(batch := search.propose(2)) == 1:
        found = batch[0]
        if found.label != "compiler" and "/aten=" not in found.label:
            break
        seen.append((found.label, calls(found, "convolution"), calls(found, "addmm") + calls(found, "linear")))
        search.feedback(found, next((c for k, c in reversed(costs.items()) if found.label.endswith(k)), 0.9))
        if len(seen) == 5:
            break
    assert seen[0] == ("compiler", 0, 0)
    assert seen[1] == ("compiler/aten=convolution", 5, 0)
    assert seen[2] == ("compiler/aten=convolution+product", 5, 2)
    assert seen[3] == ("compiler/aten=convolution of groups", 2, 0)  # the other kind is generated again
    assert seen[4] == ("compiler/aten=convolution of one point", 3, 0)


def test_what_is_left_to_aten_computes_the_same() -> None:
    torch.manual_seed(0)
    model, x = Net(), torch.randn(2, 8, 6, 6)
    search = proposer(model)
    search.propose(1)
    found = search.propose(1)[0]
    assert found.plan is not None
    assert any(isinstance(step, EntryCall) for step in found.plan.steps)
    with torch.no_grad():
        torch.testing.assert_close(load(found, model, dict(model.named_parameters()))(x), model(x))


def test_an_earlier_winner_is_the_centre_of_a_later_search() -> None:
    model = Net()
    first = proposer(model)
    first.propose(1)
    kept = first.propose(1)[0]
    later = proposer(model)
    later.propose(1)
    later.feedback(kept, 0.1)
    assert later.propose(1)[0].label == "compiler/aten=convolution+product"
