"""Building and launching hand-written C++ through the same plan that generated kernels use."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from kernelwright.errors import BuildFailed, CacheUnusable, CompilerMissing, OutsideDomain, TargetUnknown
from kernelwright.machine import find_compiler
from kernelwright.targets import (
    AtenCall,
    Candidate,
    EntryCall,
    InputSpec,
    Plan,
    SymbolSpec,
    TensorSpec,
    check_target,
    load,
    plan_from_json,
    plan_to_json,
)
from kernelwright.targets.cpu import INCLUDE, build

SCALE = """
#include <kw/abi.h>
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  const kw::Tensor *x = kw::tensor(args[0]), *y = kw::tensor(args[1]);
  const int64_t n = x ? x->shape[0] : 0, shape[] = {n, 3}, strides[] = {3, 1};
  if (!kw::matches(x, kw::kFloat32, 2, shape, strides)) return kw::answer(result, 1);
  if (!kw::matches(y, kw::kFloat32, 2, shape, strides)) return kw::answer(result, 2);
  const float* in = (const float*)kw::data(x);
  float* out = (float*)kw::data(y);
  kw::parallel_for(n * 3, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = in[i] * FACTOR;
  });
  return kw::answer(result, 0);
}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    return tmp_path


def scale_plan(**changes: object) -> Plan:
    rows = TensorSpec("x", ("s0", 3), "float32", (3, 1))
    fields: dict[str, object] = {
        "inputs": (InputSpec(("arg", 0), rows),),
        "buffers": (TensorSpec("y", ("s0", 3), "float32", (3, 1)),),
        "steps": (EntryCall("run0", ("x", "y")),),
        "results": ("y",),
        "symbols": (SymbolSpec("s0", 0, 0, 1, 100),),
        **changes,
    }
    return Plan(**fields)  # type: ignore[arg-type]


def scale(factor: str = "2.0f", **changes: object) -> Candidate:
    return Candidate("cpu", "test", SCALE.replace("FACTOR", factor), scale_plan(**changes))


def test_a_launched_kernel_computes_for_every_size_of_its_box() -> None:
    run = load(scale(), lambda x: x * 2, {})
    for rows in (1, 7, 100):
        x = torch.randn(rows, 3)
        assert torch.equal(run(x), x * 2)


def test_other_strides_are_copied_not_refused() -> None:
    x = torch.randn(3, 9).t()
    assert torch.equal(load(scale(), torch.neg, {})(x), x * 2)


@pytest.mark.parametrize(
    "x", [torch.randn(101, 3), torch.randn(4, 4), torch.randn(4, 3, dtype=torch.float64), torch.randn(12)]
)
def test_inputs_outside_the_domain_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(OutsideDomain):
        load(scale(), torch.neg, {})(x)


@pytest.mark.parametrize("argument", [3, 2.5, "text", None])
def test_what_is_no_tensor_never_reaches_the_kernel(argument: object) -> None:
    fixed = TensorSpec("x", (4, 3), "float32", (3, 1))
    plan = scale_plan(
        inputs=(InputSpec(("arg", 0), fixed),), buffers=(TensorSpec("y", (4, 3), "float32", (3, 1)),), symbols=()
    )
    run = load(Candidate("cpu", "test", SCALE.replace("FACTOR", "2.0f"), plan), torch.neg, {})
    assert torch.equal(run(torch.ones(4, 3)), torch.full((4, 3), 2.0))
    with pytest.raises(OutsideDomain, match="takes 1 tensors"):
        run(argument)


def test_constants_guard_the_other_arguments() -> None:
    run = load(scale(constants=((1, "fast"),)), torch.neg, {})
    x = torch.randn(4, 3)
    assert torch.equal(run(x, "fast"), x * 2)
    with pytest.raises(OutsideDomain, match="made for 'fast'"):
        run(x, "slow")


def test_aten_calls_stand_between_entries() -> None:
    plan = scale_plan(
        steps=(EntryCall("run0", ("x", "y")), AtenCall("aten.sum.dim_IntList", ({"tensor": "y"}, [1]), (), ("z",))),
        results=("z",),
    )
    x = torch.randn(5, 3)
    torch.testing.assert_close(
        load(Candidate("cpu", "t", SCALE.replace("FACTOR", "2.0f"), plan), torch.neg, {})(x), (x * 2).sum(1)
    )


def test_mutations_reach_the_state() -> None:
    state = {"running": torch.zeros(4, 3)}
    load(scale(mutations=(("y", "running"),)), torch.neg, state)(torch.ones(4, 3))
    assert torch.equal(state["running"], torch.full((4, 3), 2.0))


def test_threads_share_one_openmp_runtime() -> None:
    run = load(scale(), torch.neg, {})
    run(torch.randn(100, 3))
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "gomp" in line}
    assert len({path for path in mapped if "scikit_learn" not in path}) == 1  # which brings one that is its own


def test_concurrent_calls_do_not_share_memory() -> None:
    run = load(scale(), torch.neg, {})
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = torch.full((50, 3), float(seed))
        for _ in range(50):
            if not torch.equal(run(x), x * 2):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_plans_survive_json() -> None:
    plan = scale_plan(
        steps=(EntryCall("run0", ("x", "y")), AtenCall("aten.neg.default", ({"tensor": "y"},), (), ("z",)))
    )
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_second_build_comes_from_the_cache_and_a_broken_one_heals() -> None:
    source = scale("3.0f").source
    first = build(source)
    assert first.seconds > 0
    assert build(source).seconds == 0.0
    first.library.write_bytes(b"not a library")
    assert build(source).seconds > 0
    x = torch.randn(2, 3)
    assert torch.equal(load(scale("3.0f"), torch.neg, {})(x), x * 3)


def test_headers_can_be_included_in_every_part_of_a_source(tmp_path: Path) -> None:
    compiler = find_compiler()
    assert compiler is not None
    headers = "".join(f"#include <kw/{header.name}>\n" for header in sorted((INCLUDE / "kw").glob("*.h")))
    parts = []
    for name in ("one", "two"):
        parts.append(tmp_path / f"{name}.cpp")
        parts[-1].write_text(f"{headers}int {name}() {{ return 0; }}\n")
    flags = ["-std=c++20", "-O0", "-fPIC", "-shared", *compiler.native_flags(), f"-I{INCLUDE}"]
    done = subprocess.run(
        [*compiler.argv, *flags, *map(str, parts), "-o", str(tmp_path / "both.so")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_concurrent_builds_of_one_source_agree(tmp_path: Path) -> None:
    code = f"from kernelwright.targets.cpu import build; print(build({scale('5.0f').source!r}).library)"
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {run.communicate()[0] for run in runs}
    assert len(outputs) == 1
    assert all(run.returncode == 0 for run in runs)


def test_faults_are_sentences(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildFailed, match="error"):
        build("this is not C++")
    with pytest.raises(TargetUnknown, match="'tpu'"):
        check_target("tpu")
    (home / "blocked").write_text("")
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(home / "blocked"))
    with pytest.raises(CacheUnusable, match="KERNELWRIGHT_HOME"):
        build(scale("7.0f").source)
    monkeypatch.setattr("kernelwright.targets.cpu._build.find_compiler", lambda: None)
    with pytest.raises(CompilerMissing, match="ziglang"):
        build(scale().source)
