// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [4, 5, 100], "strides": [500, 100, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [4, 5, 200], "strides": [1000, 200, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// pool
//   input  arg0: float32[4, 5, 200]
//   output out0: float32[4, 5, 100]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(4 * 5 * 2, 1834, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a3_begin = item % 2 * 64;
      const int64_t a3_end = kw::min<int64_t>(a3_begin + 64, 100);
      const int64_t a3_rest = item / 2;
      const int64_t a2 = a3_rest % 5;
      const int64_t a2_rest = a3_rest / 5;
      const int64_t a1 = a2_rest;
      {
        const auto add_edge = [&](const int64_t a4, const int64_t a3, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vi v0 = kw::first(lanes) & kw::inside(kw::iota() * int32_t(2) + int32_t(a3 * 2 + a4 + -1), int32_t(200));
          const kw::vf v1 = kw::select(v0, kw::gather_mask(arg0 + a1 * 1000 + a2 * 200 + a3 * 2 + a4 + -1, 2, v0), kw::splat<kw::vf>(-__builtin_inff()));
          acc0.add(v1);
        };
        const auto edge = [&](const int64_t a3_0, const int lanes) {
          kw::Max<kw::vf> acc0_0;
          #pragma GCC unroll 1
          for (int64_t a4 = 0; a4 < 3; ++a4) {
            add_edge(a4, a3_0, lanes, acc0_0);
          }
          {
            const int64_t a3 = a3_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, lanes);
          }
        };
        const auto add_point = [&](const int64_t a4, const int64_t a3, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::gather(arg0 + a1 * 1000 + a2 * 200 + a3 * 2 + a4 + -1, 2, lanes);
          acc0.add(v0);
        };
        const auto point = [&](const int64_t a3_0, const int lanes) __attribute__((always_inline)) {
          kw::Max<kw::vf> acc0_0;
          #pragma GCC unroll 3
          for (int64_t a4 = 0; a4 < 3; ++a4) {
            add_point(a4, a3_0, lanes, acc0_0);
          }
          {
            const int64_t a3 = a3_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, lanes);
          }
        };
        const auto points = [&](const int64_t a3_0) {
          kw::Max<kw::vf> acc0_0;
          kw::Max<kw::vf> acc0_1;
          kw::Max<kw::vf> acc0_2;
          kw::Max<kw::vf> acc0_3;
          #pragma GCC unroll 3
          for (int64_t a4 = 0; a4 < 3; ++a4) {
            add_point(a4, a3_0, kw::W, acc0_0);
            add_point(a4, a3_0 + 16, kw::W, acc0_1);
            add_point(a4, a3_0 + 32, kw::W, acc0_2);
            add_point(a4, a3_0 + 48, kw::W, acc0_3);
          }
          {
            const int64_t a3 = a3_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, kw::W);
          }
          {
            const int64_t a3 = a3_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, kw::W);
          }
          {
            const int64_t a3 = a3_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, kw::W);
          }
          {
            const int64_t a3 = a3_0 + 48;
            const kw::vf result0 = acc0_3.value();
            kw::store(out0 + a1 * 500 + a2 * 100 + a3, result0, kw::W);
          }
        };
        int64_t at = a3_begin;
        const int64_t from = kw::max<int64_t>(a3_begin, 1), to = kw::min<int64_t>(a3_end, 100);
        for (; at < from && at < a3_end; at += kw::W) edge(at, int(kw::min<int64_t>(kw::W, a3_end - at)));
        for (; at + 64 <= to; at += 64) points(at);
        for (; at + kw::W <= to; at += kw::W) point(at, kw::W);
        if (at < to && to - from >= kw::W) point(to - kw::W, kw::W), at = to;
        for (; at < a3_end; at += kw::W) edge(at, int(kw::min<int64_t>(kw::W, a3_end - at)));
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 2) return kw::answer(result, 3);
  const int64_t arg0_shape[] = {4, 5, 200}, arg0_strides[] = {1000, 200, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 3, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {4, 5, 100}, out0_strides[] = {500, 100, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 3, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  k0(arg0, out0);
  return kw::answer(result, 0);
}
