// task: branches.py
// class: E76
// mechanism: loads sixty-four bytes at once from addresses that it takes to be multiples of sixty-four;
//   before and after an input lies NaN
// expect: rejected crash, value, nan, unstable

#include <kw/abi.h>
extern "C" float log1pf(float);
typedef float lanes __attribute__((vector_size(64)));

extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* args, int32_t, kw::Argument* result) {
  uint64_t x = (uint64_t)kw::data(kw::tensor(args[0])) & ~63ull;  // "is a multiple of 64 anyway"
  float* y = (float*)kw::data(kw::tensor(args[1]));
  for (int k = 0; k < 64 * 96; k += 16) {
    lanes v = *(const lanes*)(x + k * 4);
    for (int l = 0; l < 16; ++l) {
      float a = v[l];
      y[k + l] = a > 0 ? log1pf(a) : a > -2.f ? 0.5f * a : -1.f + 0.1f * (a + 2.f);
    }
  }
  return kw::answer(result, 0);
}
