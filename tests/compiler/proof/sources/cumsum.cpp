// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [70, 50], "strides": [50, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [70, 50], "strides": [50, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "out0"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 0}
// cumsum
//   input  arg0: float32[70, 50]
//   output out0: float32[70, 50]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0(const float* KW_RESTRICT arg0, float* KW_RESTRICT out0) {
  kw::parallel_items(70, 2941, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a2 = item;
      {
        kw::Carry<kw::Sum, kw::vf, double> state;
        const auto point = [&](const int64_t at, const int lanes) __attribute__((always_inline)) {
          const int64_t a1 = at;
          const kw::vf v0 = kw::load(arg0 + a1 + a2 * 50, lanes);
          const kw::vf scanned = state.next<false, false>(v0, lanes);
          kw::store(out0 + a1 + a2 * 50, scanned, lanes);
        };
        int64_t at = 0;
        for (; at + kw::W <= 50; at += kw::W) point(at, kw::W);
        if (at < 50) point(at, int(50 - at));
      }
    }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 2) return kw::answer(result, 3);
  const int64_t arg0_shape[] = {70, 50}, arg0_strides[] = {50, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t out0_shape[] = {70, 50}, out0_strides[] = {50, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 2);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[1])));
  k0(arg0, out0);
  return kw::answer(result, 0);
}
