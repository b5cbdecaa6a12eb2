"""Hand-written CUDA candidates are emulated, compiled ahead of time, and refused with a sentence where wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kernelwright.errors import BuildFailed, CudaMissing, GpuMissing, NotEmulated
from kernelwright.targets import Candidate, EntryCall, InputSpec, Plan, TensorSpec, load
from kernelwright.targets.cuda import EmulationFailed, find_cuda_compiler, report, reports
from kernelwright.targets.cuda._launches import Pointer, read_launches

needs_compiler = pytest.mark.skipif(find_cuda_compiler() is None, reason="neither NVRTC nor nvcc is installed here")

HEAD = """#include <kw/cuda.h>
//@ run0(x, out)
//@   k0<<<ceil_div(x.shape[0], 128), 128>>>(x, out, x.shape[0])
extern "C" __global__ void k0(const float* x, float* out, int n) {
  const int i = blockIdx.x * 128 + threadIdx.x;
"""
DOUBLING = HEAD + "if (i < n) out[i] = 2 * x[i]; }"


def candidate(source: str, size: int = 300) -> Candidate:
    x, out = (TensorSpec(name, (size,), "float32", (1,)) for name in ("x", "out"))
    return Candidate(
        "cuda", "hand", source, Plan((InputSpec(("arg", 0), x),), (out,), (EntryCall("run0", ("x", "out")),), ("out",))
    )


def emulated(source: str, size: int = 300) -> Callable[..., torch.Tensor]:
    return load(candidate(source, size), lambda: None, {}, interpreted=True)


def test_it_is_emulated_on_any_size() -> None:
    for size in (0, 1, 300):
        x = torch.randn(size)
        torch.testing.assert_close(emulated(DOUBLING, size)(x), 2 * x)


def test_threads_meet_at_barriers_in_shuffles_and_in_shared_memory() -> None:
    body = """
  __shared__ float all[128];
  extern __shared__ float more[];
  all[threadIdx.x] = i < n ? x[i] : 0;
  __syncthreads();
  float sum = all[127 - threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) more[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(out, more[0] + more[1] + more[2] + more[3]);
  if (threadIdx.x == 0 && blockIdx.x == 0) out[1] = __ballot_sync(1u, 1);
}"""
    source = (HEAD + body).replace("128>>>", "128, 16>>>")
    x = torch.randn(300)
    plan = candidate(source).plan
    assert plan is not None
    found = emulated(source.replace("//@   k0", "//@   clear<<<1, 1>>>(out)\n//@   k0") + CLEAR)(x)
    torch.testing.assert_close(found[0], x.sum(), rtol=1e-5, atol=1e-5)
    assert found[1] == 1


CLEAR = '\nextern "C" __global__ void clear(float* out) { out[0] = 0; }\n'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("if (threadIdx.x < 64) __syncthreads(); __syncwarp(); __shfl_sync(1u << i % 2, i, 0); }", "not name"),
        ("if (i % 32 == 3) return; __shfl_xor_sync(0xffffffffu, i, 1); }", "have ended"),
        ("if (i % 32 == 3) __syncthreads(); else __syncwarp(); }", "never arrive"),
        ("kw::load<4>(x + 1); }", "a vector lies"),
    ],
)
def test_what_no_kernel_may_do_ends_with_a_sentence(body: str, fault: str) -> None:
    with pytest.raises(EmulationFailed, match=fault):
        emulated(HEAD + body)(torch.randn(300))


def test_a_missing_barrier_and_unwritten_shared_memory_show() -> None:
    body = """
  __shared__ float all[128];
  all[threadIdx.x] = 1;
  out[min(i, n - 1)] = all[127 - threadIdx.x]; }"""
    assert emulated(HEAD + body)(torch.randn(300)).isnan().any()


def test_what_the_emulator_does_not_know_could_not_be_judged() -> None:
    with pytest.raises(NotEmulated, match="could not be judged"):
        emulated("#include <mma.h>\n" + DOUBLING)


@pytest.mark.parametrize(
    "line",
    ["run0[x]", "run0(x, out)\n//@   k0<<<1, 2>>>(__import__('os'))", "run0(x, out)\n//@   k0<<<x.data, 1>>>(x)",
     "run0(x, out)\n//@   print(x)", "run0(x, out)\n//@   n = (lambda: 1)()"],
)  # fmt: skip
def test_a_launch_table_holds_nothing_but_sizes(line: str) -> None:
    with pytest.raises(BuildFailed, match="launch table"):
        read_launches(f"//@ {line}")


def test_a_launch_table_repeats_names_and_moves() -> None:
    text = """//@ run(x, workspace)
//@   n = x.shape[0]
//@   half = workspace + n // 2
//@   for t in reversed(range(2))
//@     step<<<(n, 2), 32>>>(half, t)
//@   last<<<max(1, min(n, 4)), 1>>>(1.5, double(2))
"""
    calls = list(read_launches(text)["run"].calls([Pointer(64, 4, (6,)), Pointer(128, 1)]))
    assert [(c.kernel, c.grid, c.block) for c in calls] == [
        ("step", (6, 2, 1), (32, 1, 1)),
        ("step", (6, 2, 1), (32, 1, 1)),
        ("last", (4, 1, 1), (1, 1, 1)),
    ]
    assert [c.arguments[1] for c in calls[:2]] == [1, 0]
    assert calls[0].arguments[0] == Pointer(131, 1)


@needs_compiler
def test_it_compiles_ahead_of_time_and_tells_what_it_uses() -> None:
    made = report(candidate(DOUBLING))
    (kernel,) = made.kernels
    assert (made.architecture, kernel.kernel, kernel.grid, kernel.warps) == ("sm_90", "k0", (3, 1, 1), 4)
    assert (kernel.spills, kernel.shared) == (0, 0)
    assert 0 < kernel.registers <= 64
    shared = report(candidate(HEAD + "__shared__ float all[64]; all[i % 64] = i; __syncthreads(); out[i] = all[5]; }"))
    assert shared.kernels[0].shared == 256


@needs_compiler
def test_registers_that_do_not_fit_are_reported_as_spills() -> None:
    body = """
  float v[64];
  for (int k = 0; k < 64; ++k) v[k] = x[k * n];
  for (int k = 0; k < 64; ++k) out[v[63 - k] > 0 ? k : 0] = v[k];
}"""
    assert report(candidate((HEAD + body).replace("void k0", "void __launch_bounds__(1024, 2) k0"))).spills > 0


@needs_compiler
def test_a_fault_is_a_sentence_and_costs_no_other_candidate_its_report() -> None:
    wrong, lacking = candidate(HEAD + "undefined(i); }"), candidate(DOUBLING.replace("void k0", "void other"))
    first, second, third = reports([wrong, lacking, candidate(DOUBLING)])
    assert "rejected the source" in first.fault
    assert "no kernel k0" in second.fault
    assert len(third.kernels) == 1


def test_without_a_compiler_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelwright.targets.cuda._build.find_cuda_compiler", lambda: None)
    with pytest.raises(CudaMissing, match="pip install"):
        reports([candidate(DOUBLING)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_does_not_run_in_this_process() -> None:
    with pytest.raises(GpuMissing, match="runs on a GPU"):
        load(candidate(DOUBLING), lambda: None, {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_on_a_gpu_it_runs_where_its_arguments_lie() -> None:
    x = torch.randn(300, device="cuda")
    torch.testing.assert_close(load(candidate(DOUBLING), lambda: None, {})(x), 2 * x)
