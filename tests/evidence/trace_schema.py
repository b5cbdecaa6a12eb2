"""The FlashInfer Trace schema as its documentation states it: what an object must hold, and what it must not."""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from typing import Any

DTYPES = {
    *("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1"),
    *("int64", "int32", "int16", "int8", "bool"),
}  # fmt: skip
LANGUAGES = {"python", "triton", "cpp", "cuda", "tilelang"}
STATUSES = {
    *("PASSED", "INCORRECT_SHAPE", "INCORRECT_NUMERICAL", "INCORRECT_DTYPE"),
    *("RUNTIME_ERROR", "COMPILE_ERROR", "TIMEOUT"),
}  # fmt: skip


def check_definition(d: dict[str, Any]) -> None:
    _keys(d, {"name", "op_type", "axes", "inputs", "outputs", "reference"}, {"tags", "description", "constraints"})
    assert d["name"]
    assert d["op_type"]
    for axis in d["axes"].values():
        _keys(axis, {"type"}, {"value", "description"})
        assert axis["type"] in ("const", "var")
        assert axis["type"] == "var" or (type(axis["value"]) is int and axis["value"] >= 0)
    assert not d["inputs"].keys() & d["outputs"].keys()
    for tensor in (*d["inputs"].values(), *d["outputs"].values()):
        _keys(tensor, {"shape", "dtype"}, {"description"})
        assert tensor["dtype"] in DTYPES
        assert tensor["shape"] is None or all(axis in d["axes"] for axis in tensor["shape"])
    functions = {f.name: f for f in ast.parse(d["reference"]).body if isinstance(f, ast.FunctionDef)}
    assert [a.arg for a in functions["run"].args.args] == list(d["inputs"])


def check_solution(s: dict[str, Any], definition: dict[str, Any]) -> None:
    _keys(s, {"name", "definition", "author", "spec", "sources"}, {"description"})
    assert s["definition"] == definition["name"]
    _keys(
        s["spec"],
        {"language", "target_hardware", "entry_point"},
        {"destination_passing_style", "binding", "dependencies"},
    )
    assert s["spec"]["language"] in LANGUAGES
    assert s["spec"]["target_hardware"]
    path, function = s["spec"]["entry_point"].split("::")
    sources = {source["path"]: source["content"] for source in s["sources"]}
    assert len(sources) == len(s["sources"])
    assert all(not PurePosixPath(p).is_absolute() and ".." not in PurePosixPath(p).parts for p in sources)
    functions = {f.name: f for f in ast.parse(sources[path]).body if isinstance(f, ast.FunctionDef)}
    assert [a.arg for a in functions[function].args.args] == list(definition["inputs"])


def check_trace(t: dict[str, Any], definition: dict[str, Any], solution: dict[str, Any] | None) -> None:
    _keys(t, {"definition", "workload"}, {"solution", "evaluation"})
    assert t["definition"] == definition["name"]
    workload = t["workload"]
    _keys(workload, {"uuid", "axes", "inputs"}, set())
    assert workload["axes"].keys() == {name for name, axis in definition["axes"].items() if axis["type"] == "var"}
    assert workload["inputs"].keys() == definition["inputs"].keys()
    for name, source in workload["inputs"].items():
        scalar = definition["inputs"][name]["shape"] is None
        assert source["type"] == ("scalar" if scalar else "random")
        assert not scalar or isinstance(source["value"], int | float)
    assert (t.get("solution") is None) == (t.get("evaluation") is None) == (solution is None)
    if solution is not None:
        assert t["solution"] == solution["name"]
        _check_evaluation(t["evaluation"])


def _check_evaluation(e: dict[str, Any]) -> None:
    _keys(e, {"status", "log", "correctness", "performance", "environment", "timestamp"}, set())
    assert e["status"] in STATUSES
    assert (e["correctness"] is not None) == (e["status"] in ("PASSED", "INCORRECT_NUMERICAL"))
    assert (e["performance"] is not None) == (e["status"] == "PASSED")
    _keys(e["correctness"], {"max_relative_error", "max_absolute_error"}, {"extra"})
    for name in ("max_relative_error", "max_absolute_error"):
        error = float(e["correctness"][name])
        assert error != error or error >= 0  # NaN: not taken
    _keys(e["performance"], {"latency_ms", "reference_latency_ms", "speedup_factor"}, set())
    assert all(value >= 0 for value in e["performance"].values())
    _keys(e["environment"], {"hardware", "libs"}, set())
    assert e["environment"]["hardware"]
    assert all(isinstance(version, str) for version in e["environment"]["libs"].values())
    assert e["timestamp"]


def _keys(content: dict[str, Any], needed: set[str], allowed: set[str]) -> None:
    assert needed <= content.keys() <= needed | allowed, sorted(content)
