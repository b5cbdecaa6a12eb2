"""``torch.compile(backend="kernelwright")``: the same numbers as eager, in training and inference."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from kernelwright.backend import _find, _serve
from kernelwright.backend import kernelwright as backend
from kernelwright.backend._graph import Argument, Draw, split
from kernelwright.backend._propose import Proposer
from kernelwright.backend._workers import session_for
from kernelwright.errors import OptionInvalid
from kernelwright.judge import Verdict
from kernelwright.search import EAGER, Outcome, _drive
from kernelwright.task import AtenGraph, from_callable

ARCHIVE = "archive.sqlite"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Serve every graph's first candidate without judging it: what is tested is the way there and back."""
    names: list[str] = []

    def first(core: Any, inputs: Any, name: str, **how: Any) -> Outcome:
        candidate = next(iter(Proposer(core, inputs, name).propose(1)), EAGER)
        names.append(f"{name.split(' of ')[0]}: {candidate.target}")
        task = _find.task_of(core, inputs, name, how["backward"])
        return Outcome(task, "won", candidate, Verdict("accepted"), None, (), 0.0, "", False, None)

    monkeypatch.setattr(_serve, "find", first)
    return names


def train(model: nn.Module, inputs: list[Any], compile_: Callable[..., Any], steps: int = 4) -> list[float]:
    """Losses of some steps of SGD; the model ends trained."""
    torch.manual_seed(7)
    run = compile_(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = run(*inputs).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def compiled(model: Any, **options: Any) -> Any:
    return torch.compile(model, backend="kernelwright", **({"options": options} if options else {}))


def check_training(model: nn.Module, *inputs: Any, tolerance: float = 1e-4) -> nn.Module:
    """Same losses, gradients and state as eager; returns the trained model."""
    twin = copy.deepcopy(model)
    expected = train(twin, list(inputs), lambda m: m)
    losses = train(model, list(inputs), compiled)
    assert losses == pytest.approx(expected, rel=tolerance)
    for (name, mine), (_, its) in zip(model.state_dict().items(), twin.state_dict().items(), strict=True):
        torch.testing.assert_close(mine, its, rtol=10 * tolerance, atol=tolerance, msg=name)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert mine.grad.stride() == its.grad.stride()
    return model


class Block(nn.Module):
    """A small transformer: embedding, attention, norm, GELU."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(17, width)
        self.norm, self.mix, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        b, t, d = x.shape
        q, k, v = self.mix(self.norm(x)).view(b, t, 3, 4, d // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm(x))))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


# ── graphs of models ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_name_is_registered() -> None:
    assert "kernelwright" in torch._dynamo.list_backends()


def test_transformer_trains_like_eager(served: list[str]) -> None:
    check_training(Block(), torch.randint(17, (2, 16)))
    assert served == ["forward graph: cpu", "backward graph: cpu"]


def test_conv_net_trains_like_eager_and_updates_its_running_statistics(served: list[str]) -> None:
    model = check_training(conv_net(), torch.randn(4, 3, 12, 12))
    assert served == ["forward graph: cpu", "backward graph: cpu"]
    assert int(model[1].num_batches_tracked) == 4  # type: ignore[index, arg-type]


def test_a_loss_inside_the_graph(served: list[str]) -> None:
    layer, x, y = nn.Linear(6, 9), torch.randn(37, 6), torch.randint(9, (37,))
    twin = copy.deepcopy(layer)
    compiled(lambda x, y: F.cross_entropy(layer(x), y))(x, y).backward()
    F.cross_entropy(twin(x), y).backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)
    assert served == ["forward graph: cpu", "backward graph: cpu"]


def test_evaluation_after_training(served: list[str]) -> None:
    model, x = conv_net(), torch.randn(4, 3, 12, 12)
    run = compiled(model)
    run(x).sum().backward()
    model.eval()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            torch.testing.assert_close(run(x), model(x))
    assert served[2:] == ["graph: cpu"] * 2


def test_channels_last_keeps_its_layout(served: list[str]) -> None:
    model = conv_net()[:3].to(memory_format=torch.channels_last)  # type: ignore[index]
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected, got = copy.deepcopy(model)(x), compiled(model)(x)
    torch.testing.assert_close(got, expected)
    assert got.stride() == expected.stride()


def test_dropout_draws_eagers_own_numbers(served: list[str]) -> None:
    check_training(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.4), nn.ReLU(), nn.Dropout(0.2)), torch.randn(16, 8))
    assert served == ["forward graph: cpu", "backward graph: cpu"]


def test_other_sizes_are_served_by_kernels_of_their_own(served: list[str]) -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.GELU())
    run = compiled(model)
    with torch.no_grad():
        for rows in (3, 5, 7, 5, 3):
            x = torch.randn(rows, 16)
            torch.testing.assert_close(run(x), model(x))
    assert len(served) <= 4  # the second size makes Dynamo's sizes symbolic, in a new graph; no size is searched twice


def test_a_limit_of_sizes_keeps_the_rest_as_it_is(served: list[str], caplog: pytest.LogCaptureFixture) -> None:
    run = torch.compile(lambda x: F.silu(x) * 2, backend="kernelwright", dynamic=True, options={"sizes": 2})
    with torch.no_grad(), caplog.at_level(logging.WARNING, "kernelwright"):
        for rows in (3, 4, 5, 6):
            torch.testing.assert_close(run(torch.ones(rows, 16)), F.silu(torch.ones(rows, 16)) * 2)
    assert len(served) == 2
    assert ["sets of sizes" in record.message for record in caplog.records] == [True]


def test_graph_breaks_make_several_graphs(served: list[str]) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x) + 1
        torch._dynamo.graph_break()
        return y.softmax(-1)

    x = torch.randn(4, 8)
    torch.testing.assert_close(compiled(fn)(x), fn(x))
    assert served == ["graph: cpu"] * 2


# ── what is returned ─────────────────────────────────────────────────────────────────────────────────────────────


def test_results_may_be_inputs_views_numbers_and_nothing(served: list[str]) -> None:
    def fn(x: torch.Tensor, n: int) -> tuple[Any, ...]:
        y = torch.exp(x)
        return x, x.t(), y, y[1:], y.t(), n + 1, None, y.sum().expand(3), y

    x = torch.randn(4, 6)
    expected, got = fn(x, 2), compiled(fn)(x, 2)
    for mine, its in zip(got, expected, strict=True):
        if isinstance(its, torch.Tensor):
            torch.testing.assert_close(mine, its)
            assert mine.stride() == its.stride()
        else:
            assert mine == its
    assert got[1].data_ptr() == x.data_ptr()
    assert got[3].data_ptr() == got[2].data_ptr() + 6 * 4


def test_inputs_are_changed_in_place(served: list[str]) -> None:
    def fn(x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        total.add_(x.sum(0))
        x[:, 0] = 1.0
        return x * total

    a, b = (torch.randn(4, 6), torch.zeros(6)), None
    b = tuple(t.clone() for t in a)
    torch.testing.assert_close(compiled(fn)(*a), fn(*b))
    torch.testing.assert_close(a, b)


def test_several_threads_share_a_graph(served: list[str]) -> None:
    def fn(x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.softmax(x * 2, -1),)

    x, results = torch.randn(64, 33), []
    graph = make_fx(fn, tracing_mode="fake")(x)
    run = _serve.Served(graph, "graph", False, _serve.Options())
    threads = [threading.Thread(target=lambda: results.extend(run([x])[0] for _ in range(20))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served == ["graph: cpu"]
    assert len(results) == 60
    for got in results:
        torch.testing.assert_close(got, fn(x)[0])


# ── what is not served ───────────────────────────────────────────────────────────────────────────────────────────


def test_randomness_from_computed_probabilities_stays_eager(
    served: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.bernoulli(torch.sigmoid(x)) * x

    x, run = torch.randn(64), compiled(fn)
    with caplog.at_level(logging.WARNING, "kernelwright"):
        for seed in (1, 2):
            torch.manual_seed(seed)
            got = run(x)
            torch.manual_seed(seed)
            torch.testing.assert_close(got, fn(x))
    assert served == []
    assert len(caplog.records) == 1
    assert "depend on computed values" in caplog.text


def test_random_tensors_are_drawn_in_order_outside_the_kernel(served: list[str]) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand_like(x) + torch.randn(5) + F.dropout(x, 0.3)

    x, run = torch.randn(4, 5), compiled(fn)
    for seed in (1, 2):
        torch.manual_seed(seed)
        got, after = run(x), torch.rand(1)
        torch.manual_seed(seed)
        torch.testing.assert_close(got, fn(x))
        torch.testing.assert_close(after, torch.rand(1))
    assert served == ["graph: cpu"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"speed": 1}, "Option 'speed' does not exist: choose among effort, budget, sizes, archive."),
        ({"effort": "huge"}, "effort is 'huge': choose one of quick, balanced, full."),
        ({"budget": -1}, "budget is -1; it must be a positive number of seconds."),
        ({"sizes": 0}, "sizes is 0; it must be a whole number of at least 1."),
        ({"archive": 3}, "archive is 3; it must be the path of one."),
    ],
)
def test_options_are_checked(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionInvalid, match=sentence.replace("(", r"\(")):
        backend(torch.fx.symbolic_trace(nn.ReLU()), [torch.ones(2)], options=options)


# ── the search ───────────────────────────────────────────────────────────────────────────────────────────────────


def _core(fn: Callable[..., Any], *inputs: Any) -> Any:
    return split(fn, inputs)


def test_keys_name_the_computation_and_its_forms_alone() -> None:
    def fn(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ w) * 2

    key = _core(fn, torch.randn(3, 4), torch.randn(4, 5)).key
    assert _core(fn, torch.zeros(3, 4), torch.ones(4, 5)).key == key
    assert _core(fn, torch.randn(3, 4), torch.randn(5, 4).t()).key != key
    assert _core(fn, torch.randn(2, 4), torch.randn(4, 5)).key != key
    assert _core(lambda x, w: torch.relu(x @ w) * 3, torch.randn(3, 4), torch.randn(4, 5)).key != key


def test_the_core_leaves_views_and_unused_inputs_outside() -> None:
    def fn(x: torch.Tensor, unused: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
        mask = torch.rand_like(x) > 0.5
        y = torch.where(mask, x, n)
        return x.view(-1), y, y.t()

    core = _core(fn, torch.randn(3, 4), torch.randn(2), 7)
    assert len(core.outputs) == 1
    assert core.feeds[0] == Argument(0)
    assert isinstance(core.feeds[1], Draw)
    assert [result.of_input for result in core.results] == [True, False, False]
    again = AtenGraph.of(core.graph)
    x, drawn = torch.randn(3, 4), torch.rand(3, 4)
    torch.testing.assert_close(copy.deepcopy(again)(x, drawn), (torch.where(drawn > 0.5, x, 7.0),))


def test_judged_served_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: worker processes, verdicts, the archive; the second model needs no search."""
    searched: list[str] = []
    original = _drive._Search.run

    def counted(self: Any, *arguments: Any) -> None:
        searched.append(self.task.name)
        original(self, *arguments)

    monkeypatch.setattr(_drive._Search, "run", counted)
    for _ in range(2):
        torch._dynamo.reset()
        model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Softmax(-1))
        twin, x = copy.deepcopy(model), torch.randn(256, 32)
        expected = train(twin, [x], lambda m: m)
        losses = train(model, [x], lambda m: compiled(m, archive=str(tmp_path / ARCHIVE), effort="quick"))
        assert losses == pytest.approx(expected, rel=1e-4)
    assert [name.split(" of ")[0] for name in searched] == ["forward graph", "backward graph"]


