// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [33, 77], "strides": [77, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [33, 77], "strides": [77, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// softmax
//   input  arg0: float32[33, 77]
//   output out0: float32[33, 77]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(33, 475, [&](const int64_t item_begin, const int64_t item_end) {
    alignas(64) float t1[1];
    alignas(64) float t2[77];
    alignas(64) float t3[1];
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a1 = item;
      {
        const auto point = [&](const int64_t a2, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(arg0 + a1 * 77 + a2, lanes);
          acc0.add(v0, lanes);
        };
        kw::Max<kw::vf> acc0_0;
        kw::Max<kw::vf> acc0_1;
        kw::Max<kw::vf> acc0_2;
        kw::Max<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 77; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 77; at += kw::W) point(at, kw::W, acc0_0);
          if (at < 77) point(at, int(77 - at), acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        kw::put(t1 + 0, result0);
      }
      {
        const auto point = [&](const int64_t a2, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(arg0 + a1 * 77 + a2, lanes);
          const float v1 = kw::get(t1 + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 - v2;
          const kw::vf v4 = kw::exp(v3);
          kw::store(t2 + a2, v4, lanes);
          acc0.add(v4, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        kw::Sum<kw::vf> acc0_2;
        kw::Sum<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 77; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 77; at += kw::W) point(at, kw::W, acc0_0);
          if (at < 77) point(at, int(77 - at), acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        kw::put(t3 + 0, result0);
      }
      {
        const auto point = [&](const int64_t a2, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(t2 + a2, lanes);
          const float v1 = kw::get(t3 + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 / v2;
          kw::store(out0 + a1 * 77 + a2, v3, lanes);
        };
        int64_t at = 0;
        for (; at + kw::W <= 77; at += kw::W) point(at, kw::W);
        if (at < 77) point(at, int(77 - at));
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 2) return kw::answer(result, 3);
  const int64_t arg0_shape[] = {33, 77}, arg0_strides[] = {77, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {33, 77}, out0_strides[] = {77, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  k0(arg0, out0);
  return kw::answer(result, 0);
}
