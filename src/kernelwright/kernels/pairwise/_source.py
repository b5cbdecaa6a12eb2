"""The C++ of a reduction over pairs: a formula printed as the struct that ``kw/pairwise_reduce.h`` builds on."""

from __future__ import annotations

from ._blocked import Reduction
from ._program import Program, Step

_TEXT = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sqrt": "kw::sqrt({0})",
    "inverse_root": "kw::select(kw::eq({0}, V{{}}), V{{}}, kw::rsqrt({0}))",
    "at_least": "kw::from_mask<V>(kw::ge({0}, {1}))",
    **{
        name: f"kw::{name}({{0}})"
        for name in ("exp", "log", "cos", "sin", "acos", "asin", "atan", "tanh", "abs", "sign")
    },
    **{name: f"kw::{name}({{0}}, {{1}})" for name in ("maximum", "minimum")},
}


def pair_leaves(program: Program) -> list[tuple[int, bool]]:
    """Of each inner product or distance: its set of points, and whether it is a distance."""
    return [(int(step.value), step.op == "sqdist") for step in program.steps if step.op in ("inner", "sqdist")]


def names(reduction: Reduction) -> list[str]:
    """The tensors of a kernel in the order of its parameters: inputs, then results."""
    program = reduction.program
    made = [f"{side}{slot}" for slot in range(program.sets) for side in "xz"]
    made += [f"row{slot}" for slot in range(program.rows)] + [f"col{slot}" for slot in range(program.cols)]
    given = {"sum": ["v"], "both": ["v", "u"]}.get(reduction.kind, [])
    more = {"both": ["back"], "largest": ["places"], "smallest": ["places"]}.get(reduction.kind, [])
    return [*made, *["params"] * bool(program.params), *given, "out", *more]


def source(reduction: Reduction, dtype: str, threads: int) -> str:
    """The whole source. ``dtype`` is "float" or "double"; at most ``threads`` threads have room in the workspace."""
    program, listed = reduction.program, names(reduction)
    turned = reduction.kind == "dense"  # lanes are columns then, so that rows of the result are contiguous
    checks = "\n".join(_check(reduction, position, name, dtype) for position, name in enumerate(listed))
    depths = "\n".join(
        f"  const kw::Tensor* set{s} = kw::tensor(args[{2 * s}]);\n"
        f"  if (!set{s} || set{s}->ndim != 2) return kw::answer(result, {2 * s + 1});\n"
        f"  const int64_t d{s} = set{s}->shape[1];"
        for s in range(program.sets)
    )
    left, right = ("z", "x") if turned else ("x", "z")
    rows, cols = ("col", "row") if turned else ("row", "col")
    bound = [f"  call.points[{s}] = {{{left}{s}, {right}{s}, d{s}}};" for s in range(program.sets)]
    bound += [f"  call.{side}[{k}] = {name}{k};" for side, name, count in (
        ("row", rows, program.cols if turned else program.rows),
        ("col", cols, program.rows if turned else program.cols),
    ) for k in range(count)]  # fmt: skip
    if program.params:
        bound.append("  call.param = params;")
    if reduction.kind == "both":
        bound.append(f"  auto* partial = reinterpret_cast<{dtype}*>(workspace);")
        bound.append("  workspace += threads * m * kw::W * sizeof(*partial);")
    return f"""\
// A reduction over pairs of points, by kernelwright
#include <kw/abi.h>
#include <kw/pairwise_reduce.h>

{_formula(program, dtype, turned)}

extern "C" KW_EXPORT int __tvm_ffi_reduce(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {{
  if (count != {len(listed) + 1}) return kw::answer(result, {len(listed) + 2});
  const kw::Tensor *first = kw::tensor(args[0]), *second = kw::tensor(args[1]);
  if (!first || first->ndim != 2) return kw::answer(result, 1);
  if (!second || second->ndim != 2) return kw::answer(result, 2);
  const int64_t n = first->shape[0], m = second->shape[0];
{depths}
{_right_hand_sides(reduction, listed)}{checks}
  char* workspace = kw::data(kw::tensor(args[{len(listed)}]));
  kw::pairwise::Call<Formula> call{{}};
  const int threads = kw::min({threads}, kw::max_threads());
  call.n = {"m" if turned else "n"};
  call.m = {"n" if turned else "m"};
{chr(10).join(bound)}
  kw::pairwise::run(call, {_reduction(reduction)}, workspace, threads);
  return kw::answer(result, 0);
}}
"""