def test_one_pair_of_processes_judges_one_graph_after_the_other() -> None:
    tasks = [
        from_callable(lambda x: torch.relu(x) + 1, (torch.randn(4, 5),), name="first"),
        from_callable(lambda x, y: torch.exp(x) @ y, (torch.randn(3, 7), torch.randn(7, 2)), name="second"),
    ]
    seen, processes = [], []
    for task in tasks:
        with session_for(task) as session:
            verdict = session.verify(EAGER)
            assert verdict.accepted, verdict.reason
            assert session.facts["output_bytes"] == {"first": 80, "second": 24}[task.name]
            seen.append(session)
            processes.append(session.candidate_process)
    assert seen[0] is seen[1]
    assert processes[0] == processes[1]


def test_a_wrong_kernel_is_rejected_and_the_graph_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    emit = Proposer._emit

    def broken(self: Proposer, keep: frozenset[str]) -> Any:
        found = emit(self, keep)
        assert found is not None
        assert "1.5" in found.source
        return replace(found, source=found.source.replace("1.5", "1.25"))

    monkeypatch.setattr(Proposer, "_emit", broken)
    x = torch.randn(32, 32)
    run = compiled(lambda x: torch.relu(x) * 1.5, archive=str(tmp_path / ARCHIVE))
    with caplog.at_level(logging.INFO, "kernelwright"):
        torch.testing.assert_close(run(x), torch.relu(x) * 1.5)
    assert "baseline, eager is served" in caplog.text
    assert "output 0" in caplog.text.lower()
