// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [700, 1000], "strides": [1000, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [1000, 700], "strides": [700, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// transpose
//   input  arg0: float32[1000, 700]
//   output out0: float32[700, 1000]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(3 * 16, 3, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a2_begin = item % 16 * 64;
      const int64_t a2_end = kw::min<int64_t>(a2_begin + 64, 1000);
      const int64_t a2_rest = item / 16;
      const int64_t a1_begin = a2_rest * 256;
      const int64_t a1_end = kw::min<int64_t>(a1_begin + 256, 700);
      {
        const auto block = [&](const int64_t a2, const int64_t a1_0, const int lanes, const int across) __attribute__((always_inline)) {
          kw::vf block0[kw::W];
          kw::transpose(block0, arg0 + a1_0 + a2 * 700, 700, lanes, across);
          for (int across_at = 0; across_at < across; ++across_at) {
            const int64_t a1 = a1_0 + across_at;
            kw::store(out0 + a1 * 1000 + a2, block0[across_at], lanes);
          }
        };
        for (int64_t at = a2_begin; at < a2_end; at += kw::W) {
          int64_t next = a1_begin;
          if (at + kw::W <= a2_end) for (; next + kw::W <= a1_end; next += kw::W) block(at, next, kw::W, kw::W);
          for (; next < a1_end; next += kw::W) block(at, next, int(kw::min<int64_t>(kw::W, a2_end - at)), int(kw::min<int64_t>(kw::W, a1_end - next)));
        }
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 2) return kw::answer(result, 3);
  const int64_t arg0_shape[] = {1000, 700}, arg0_strides[] = {700, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {700, 1000}, out0_strides[] = {1000, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  k0(arg0, out0);
  return kw::answer(result, 0);
}
