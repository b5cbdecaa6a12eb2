"""Recurrent layers: the input projection of all steps is one contraction, the rest a loop over time.

The gates are torch's, in torch's order: LSTM input, forget, cell, output; GRU reset, update, new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..program import Acc, Expr, Index, Map, Recur, Reduce, Size, Store
from ._builder import require
from ._driver import Lowering, lowers, strides_of
from ._lazy import Lazy, cast, compute, const, op, same
from .contractions import contract
from .views import permuted

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True)
class _Weights:
    """Of one layer in one direction; biases may be missing, ``project`` is there for LSTMs with ``proj_size``."""

    input: Lazy
    state: Lazy
    input_bias: Lazy | None
    state_bias: Lazy | None
    project: Lazy | None


@lowers("lstm")
def lstm(
    low: Lowering, input: Lazy, hx: list[Lazy], params: list[Lazy], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
) -> list[Lazy]:  # fmt: skip
    require(not (train and dropout), "dropout between layers")
    return _Layers(low, "lstm", params, has_biases, num_layers, bidirectional, batch_first).run(input, hx)


def _one_state(kind: str) -> Callable[..., list[Lazy]]:
    def handler(
        low: Lowering, input: Lazy, hx: Lazy, params: list[Lazy], has_biases: bool, num_layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> list[Lazy]:  # fmt: skip
        require(not (train and dropout), "dropout between layers")
        return _Layers(low, kind, params, has_biases, num_layers, bidirectional, batch_first).run(input, [hx])

    return handler


for _kind in ("gru", "rnn_tanh", "rnn_relu"):
    lowers(_kind)(_one_state(_kind))


class _Layers:
    """One call of a recurrent operator: its layers, each in one or two directions."""

    def __init__(
        self, low: Lowering, kind: str, params: list[Lazy], biases: bool, layers: int, bidirectional: bool,
        batch_first: bool,
    ) -> None:  # fmt: skip
        # The overload for packed sequences has other arguments in these places.
        require(isinstance(layers, int) and isinstance(params, list), "a packed sequence")
        self.low, self.kind, self.gates = low, kind, _GATES[kind]
        self.layers, self.directions, self.batch_first = layers, 1 + bidirectional, batch_first
        shape, self.dtype = low.val_of(0)
        self.compute = compute(self.dtype)
        require(len(shape) == 3 and self.compute in ("float32", "float64"), "this input")
        each = len(params) // (layers * self.directions)
        require(each - 2 - 2 * biases in (0, 1), "these parameters")
        self.weights = [_weights(params[k : k + each], biases) for k in range(0, len(params), each)]
        self.steps, self.rows = (shape[1], shape[0]) if batch_first else (shape[0], shape[1])
        self.width = self.weights[0].state.shape[1]  # of what a layer hands on
        self.units = _divided(self.weights[0].state.shape[0], self.gates)
        require(isinstance(self.width, int) and self.units > 1 and self.width > 1, "a single hidden unit")
        require(not any(same(s, 0) for s in shape), "an empty sequence")

    def run(self, input: Lazy, initial: list[Lazy]) -> list[Lazy]:
        """The output sequence and the last states, as the operator returns them."""
        low = self.low
        finals = [low.tensor(*low.val_of(1 + k)) for k in range(len(initial))]
        sequence = permuted(input, (1, 0, 2)) if self.batch_first else input
        for layer in range(self.layers):
            shape = (self.steps, self.rows, self.width * self.directions)
            if layer == self.layers - 1:
                out = low.tensor(*low.val_of(0), strides_of(low.val[0]))
                following = permuted(out, (1, 0, 2)) if self.batch_first else out
            else:
                out = following = low.tensor(shape, self.dtype)
            for direction in range(self.directions):
                number = layer * self.directions + direction
                states = self._states(initial, number)
                self._loop(sequence, states, following, number, direction)
                for state, final in zip(states, finals, strict=True):
                    low.store(state, final, lambda i, n=number: (Index.const(n), *i))  # type: ignore[misc]
            sequence = following
        return [out, *finals]

    def _states(self, initial: list[Lazy], number: int) -> list[Lazy]:
        """The states of one layer and direction, at their first values."""
        low = self.low
        states = []
        for value in initial:
            shape = (self.rows, value.shape[2])
            first = Lazy(shape, value.dtype, lambda i, v=value: v.at((Index.const(number), *i)))  # type: ignore[misc]
            states.append(low.store(first, low.tensor(shape, self.compute)))
        return states

    def _loop(self, sequence: Lazy, states: list[Lazy], out: Lazy, number: int, direction: int) -> None:
        """All steps of one layer in one direction; ``out`` is (step, row, unit), with the directions side by side."""
        low, weights = self.low, self.weights[number]
        known = self._projected(sequence, weights)
        step = low.axis(self.steps)
        time = Index() if same(self.steps, 1) else Index.axis(step.name)
        body: list[Map | Reduce] = [self._product(states[0], weights.state)]
        products = low.lazy(body[0].store.tensor)
        bias = weights.state_bias if self.kind == "gru" else None

        def gate(k: int, row: Index, unit: Index) -> tuple[Expr, Expr]:
            """What does not depend on the state, and what does."""
            column = unit + k * self.units
            product = products.at((row, column))
            if bias is not None:
                product = op("add", product, cast(bias.at((column,)), self.compute))
            return known.at((time, row, column)), product

        if self.kind == "lstm":
            body += self._lstm(states, gate, weights)
        elif self.kind == "gru":
            body.append(self._map(states[0], lambda r, u: _gru(gate, states[0].at((r, u)), r, u)))
        else:
            body.append(self._map(states[0], lambda r, u: _plain(self.kind, *gate(0, r, u))))
        strided = out.strided
        assert strided is not None
        axes, (row, unit) = low.axes((self.rows, self.width))
        at = (time, row, unit + direction * self.width)
        place = (at[1], at[0], at[2]) if low.tensors[strided.base].shape != out.shape or self._turned(out) else at
        value = cast(states[0].at((row, unit)), self.dtype)
        body.append(Map(axes, value, Store(strided.base, place)))
        low.statements.append(Recur(step, tuple(body), bool(direction)))

    def _turned(self, out: Lazy) -> bool:
        """Whether the sequence is a view of a tensor with rows first."""
        return self.low.name_of(out) is None

    def _projected(self, sequence: Lazy, weights: _Weights) -> Lazy:
        """What the inputs of all steps add to the gates: one contraction. Only a GRU's reset comes between biases."""
        biases = [weights.input_bias] if self.kind == "gru" else [weights.input_bias, weights.state_bias]

        def finish(acc: Expr, index: tuple[Index, ...]) -> Expr:
            for bias in biases:
                if bias is not None:
                    acc = op("add", acc, cast(bias.at((index[2],)), self.compute))
            return acc

        return contract(self.low, sequence, weights.input, "tbk", "nk", "tbn", self.compute, finish)

    def _product(self, state: Lazy, weight: Lazy, into: Lazy | None = None) -> Reduce:
        """The state's rows times a weight's."""
        low = self.low
        out = into or low.tensor((self.rows, weight.shape[0]), self.compute)
        axes, (row, unit) = low.axes((self.rows, weight.shape[0]))
        raxes, (depth,) = low.axes((weight.shape[1],))
        value = op("mul", state.at((row, depth)), cast(low.operand(weight).at((unit, depth)), self.compute))
        name = low.name_of(out)
        assert name is not None
        return Reduce(axes, raxes, "sum", value, Store(name, (row, unit)), Acc(self.compute))

    def _map(self, target: Lazy, value: Callable[[Index, Index], Expr]) -> Map:
        axes, (row, unit) = self.low.axes(target.shape)
        name = self.low.name_of(target)
        assert name is not None
        return Map(axes, value(row, unit), Store(name, (row, unit)))

    def _lstm(self, states: list[Lazy], gate: Gate, weights: _Weights) -> list[Map | Reduce]:
        hidden, cell = states

        def remembered(r: Index, u: Index) -> Expr:
            enter, forget, new = (op("add", *gate(k, r, u)) for k in range(3))
            kept = op("mul", op("sigmoid", forget), cell.at((r, u)))
            return op("add", kept, op("mul", op("sigmoid", enter), op("tanh", new)))

        def shown(r: Index, u: Index) -> Expr:
            return op("mul", op("sigmoid", op("add", *gate(3, r, u))), op("tanh", cell.at((r, u))))

        body: list[Map | Reduce] = [self._map(cell, remembered)]
        if weights.project is None:
            return [*body, self._map(hidden, shown)]
        wide = self.low.tensor((self.rows, self.units), self.compute)
        return [*body, self._map(wide, shown), self._product(wide, weights.project, hidden)]


Gate = Callable[[int, Index, Index], tuple[Expr, Expr]]


def _gru(gate: Gate, before: Expr, row: Index, unit: Index) -> Expr:
    reset, update = (op("sigmoid", op("add", *gate(k, row, unit))) for k in range(2))
    known, product = gate(2, row, unit)
    new = op("tanh", op("add", known, op("mul", reset, product)))
    return op("add", op("mul", update, op("sub", before, new)), new)


def _plain(kind: str, known: Expr, product: Expr) -> Expr:
    total = op("add", known, product)
    return op("tanh", total) if kind == "rnn_tanh" else op("maximum", total, const(0.0, total.dtype))


def _weights(params: list[Lazy], biases: bool) -> _Weights:
    given: list[Lazy | None] = list(params[2:])
    first, second = (given.pop(0), given.pop(0)) if biases else (None, None)
    return _Weights(params[0], params[1], first, second, given[0] if given else None)


def _divided(size: Size, parts: int) -> int:
    require(isinstance(size, int) and size % parts == 0, "sizes that vary")
    return int(size) // parts
