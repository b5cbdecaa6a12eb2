// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [2048], "strides": [1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [4096, 2048], "strides": [2048, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0", "workspace"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 262144}
// split_sum
//   input  arg0: float32[4096, 2048]
//   output out0: float32[2048]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0, char* scratch) {
  auto* KW_RESTRICT partial0 = reinterpret_cast<float*>(scratch + 0);
  kw::parallel_items(32 * 2048, 16, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a1 = item % 2048;
      const int64_t a1_rest = item / 2048;
      const int64_t a2_part = a1_rest;
      const int64_t a2_begin = a2_part * 128;
      const int64_t a2_end = kw::min<int64_t>(a2_begin + 128, 4096);
      {
        const auto point = [&](const int64_t a2, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::gather(arg0 + a1 + a2 * 2048, 2048, lanes);
          acc0.add(v0, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        kw::Sum<kw::vf> acc0_2;
        kw::Sum<kw::vf> acc0_3;
        {
          int64_t at = a2_begin;
          for (; at + 64 <= a2_end; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= a2_end; at += kw::W) point(at, kw::W, acc0_0);
          if (at < a2_end) point(at, int(a2_end - at), acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        kw::put(partial0 + a1 + a2_part * 2048, result0);
      }
    }
  });
  kw::parallel_items(2, 25, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a1_begin = item * 1024;
      const int64_t a1_end = a1_begin + 1024;
      {
        const auto add_point = [&](const int64_t a2_part, const int64_t a1, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(partial0 + a1 + a2_part * 2048, lanes);
          acc0.add(v0);
        };
        const auto points = [&](const int64_t a1_0) {
          kw::Sum<kw::vf> acc0_0;
          kw::Sum<kw::vf> acc0_1;
          kw::Sum<kw::vf> acc0_2;
          kw::Sum<kw::vf> acc0_3;
          for (int64_t a2_part = 0; a2_part < 32; ++a2_part) {
            add_point(a2_part, a1_0, kw::W, acc0_0);
            add_point(a2_part, a1_0 + 16, kw::W, acc0_1);
            add_point(a2_part, a1_0 + 32, kw::W, acc0_2);
            add_point(a2_part, a1_0 + 48, kw::W, acc0_3);
          }
          {
            const int64_t a1 = a1_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(out0 + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(out0 + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(out0 + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 48;
            const kw::vf result0 = acc0_3.value();
            kw::store(out0 + a1, result0, kw::W);
          }
        };
        int64_t at = a1_begin;
        for (; at + 64 <= a1_end; at += 64) points(at);
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 3) return kw::answer(result, 4);
  const int64_t arg0_shape[] = {4096, 2048}, arg0_strides[] = {2048, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {2048}, out0_strides[] = {1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 1, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  char* workspace = kw::data(kw::tensor(args[2]));
  k0(arg0, out0, workspace + 0);
  return kw::answer(result, 0);
}
