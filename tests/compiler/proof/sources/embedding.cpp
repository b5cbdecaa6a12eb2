// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [50, 41], "strides": [41, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "int64", "name": "arg0", "shape": [50], "strides": [1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [9, 41], "strides": [41, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// embedding
//   input  arg0: int64[50]
//   input  arg1: float32[9, 41]
//   output out0: float32[50, 41]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const int64_t* KW_RESTRICT arg0, const float* KW_RESTRICT arg1, float* KW_RESTRICT out0) {
  kw::parallel_items(50 * 1, 6060, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      constexpr int64_t a2_begin = 0;
      const int64_t a2_end = 41;
      const int64_t a1 = item;
      {
        const auto point = [&](const int64_t a2, const int lanes) __attribute__((always_inline)) {
          const int64_t v0 = kw::get(arg0 + a1);
          const bool v1 = kw::lt(v0, int64_t{0});
          const int64_t v2 = kw::add(v0, int64_t{9});
          const int64_t v3 = kw::select(v1, v2, v0);
          const kw::vf v4 = kw::load(arg1 + a2 + static_cast<int64_t>(v3) * 41, lanes);
          kw::store(out0 + a1 * 41 + a2, v4, lanes);
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
  if (count != 3) return kw::answer(result, 4);
  const int64_t arg0_shape[] = {50}, arg0_strides[] = {1};
  if (!kw::matches(kw::tensor(args[0]), kw::kInt64, 1, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const int64_t*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {9, 41}, arg1_strides[] = {41, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {50, 41}, out0_strides[] = {41, 1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  k0(arg0, arg1, out0);
  return kw::answer(result, 0);
}