def _right_hand_sides(reduction: Reduction, listed: list[str]) -> str:
    if reduction.kind != "sum":
        return ""
    at = listed.index("v")
    return f"""\
  const kw::Tensor* weights = kw::tensor(args[{at}]);
  if (!weights || weights->ndim != 2) return kw::answer(result, {at + 1});
  const int64_t r = weights->shape[1];
"""


def _reduction(reduction: Reduction) -> str:
    if reduction.kind in ("largest", "smallest"):
        most = str(reduction.kind == "largest").lower()
        return f"kw::pairwise::Best<Formula, {reduction.k}, {most}>{{out, places}}"
    return {
        "sum": "kw::pairwise::Sum<Formula>{v, r, out}",
        "both": "kw::pairwise::Both<Formula>{v, u, out, back, partial, n, m}",
        "logsumexp": "kw::pairwise::LogSumExp<Formula>{out}",
        "dense": "kw::pairwise::Matrix<Formula>{out, m}",
    }[reduction.kind]


def _formula(program: Program, dtype: str, turned: bool) -> str:
    leaves = pair_leaves(program)
    counts = (program.cols, program.rows) if turned else (program.rows, program.cols)
    lines = []
    seen = 0
    for number, step in enumerate(program.steps):
        pair = seen if step.op in ("inner", "sqdist") else -1
        seen += pair >= 0
        lines.append(f"    const V v{number} = {_value(step, pair, turned)};")
    sets, far = ", ".join(str(s) for s, _ in leaves), ", ".join(str(d).lower() for _, d in leaves)
    return f"""\
struct Formula {{
  typedef {dtype} T;
  typedef kw::vec_t<T> V;
  static constexpr int SETS = {program.sets}, ROWS = {counts[0]}, COLS = {counts[1]}, PARAMS = {program.params};
  static constexpr int PAIRS = {len(leaves)}, SET[] = {{{sets}}};
  static constexpr bool DISTANCE[] = {{{far}}};
  static KW_INLINE V value(const V* pair, const V* row, const V* col, const V* param) {{
{chr(10).join(lines)}
    return v{len(program.steps) - 1};
  }}
}};"""


def _value(step: Step, pair: int, turned: bool) -> str:
    if pair >= 0:
        return f"pair[{pair}]"
    if step.op in ("row", "col"):
        side = {"row": "col", "col": "row"}[step.op] if turned else step.op
        return f"{side}[{int(step.value)}]"
    if step.op == "param":
        return f"param[{int(step.value)}]"
    if step.op == "const":
        return f"kw::splat<V>(T({step.value.hex()}))"
    args = [f"v{arg}" for arg in step.args]
    return _power(args[0], int(step.value)) if step.op == "pow" else _TEXT[step.op].format(*args)


def _power(name: str, exponent: int) -> str:
    """By squaring, as an expression."""
    if exponent < 0:
        return f"kw::reciprocal({_power(name, -exponent)})"
    if exponent == 1:
        return name
    half = _power(name, exponent // 2)
    square = f"[](V a) {{ return a * a; }}({half})"
    return f"({square} * {name})" if exponent % 2 else square


def _check(reduction: Reduction, position: int, name: str, dtype: str) -> str:
    """The lines that look at an argument and give it its C name."""
    k = reduction.k
    shapes = {
        "params": (f"{reduction.program.params}", "1"),
        "v": ("m, r", "r, 1") if reduction.kind == "sum" else ("m, 1", "1, 1"),
        "u": ("n, 1", "1, 1"),
        "back": ("m, 1", "1, 1"),
        "places": (f"n, {k}", f"{k}, 1"),
        "out": {
            "sum": ("n, r", "r, 1"),
            "both": ("n, 1", "1, 1"),
            "logsumexp": ("n", "1"),
            "dense": ("n, m", "m, 1"),
        }.get(reduction.kind, (f"n, {k}", f"{k}, 1")),
    }
    default = ("n" if name.startswith("row") else "m", "1")
    if name[0] in "xz":
        default = (f"{'n' if name[0] == 'x' else 'm'}, d{name[1:]}", f"d{name[1:]}, 1")
    shape, strides = shapes.get(name, default)
    kind, code = ("int64_t", "kInt64") if name == "places" else (dtype, "kFloat32" if dtype == "float" else "kFloat64")
    const = "" if name in ("out", "back", "places") else "const "
    return f"""\
  const int64_t {name}_shape[] = {{{shape}}}, {name}_strides[] = {{{strides}}};
  if (!kw::matches(kw::tensor(args[{position}]), kw::{code}, {shape.count(",") + 1}, {name}_shape, {name}_strides))
    return kw::answer(result, {position + 1});
  auto* {name} = reinterpret_cast<{const}{kind}*>(kw::data(kw::tensor(args[{position}])));"""
