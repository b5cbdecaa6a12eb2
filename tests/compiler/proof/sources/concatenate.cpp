// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [20, 71], "strides": [71, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [20, 30], "strides": [30, 1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [20, 41], "strides": [41, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// concatenate
//   input  arg0: float32[20, 30]
//   input  arg1: float32[20, 41]
//   output out0: float32[20, 71]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(20 * 1, 11538, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      constexpr int64_t a8_begin = 0;
      const int64_t a8_end = 30;
      const int64_t a7 = item;
      {
        const auto point = [&](const int64_t a8, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(arg0 + a7 * 30 + a8, lanes);
          const kw::vf v1 = kw::splat<kw::vf>(2.0f);
          const kw::vf v2 = v0 * v1;
          kw::store(out0 + a7 * 71 + a8, v2, lanes);
        };
        int64_t at = a8_begin;
        for (; at + kw::W <= a8_end; at += kw::W) point(at, kw::W);
        if (at < a8_end) point(at, int(a8_end - at));
      }
    }
  });
}

// kernel
static void k1(const float* KW_RESTRICT arg1, float* KW_RESTRICT out0) {
  kw::parallel_items(20 * 1, 7692, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      constexpr int64_t a10_begin = 0;
      const int64_t a10_end = 41;
      const int64_t a9 = item;
      {
        const auto point = [&](const int64_t a10, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(arg1 + a10 + a9 * 41, lanes);
          const kw::vf v1 = kw::splat<kw::vf>(2.0f);
          const kw::vf v2 = v0 * v1;
          kw::store(out0 + a10 + a9 * 71 + 30, v2, lanes);
        };
        int64_t at = a10_begin;
        for (; at + kw::W <= a10_end; at += kw::W) point(at, kw::W);
        if (at < a10_end) point(at, int(a10_end - at));
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 3) return kw::answer(result, 4);
  const int64_t arg0_shape[] = {20, 30}, arg0_strides[] = {30, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {20, 41}, arg1_strides[] = {41, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {20, 71}, out0_strides[] = {71, 1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  k0(arg0, out0);
  k1(arg1, out0);
  return kw::answer(result, 0);
}
