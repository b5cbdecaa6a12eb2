// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [37, 700], "strides": [700, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [37, 700], "strides": [700, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// map
//   input  arg0: float32[37, 700]
//   output out0: float32[37, 700]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(4, 37, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a2_begin = item * 8192;
      const int64_t a2_end = kw::min<int64_t>(a2_begin + 8192, 25900);
      {
        const auto point = [&](const int64_t a2, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(arg0 + a2, lanes);
          const kw::vf v1 = kw::splat<kw::vf>(0.0f);
          const kw::vf v2 = kw::maximum(v0, v1);
          const kw::vf v3 = kw::splat<kw::vf>(1.0f);
          const kw::vf v4 = v2 + v3;
          kw::store(out0 + a2, v4, lanes);
        };
        int64_t at = a2_begin;
        for (; at + kw::W <= a2_end; at += kw::W) point(at, kw::W);
        if (at < a2_end) point(at, int(a2_end - at));
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 2) return kw::answer(result, 3);
  const int64_t arg0_shape[] = {37, 700}, arg0_strides[] = {700, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {37, 700}, out0_strides[] = {700, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  k0(arg0, out0);
  return kw::answer(result, 0);
}
