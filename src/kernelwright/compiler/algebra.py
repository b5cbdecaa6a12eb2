"""Algebra that removes work. Every rewrite is exact in real arithmetic and linear in what it moves."""

from __future__ import annotations

from dataclasses import replace

from ._dataflow import Flow, rewrite, root, substitute
from ._fallback import Fresh, instead
from .program import Acc, Const, Expr, Index, Iota, Load, Map, Op, Program, Reduce
from .sizes import same


def select_instead_of_multiply(program: Program) -> Program:
    """A sum over k of something that is 0 unless k = f(axes) is that something at f(axes).

    This makes a product with a diagonal matrix a row scaling and a product with a one-hot matrix a selection.
    """
    flow = Flow.of(program)
    for position, statement in enumerate(program.statements):
        if isinstance(statement, Reduce) and statement.op == "sum" and len(statement.raxes) == 1 and not statement.when:
            selected = _selected(program, flow, statement, position)
            if selected is not None:
                return select_instead_of_multiply(instead(program, Fresh(program), position, statement, selected))
    return program


def _selected(program: Program, flow: Flow, statement: Reduce, position: int) -> Expr | None:
    """What the sum is, over the statement's own axes."""
    value = statement.value
    if not isinstance(value, Op) or value.name != "mul":
        return None
    for mine, other in (value.args, value.args[::-1]):
        found = _indicator(_seen_through(program, flow, mine, position), statement)
        if found is not None:
            at, kept = found
            return substitute(Op("mul", (kept, other), value.dtype), {statement.raxes[0].name: at})
    return None


def _seen_through(program: Program, flow: Flow, expr: Expr, position: int) -> Expr:
    """A load of a temporary that one Map fills, as that Map's value at the load's index."""
    if not isinstance(expr, Load) or expr.fill is not None:
        return expr
    writers = flow.writers.get(root(program, expr.tensor), ())
    if len(writers) != 1 or writers[0] >= position:
        return expr
    producer = program.statements[writers[0]]
    if not isinstance(producer, Map) or producer.store.tensor != expr.tensor:
        return expr
    bindings = {}
    for written, read in zip(producer.store.index, expr.index, strict=True):
        if len(written.terms) == 1 and written == Index.axis(str(written.terms[0][0])):
            bindings[str(written.terms[0][0])] = read
        elif written.terms:
            return expr
    return substitute(producer.value, bindings)


def _indicator(expr: Expr, statement: Reduce) -> tuple[Index, Expr] | None:
    """From where(r == f, kept, 0), with r the summed axis: f and kept."""
    if not isinstance(expr, Op) or expr.name != "where":
        return None
    condition, kept, zero = expr.args
    if not (isinstance(zero, Const) and zero.value == 0):
        return None
    if not (isinstance(condition, Op) and condition.name == "eq"):
        return None
    raxis = statement.raxes[0]
    for mine, other in (condition.args, condition.args[::-1]):
        if not (isinstance(mine, Iota) and mine.index == Index.axis(raxis.name)) or not isinstance(other, Iota):
            continue
        names = [t for t, _ in other.index.terms]
        sizes = [a.size for a in statement.axes if [a.name] == names]
        # f must stay inside the summed range: one axis of the same size does.
        if sizes and same(sizes[0], raxis.size) and other.index == Index.axis(str(names[0])):
            return other.index, kept
    return None


# ── scalings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def hoist_scalings(program: Program) -> Program:
    """A contraction of (x scaled by what is constant along the sum) is a scaled contraction of x: a pass less.

    The softmax's division moves behind the product with the values, a row scaling behind the matrix product.
    """
    flow = Flow.of(program)
    for position, statement in enumerate(program.statements):
        if isinstance(statement, Reduce) and statement.op == "sum":
            hoisted = _hoisted(program, flow, statement, position)
            if hoisted is not None:
                statements = (*program.statements[:position], hoisted, *program.statements[position + 1 :])
                return hoist_scalings(replace(program, statements=statements))
    return program


def _hoisted(program: Program, flow: Flow, statement: Reduce, position: int) -> Reduce | None:
    value = statement.value
    if not (isinstance(value, Op) and value.name == "mul" and value.dtype in ("float32", "float64")):
        return None
    for side, operand in enumerate(value.args):
        if not isinstance(operand, Load) or operand.fill not in (None, 0):
            continue
        readers = flow.readers.get(root(program, operand.tensor), ())
        if program.tensors[operand.tensor].role != "temp" or readers != (position,):
            continue
        scaled = _scaled(_seen_through(program, flow, replace(operand, fill=None), position), statement)
        if scaled is None:
            continue
        inner, scale, how = scaled
        if operand.fill is not None:
            if scale.axes() or program.tensors[inner.tensor].shape != program.tensors[operand.tensor].shape:
                continue
            inner = replace(inner, fill=0.0)
        args = (inner, value.args[1]) if side == 0 else (value.args[0], inner)

        def fn(node: Expr, scale: Expr = scale, how: str = how) -> Expr | None:
            return Op(how, (node, scale), node.dtype) if isinstance(node, Acc) else None

        return replace(statement, value=replace(value, args=args), epilogue=rewrite(statement.epilogue, fn))
    return None


def _scaled(expr: Expr, statement: Reduce) -> tuple[Load, Expr, str] | None:
    """From x * s or x / s, with x an affine load and s free of the summed axes: x, s and the operation."""
    if not isinstance(expr, Op) or expr.name not in ("mul", "div"):
        return None
    raxes = {a.name for a in statement.raxes}
    orders = [expr.args, expr.args[::-1]] if expr.name == "mul" else [expr.args]
    for inner, scale in orders:
        plain = isinstance(inner, Load) and inner.fill is None and all(i.is_affine for i in inner.index)
        if plain and inner.dtype == expr.dtype and not scale.axes() & raxes:
            assert isinstance(inner, Load)
            return inner, scale, expr.name
    return None


__all__ = ["hoist_scalings", "select_instead_of_multiply"]
